{{/*
Entry of lines.yaml for the chosen line, as YAML.
*/}}
{{- define "cloud-manager.line" -}}
{{- get (.Files.Get "lines.yaml" | fromYaml) .Values.engineLine | toYaml -}}
{{- end }}

{{- define "cloud-manager.name" -}}
{{ .Values.provider }}-cloud-manager-operator
{{- end }}

{{/*
Stops on values that contradict each other.
*/}}
{{- define "cloud-manager.validate" -}}
{{- $line := include "cloud-manager.line" . | fromYaml -}}
{{- if not (has .Values.provider $line.providers) -}}
{{- fail (printf "provider: expected one of %s for engineLine %s, found %s. The cloud manager of this line has no such provider: set engineLine to 3.5 and images.cloud_manager to an image of that line." (join ", " $line.providers) .Values.engineLine .Values.provider) -}}
{{- end -}}
{{- end }}
