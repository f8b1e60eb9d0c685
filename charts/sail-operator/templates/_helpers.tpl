{{/*
Labels that the Deployment and its Service select by. A selector cannot be changed later, and the cloud manager's own
copy of this Deployment has the same one.
*/}}
{{- define "sail-operator.selector" -}}
app.kubernetes.io/created-by: servicemeshoperator3
app.kubernetes.io/part-of: servicemeshoperator3
control-plane: servicemesh-operator3
{{- end }}
