{{/*
Stops on what the operator would not survive: both of its namespaces are compiled in.
*/}}
{{- define "cert-manager-operator.validate" -}}
{{- include "platform.requireNamespace" (dict "root" . "namespace" "cert-manager-operator" "reason" "the name is compiled into the operator") -}}
{{- end }}

{{/*
Namespace of the operand, compiled into the operator as well.
*/}}
{{- define "cert-manager-operator.operandNamespace" -}}
cert-manager
{{- end }}
