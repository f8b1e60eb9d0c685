#!/usr/bin/env bash
# The plainest script that installs what `inventories/local` installs: the same charts with the same values, the same
# CRD files, in the same order, each step waited for. It is the reference that `make bench` measures site.yml against,
# and a readable account of what the playbook does, without its checks, plan, progress, diff and report.
#
# Usage: KUBECONFIG=... plain_install.sh VALUES_DIR CRDS_DIR PULL_SECRET_FILE MODELS_MANIFEST
# (kubectl and helm on PATH)
set -euo pipefail
values=$1 crds=$2 pull_secret=$3 models=$4
charts=$(cd "$(dirname "$0")/../charts" && pwd)
namespaces="cert-manager cert-manager-operator istio-system openshift-lws-operator redhat-ods-applications redhat-ods-operator rhai-cloudmanager-system"
wait_seconds=180s

apply() { kubectl apply --server-side --field-manager=plain "$@"; }
crd_set() {
  apply -f "$crds/$1"
  # Waiting for a condition fails at once while a CRD has none yet.
  kubectl wait --for=jsonpath='{.status.conditions}' --timeout=$wait_seconds -f "$crds/$1" >/dev/null
  kubectl wait --for=condition=Established --timeout=$wait_seconds -f "$crds/$1"
}
release() { helm upgrade --install "$1" "$charts/$1" --namespace "$2" --values "$values/$1.yaml" --disable-openapi-validation; }
exists() { kubectl wait --for=create --timeout=$wait_seconds "$@"; }
condition() {
  local wanted=$1; shift
  exists "$@"
  kubectl wait --for=condition="$wanted" --timeout=$wait_seconds "$@"
}
pull_secret_manifest() {
  kubectl create secret generic rhai-pull-secret --namespace "$1" --type=kubernetes.io/dockerconfigjson \
    --from-file=.dockerconfigjson="$pull_secret" --dry-run=client -o yaml
}
deployment() { exists -n "$1" deployment "$2"; kubectl rollout status --timeout=$wait_seconds -n "$1" deployment "$2"; }

# namespaces and pull secrets
for namespace in $namespaces; do
  kubectl create namespace "$namespace" --dry-run=client -o yaml
  echo "---"
  pull_secret_manifest "$namespace"
  echo "---"
done | apply -f -

crd_set gateway-api

crd_set cert-manager
crd_set cert-manager-operator
release cert-manager-operator cert-manager-operator
deployment cert-manager-operator cert-manager-operator-controller-manager
apply -f - <<'CR'
apiVersion: operator.openshift.io/v1alpha1
kind: CertManager
metadata: {name: cluster}
spec: {managementState: Managed}
CR
for name in cert-manager cert-manager-cainjector cert-manager-webhook; do deployment cert-manager $name; done
until kubectl create --dry-run=server -f - >/dev/null 2>&1 <<'CR'
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: webhook-probe}
spec: {selfSigned: {}}
CR
do sleep 0.2; done

crd_set cloud-manager
release cloud-manager rhai-cloudmanager-system
deployment rhai-cloudmanager-system aws-cloud-manager-operator
release kubernetes-engine rhai-cloudmanager-system
condition Ready awskubernetesengine default-awskubernetesengine

condition Ready clusterissuer rhai-ca-issuer
exists -n cert-manager secret rhai-ca
exists -n redhat-ods-operator secret rhai-operator-controller-webhook-cert

deployment istio-system servicemesh-operator3
condition Ready istio default
deployment istio-system istiod
condition Accepted gatewayclass istio

deployment openshift-lws-operator openshift-lws-operator
deployment openshift-lws-operator lws-controller-manager

crd_set inference-extension
crd_set kserve-llmisvc
release kserve redhat-ods-applications

crd_set rhai-operator
release rhai-operator redhat-ods-operator
deployment redhat-ods-operator rhai-operator

release kserve-instance redhat-ods-applications
condition Ready kserve default-kserve
deployment redhat-ods-applications llmisvc-controller-manager

release inference-gateway redhat-ods-applications
condition Programmed -n redhat-ods-applications gateway inference-gateway
deployment redhat-ods-applications inference-gateway-istio

until apply -f "$models" >/dev/null 2>&1; do sleep 0.2; done
for namespace in $(kubectl get llminferenceservices --all-namespaces -o jsonpath='{.items[*].metadata.namespace}'); do
  pull_secret_manifest "$namespace" | apply -f -
done
kubectl wait --for=condition=Ready --timeout=$wait_seconds llminferenceservices --all --all-namespaces
