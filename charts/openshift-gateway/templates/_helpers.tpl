{{/*
Stops on a gateway without listener or with two on one port, and in a namespace where no control plane of OpenShift looks.
*/}}
{{- define "openshift-gateway.validate" -}}
{{- include "platform.requireNamespace" (dict "root" . "namespace" "openshift-ingress" "reason" "OpenShift's control plane for gateways is there") -}}
{{- if not (or .Values.http.enabled .Values.https.enabled) -}}
{{- fail "http.enabled and https.enabled: expected at least one listener, found none. Enable one of them." -}}
{{- end -}}
{{- if and .Values.http.enabled .Values.https.enabled (eq (int .Values.http.port) (int .Values.https.port)) -}}
{{- fail (printf "http.port and https.port: expected different ports, found %d for both." (int .Values.http.port)) -}}
{{- end -}}
{{- end }}

{{/*
Which namespaces may attach routes to a listener.
*/}}
{{- define "openshift-gateway.allowedRoutes" -}}
namespaces:
  from: {{ .Values.allowedRoutes.from }}
  {{- if eq .Values.allowedRoutes.from "Selector" }}
  selector:
    matchLabels:
      {{ .Values.allowedRoutes.label.name }}: {{ .Values.allowedRoutes.label.value | quote }}
  {{- end }}
{{- end }}

{{/*
Annotations of what istiod makes for the gateway; the service CA fills the Secret that the Service's annotation names.
*/}}
{{- define "openshift-gateway.annotations" -}}
{{- $all := dict "inference-platform.io/gateway" (printf "%s.%s" .Release.Namespace .Values.name) -}}
{{- if and .Values.https.enabled .Values.https.serviceCA -}}
{{- $_ := set $all "service.beta.openshift.io/serving-cert-secret-name" .Values.https.secretName -}}
{{- end -}}
{{- merge (deepCopy .Values.service.annotations) $all | toYaml -}}
{{- end }}
