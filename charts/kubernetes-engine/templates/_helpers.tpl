{{/*
Kind of the engine resource by provider, as YAML.
*/}}
{{- define "kubernetes-engine.kinds" -}}
aws: AWSKubernetesEngine
azure: AzureKubernetesEngine
coreweave: CoreWeaveKubernetesEngine
{{- end }}

{{/*
Stops on values that contradict each other.
*/}}
{{- define "kubernetes-engine.validate" -}}
{{- if eq .Values.engineLine "3.4" -}}
{{- if eq .Values.provider "aws" -}}
{{- fail "provider: expected azure or coreweave for engineLine 3.4, found aws. The 3.4 line has no engine for aws: set engineLine to 3.5 and install the cloud manager of that line." -}}
{{- end -}}
{{- range $name, $dependency := .Values.dependencies -}}
{{- if $dependency.configuration -}}
{{- fail (printf "dependencies.%s.configuration: expected nothing for engineLine 3.4, found %s. The 3.4 engine has no such fields: remove them." $name (toJson $dependency.configuration)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
