{{/*
Helpers that every chart of this folder carries, byte for byte the same (a test compares the copies).
A chart is installable alone, so there is no library chart to fetch: change all copies together.
*/}}

{{/*
Labels of an object this chart owns. The layer comes from the annotation in Chart.yaml; the version is the one of
the software, `version` of the values where a chart has it.
*/}}
{{- define "platform.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/part-of: inference-platform
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.version | quote }}
{{ include "platform.layerLabel" . }}
{{- end }}

{{/*
The one label that no operator writes; `layer` of the values where several layers use a chart. Objects that an operator adopts carry only this one, because it would
overwrite the others and every later run would see a difference.
*/}}
{{- define "platform.layerLabel" -}}
inference-platform.io/layer: {{ default (index .Chart.Annotations "inference-platform.io/layer") .Values.layer }}
{{- end }}

{{/*
Full reference of an image. Takes a dict: root (the chart's context) and ref ("registry/repository@sha256:...").
global.imageRegistry replaces everything before the first slash.
*/}}
{{- define "platform.image" -}}
{{- $registry := .root.Values.global.imageRegistry | trimSuffix "/" -}}
{{- if $registry -}}
{{- printf "%s/%s" $registry (regexReplaceAll "^[^/]+/" .ref "") -}}
{{- else -}}
{{- .ref -}}
{{- end -}}
{{- end }}

{{/*
imagePullSecrets of a pod or a ServiceAccount; nothing when the list is empty.
*/}}
{{- define "platform.imagePullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end }}

{{/*
Pod and container security of the "restricted" Pod Security level, plus a read-only root file system.
*/}}
{{- define "platform.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "platform.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop:
    - ALL
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
nodeSelector and tolerations of a pod, each only when given.
*/}}
{{- define "platform.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
All RBAC objects of the chart from its file rbac.yaml: clusterRoles and roles by name, clusterRoleBindings and
roleBindings (name, role, for the latter optionally namespace), all bound to the one serviceAccount named there.
*/}}
{{- define "platform.rbac" -}}
{{- $rbac := tpl (.Files.Get "rbac.yaml") . | fromYaml -}}
{{- if hasKey $rbac "Error" -}}
{{- fail (printf "charts/%s/rbac.yaml: %s" .Chart.Name $rbac.Error) -}}
{{- end -}}
{{- range $name, $rules := $rbac.clusterRoles }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels: {{- include "platform.labels" $ | nindent 4 }}
rules: {{- toYaml $rules | nindent 2 }}
{{- end }}
{{- range $name, $rules := $rbac.roles }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $.Release.Namespace }}
  labels: {{- include "platform.labels" $ | nindent 4 }}
rules: {{- toYaml $rules | nindent 2 }}
{{- end }}
{{- range $rbac.clusterRoleBindings }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels: {{- include "platform.labels" $ | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .role }}
subjects:
  - kind: ServiceAccount
    name: {{ $rbac.serviceAccount }}
    namespace: {{ $.Release.Namespace }}
{{- end }}
{{- range $rbac.roleBindings }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ default $.Release.Namespace .namespace }}
  labels: {{- include "platform.labels" $ | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .role }}
subjects:
  - kind: ServiceAccount
    name: {{ $rbac.serviceAccount }}
    namespace: {{ $.Release.Namespace }}
{{- end }}
{{- end }}

{{/*
Stops an installation into another namespace than the one the software insists on.
Takes a dict: root, namespace, reason.
*/}}
{{- define "platform.requireNamespace" -}}
{{- if ne .root.Release.Namespace .namespace -}}
{{- fail (printf "chart %s: expected namespace %s, found %s: %s. Install with --namespace %s." .root.Chart.Name .namespace .root.Release.Namespace .reason .namespace) -}}
{{- end -}}
{{- end }}
