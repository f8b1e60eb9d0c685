{{/*
Stops where the issuer would not find its key: cert-manager reads a ClusterIssuer's Secret from its own namespace.
*/}}
{{- define "pki.validate" -}}
{{- include "platform.requireNamespace" (dict "root" . "namespace" "cert-manager" "reason" "cert-manager reads the key of a ClusterIssuer from its own namespace") -}}
{{- end }}
