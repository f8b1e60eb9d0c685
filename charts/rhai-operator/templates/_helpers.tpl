{{/*
Environment variables that switch parts of the product off, all set to "true". On plain Kubernetes KServe is the only
component that stays on. A YAML list.
*/}}
{{- define "rhai-operator.switches" -}}
- DISABLE_DSC_CONFIG
- RHAI_DISABLE_DSC_RESOURCE
- RHAI_DISABLE_DSCI_RESOURCE
{{- range list "DASHBOARD" "DATASCIENCEPIPELINES" "FEASTOPERATOR" "KUEUE" "LLAMASTACKOPERATOR" "MLFLOWOPERATOR" "MODELCONTROLLER" "MODELREGISTRY" "MODELSASSERVICE" "RAY" "SPARKOPERATOR" "TRAINER" "TRAININGOPERATOR" "TRUSTYAI" "WORKBENCHES" }}
- RHAI_DISABLE_{{ . }}_COMPONENT
{{- end }}
{{- range list "AUTH" "CERTCONFIGMAPGENERATOR" "GATEWAY" "MONITORING" "SETUPCONTROLLER" }}
- RHAI_DISABLE_{{ . }}_SERVICE
{{- end }}
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
