{{/*
Entry of lines.yaml for the release of the chosen version, as YAML.
*/}}
{{- define "rhai-operator.line" -}}
{{- $version := default .Chart.AppVersion .Values.version -}}
{{- $lines := .Files.Get "lines.yaml" | fromYaml -}}
{{- $line := get $lines (regexFind "^[0-9]+[.][0-9]+" $version) -}}
{{- if not $line -}}
{{- fail (printf "version: expected a version of one of the releases %s, found %s." (keys $lines | sortAlpha | join ", ") $version) -}}
{{- end -}}
{{- toYaml $line -}}
{{- end }}

{{/*
Environment variables that switch parts of the product off, all set to "true". On plain Kubernetes KServe is the only
component that stays on. A YAML list.
*/}}
{{- define "rhai-operator.switches" -}}
- DISABLE_DSC_CONFIG
- RHAI_DISABLE_DSC_RESOURCE
- RHAI_DISABLE_DSCI_RESOURCE
{{- range (include "rhai-operator.line" . | fromYaml).components }}
- RHAI_DISABLE_{{ . }}_COMPONENT
{{- end }}
{{- range list "AUTH" "CERTCONFIGMAPGENERATOR" "GATEWAY" "MONITORING" "SETUPCONTROLLER" }}
- RHAI_DISABLE_{{ . }}_SERVICE
{{- end }}
{{- end }}

{{/*
Value of a related image: an image by digest follows global.imageRegistry, anything else (a version) stays. Takes a
dict: root and value.
*/}}
{{- define "rhai-operator.related" -}}
{{- if contains "@sha256:" .value -}}
{{- include "platform.image" (dict "root" .root "ref" .value) -}}
{{- else -}}
{{- .value -}}
{{- end -}}
{{- end }}

{{/*
Stops on lists the API server would accept and the operator would read wrongly.
*/}}
{{- define "rhai-operator.validate" -}}
{{- $seen := dict -}}
{{- range .Values.relatedImages -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "relatedImages: expected each name once, found %s twice. Keep one of them." .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- end }}
