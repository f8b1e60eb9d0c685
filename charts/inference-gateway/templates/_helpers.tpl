{{/*
Stops on values that contradict each other, and on a CA bundle that is missing or holds a key.
*/}}
{{- define "inference-gateway.validate" -}}
{{- if not (contains "BEGIN CERTIFICATE" .Values.caBundle) -}}
{{- fail "caBundle: expected the platform's CA certificate in PEM form (key ca.crt of Secret cert-manager/rhai-ca), found none. Without it the gateway's pods cannot start: install the pki layer first and pass the certificate." -}}
{{- end -}}
{{- if contains "PRIVATE KEY" .Values.caBundle -}}
{{- fail "caBundle: expected certificates only, found a private key. The value ends in a ConfigMap: pass ca.crt, not tls.key." -}}
{{- end -}}
{{- if not (or .Values.http.enabled .Values.https.enabled) -}}
{{- fail "http.enabled and https.enabled: expected at least one listener, found none. Enable one of them." -}}
{{- end -}}
{{- if and .Values.https.enabled (eq (int .Values.http.port) (int .Values.https.port)) .Values.http.enabled -}}
{{- fail (printf "http.port and https.port: expected different ports, found %d for both." (int .Values.http.port)) -}}
{{- end -}}
{{- $certificate := .Values.https.certificate -}}
{{- if and .Values.https.enabled $certificate.create (not (or $certificate.internalNames .Values.https.hostnames $certificate.extraDnsNames)) -}}
{{- fail "https.certificate: expected at least one name, found none. List https.hostnames or https.certificate.extraDnsNames, or set internalNames to true." -}}
{{- end -}}
{{- if and .Values.http.redirect (not (and .Values.http.enabled .Values.https.enabled)) -}}
{{- fail "http.redirect: expected both listeners, found one. Enable http and https, or take the redirect away." -}}
{{- end -}}
{{- end }}

{{/*
Which namespaces may attach routes to a listener.
*/}}
{{- define "inference-gateway.allowedRoutes" -}}
namespaces:
  from: {{ .Values.allowedRoutes.from }}
  {{- if eq .Values.allowedRoutes.from "Selector" }}
  selector:
    matchLabels: {{- include "inference-gateway.access" . | nindent 6 }}
  {{- end }}
{{- end }}

{{/*
Labels by which the gateway knows namespaces that may attach routes. YAML.
*/}}
{{- define "inference-gateway.access" -}}
{{- .Values.allowedRoutes.labels | default (dict "inference-platform.io/gateway-access" "true") | toYaml -}}
{{- end }}

{{/*
Annotations of the gateway's Service: those of every enabled listener's port, and over them the given ones. YAML.
*/}}
{{- define "inference-gateway.annotations" -}}
{{- $all := dict -}}
{{- range $listener := list .Values.http .Values.https -}}
{{- if $listener.enabled -}}
{{- range $name, $value := $.Values.service.portAnnotations -}}
{{- $_ := set $all (replace "$(port)" (int $listener.port | toString) $name) $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with merge (deepCopy .Values.service.annotations) $all -}}
{{- toYaml . -}}
{{- end -}}
{{- end }}
