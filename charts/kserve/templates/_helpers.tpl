{{/*
Entry of lines.yaml for the release of the chosen version, as YAML.
*/}}
{{- define "kserve.line" -}}
{{- $version := default .Chart.AppVersion .Values.version -}}
{{- $lines := .Files.Get "lines.yaml" | fromYaml -}}
{{- $line := get $lines (regexFind "^[0-9]+[.][0-9]+" $version) -}}
{{- if not $line -}}
{{- fail (printf "version: expected a version of one of the releases %s, found %s." (keys $lines | sortAlpha | join ", ") $version) -}}
{{- end -}}
{{- toYaml $line -}}
{{- end }}
