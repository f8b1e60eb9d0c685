"""Who owns the dependencies: somebody else's cert-manager, from managed to external, everything to the cloud manager.

The cert-manager of somebody else is the real program, applied as the community's chart would be: by Helm's marks, in
namespace cert-manager, with an image of its own registry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from embedded_cluster.standins import templates

from tests.scenarios.conftest import INVENTORIES, Start, on_embedded_cluster
from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.playbook import REPOSITORY, Project, Run

pytestmark = pytest.mark.cluster

IMAGE = "quay.io/example/jetstack-cert-manager-rhel9"
MARKS = {"meta.helm.sh/release-name": "cert-manager", "meta.helm.sh/release-namespace": "cert-manager"}
LAYERS = "namespaces,gateway_api,cert_manager,sail,pki"
#: Installing these takes a while on a busy machine.
PATIENCE = dict.fromkeys((f"{layer}_wait_seconds" for layer in (*LAYERS.split(","), "lws", "cloud_manager")), 240)
FOUR = ("gateway_api", "cert_manager", "sail", "lws")


def run(cluster: EmbeddedCluster, inventory: str, tags: str, **variables: object) -> Run:
    """Runs layers of site.yml with an inventory on the embedded cluster; with the tag models, those of the sample."""
    models = {} if "models" in tags else {"models": []}
    given = {**on_embedded_cluster(cluster), **models, **PATIENCE, **variables}
    path = str(INVENTORIES / inventory)
    return Project().play("-i", path, "site.yml", "--tags", tags, cluster=cluster.paths.name, variables=given)


def bring_cert_manager(cluster: EmbeddedCluster, version: str) -> None:
    """What the community's chart lays down, with the marks of Helm."""
    images = dict.fromkeys(("cert-manager", "cert-manager-cainjector", "cert-manager-webhook", "acmesolver"))
    values = {
        "operand_namespace": "cert-manager",
        "version": version,
        "images": dict.fromkeys(images, f"{IMAGE}:v{version}"),
    }
    objects = templates.render_documents("operands/cert_manager.yml.j2", values)
    for obj in objects:
        obj["metadata"].setdefault("annotations", {}).update(MARKS)
    crds = [json.loads(path.read_text()) for path in sorted((cluster.tools / "crds" / "cert-manager").glob("*.json"))]
    text = yaml.safe_dump_all([*crds, *objects])
    cluster.do("apply", "--server-side", "--field-manager=helm", "--force-conflicts", "-f", "-", stdin=text)


def preflight(inventory: str) -> dict[str, Any]:
    """What the last run with this inventory wrote."""
    path = REPOSITORY / "build" / Path(inventory).name / "preflight.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def uids(cluster: EmbeddedCluster, *kinds: str) -> dict[str, str]:
    """The identity of every object of these kinds."""
    return {
        f"{obj['kind']} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}": obj["metadata"]["uid"]
        for kind in kinds
        for obj in cluster.objects(kind)
    }


def releases(cluster: EmbeddedCluster) -> set[str]:
    """Names of Helm releases."""
    return {item["metadata"]["labels"]["name"] for item in cluster.objects("secrets", "--selector", "owner=helm")}


# ---- cert-manager of somebody else, and our own PKI without a cloud manager -------------------------------


@pytest.fixture(scope="module")
def theirs(start_cluster: Start) -> Iterator[EmbeddedCluster]:
    """A cluster with a cert-manager that is too old, then upgraded; tests of this part follow each other."""
    with start_cluster("theirs") as cluster:
        cluster.do("create", "namespace", "cert-manager")
        bring_cert_manager(cluster, "1.12.14")
        yield cluster


def test_a_cert_manager_that_is_too_old_is_refused_before_the_first_write(theirs: EmbeddedCluster) -> None:
    mark = AuditMark.now(theirs.paths.audit_log)
    found = run(theirs, "generic", LAYERS, ownership={"cert_manager": "external"})
    assert (found.exit_code, found.recap["changed"]) == (2, 0), found.output
    for words in (
        "ownership.cert_manager (external) (error IP-PRE-052)",
        "found v1.12.14, too old, by Helm release cert-manager/cert-manager (Deployment cert-manager/cert-manager)",
        "Upgrade cert-manager to 1.17.0 or newer, below 2, or remove it and set ownership.cert_manager to managed.",
    ):
        assert words in found.text, words
    assert mark.installer_writes() == []
    states = {entry["code"]: entry["status"] for entry in preflight("generic")["checks"]}
    assert states["IP-PRE-052"] == "error"


def test_managed_beside_somebody_elses_is_refused_too(theirs: EmbeddedCluster) -> None:
    mark = AuditMark.now(theirs.paths.audit_log)
    found = run(theirs, "generic", LAYERS, ownership={"cert_manager": "managed"})
    assert (found.exit_code, found.recap["changed"]) == (2, 0), found.output
    assert "IP-PRE-050" in found.text
    assert mark.installer_writes() == []


@pytest.fixture(scope="module")
def used(theirs: EmbeddedCluster) -> Run:
    """The first installation beside it, with `auto`, once it is new enough."""
    bring_cert_manager(theirs, "1.18.4")
    return run(theirs, "generic", LAYERS, ownership={"cert_manager": "auto", "sail": "managed"})


def test_a_cert_manager_of_somebody_else_is_used_for_our_own_certificates(theirs: EmbeddedCluster, used: Run) -> None:
    assert used.exit_code == 0, used.output
    assert "external: it is there (Deployment cert-manager/cert-manager)" in used.text
    assert "cert-manager-operator" not in releases(theirs)
    assert "CustomResourceDefinition /certmanagers.operator.openshift.io" not in uids(theirs, "crds")
    issuer = theirs.get("clusterissuer", "rhai-ca-issuer")
    assert [c["status"] for c in issuer["status"]["conditions"] if c["type"] == "Ready"] == ["True"]
    generation = theirs.get("deployment", "cert-manager", "cert-manager")["metadata"]["generation"]
    assert generation == 2, "made by us, upgraded by us as the somebody else, and never touched by the installer"


def test_beside_somebody_elses_a_second_run_changes_nothing(theirs: EmbeddedCluster, used: Run) -> None:
    assert used.exit_code == 0, used.output
    mark = AuditMark.now(theirs.paths.audit_log)
    again = run(theirs, "generic", LAYERS, ownership={"cert_manager": "auto", "sail": "managed"})
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    assert mark.installer_writes() == []


def test_from_managed_to_external_nothing_is_deleted(theirs: EmbeddedCluster, used: Run) -> None:
    assert used.exit_code == 0, used.output
    kinds = ("deployments", "customresourcedefinitions", "istios.sailoperator.io", "namespaces", "clusterroles")
    before, helm = uids(theirs, *kinds), releases(theirs)
    assert {"sail-operator", "istio"} <= helm
    mark = AuditMark.now(theirs.paths.audit_log)
    given = {"gateway_api": "external", "cert_manager": "auto", "sail": "external"}
    found = run(theirs, "generic", LAYERS, ownership=given)
    assert (found.exit_code, found.recap["changed"]) == (0, 0), found.output
    assert "external: left as this installer made it: no longer upgraded, not removed" in found.text
    assert (uids(theirs, *kinds), releases(theirs)) == (before, helm)
    assert mark.installer_writes() == []


def make_somebody_elses(cluster: EmbeddedCluster, layer: str, *kinds: str) -> None:
    """The objects of a layer as if a Helm release of somebody else had made them."""
    selector = ("--all-namespaces", "--selector", f"inference-platform.io/layer={layer}")
    for release in ("sail-operator", "istio"):
        cluster.do("delete", "secrets", "--namespace=istio-system", "--selector", f"owner=helm,name={release}")
    marks = ("meta.helm.sh/release-name=mesh", "meta.helm.sh/release-namespace=istio-system")
    cluster.do("annotate", "--overwrite", ",".join(kinds), *selector, *marks)
    cluster.do("label", ",".join(kinds), *selector, "app.kubernetes.io/part-of-", "inference-platform.io/layer-")


def test_somebody_elses_operator_is_adopted_only_when_the_inventory_says_so(theirs: EmbeddedCluster, used: Run) -> None:
    assert used.exit_code == 0, used.output
    kinds = ("deployments", "serviceaccounts", "services", "clusterroles", "clusterrolebindings", "roles",
             "rolebindings", "istios.sailoperator.io")  # fmt: skip
    make_somebody_elses(theirs, "sail", *kinds)
    assert not releases(theirs) & {"sail-operator", "istio"}
    before = uids(theirs, *kinds)
    given: dict[str, object] = {"ownership": {"cert_manager": "auto", "sail": "managed"}}

    mark = AuditMark.now(theirs.paths.audit_log)
    refused = run(theirs, "generic", LAYERS, **given)
    assert (refused.exit_code, refused.recap["changed"]) == (2, 0), refused.output
    assert "IP-PRE-050" in refused.text
    assert "Helm release istio-system/mesh" in refused.text
    assert mark.installer_writes() == []

    adopted = run(theirs, "generic", LAYERS, **given, ownership_adopt=["sail"])
    assert adopted.exit_code == 0, adopted.output
    assert {"sail-operator", "istio"} <= releases(theirs)
    assert uids(theirs, *kinds) == before, "nothing was made anew"
    operator = theirs.get("deployment", "servicemesh-operator3", "istio-system")
    assert operator["metadata"]["annotations"]["meta.helm.sh/release-name"] == "sail-operator"

    mark = AuditMark.now(theirs.paths.audit_log)
    again = run(theirs, "generic", LAYERS, **given)
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    assert mark.installer_writes() == []


# ---- everything to the cloud manager ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def delegated(start_cluster: Start) -> Iterator[tuple[EmbeddedCluster, Run]]:
    """The sample of AKS with all four dependencies delegated, its model too; tests of this part follow each other."""
    with start_cluster("delegated", "azure") as cluster:
        yield cluster, run(cluster, "aks", "layers,models", ownership=dict.fromkeys(FOUR, "delegated"))


def test_the_cloud_manager_brings_all_four(delegated: tuple[EmbeddedCluster, Run]) -> None:
    cluster, found = delegated
    assert found.exit_code == 0, found.output
    assert not releases(cluster) & {"cert-manager-operator", "sail-operator", "istio", "lws-operator", "lws", "pki"}
    (engine,) = cluster.objects("azurekubernetesengines")
    assert {entry["managementPolicy"] for entry in engine["spec"]["dependencies"].values()} == {"Managed"}
    wait_for("the engine to be ready", lambda: _is_ready(cluster))
    assert model(cluster)["Ready"] == "True"
    owned = {
        obj["metadata"]["name"]
        for obj in cluster.objects("deployments")
        if any(owner["uid"] == engine["metadata"]["uid"] for owner in obj["metadata"].get("ownerReferences", []))
    }
    assert owned == {
        "cert-manager-operator-controller-manager",
        "openshift-lws-operator",
        "servicemesh-operator3",
    }


def model(cluster: EmbeddedCluster) -> dict[str, str]:
    """The conditions of the only model."""
    (service,) = cluster.objects("llminferenceservices.serving.kserve.io")
    return {item["type"]: item["status"] for item in service["status"]["conditions"]}


def _is_ready(cluster: EmbeddedCluster) -> bool:
    (engine,) = cluster.objects("azurekubernetesengines")
    conditions = {item["type"]: item["status"] for item in engine["status"]["conditions"]}
    return conditions["Ready"] == "True"


def test_delegated_a_second_run_changes_nothing(delegated: tuple[EmbeddedCluster, Run]) -> None:
    cluster, found = delegated
    assert found.exit_code == 0, found.output
    mark = AuditMark.now(cluster.paths.audit_log)
    again = run(cluster, "aks", "layers,models", ownership=dict.fromkeys(FOUR, "delegated"))
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    assert mark.installer_writes() == []


@pytest.mark.parametrize("owner", ["managed", "external"])
def test_taking_them_back_is_refused_because_the_cloud_manager_would_uninstall_them(
    delegated: tuple[EmbeddedCluster, Run], owner: str
) -> None:
    cluster, found = delegated
    assert found.exit_code == 0, found.output
    before, mark = uids(cluster, "deployments"), AuditMark.now(cluster.paths.audit_log)
    refused = run(cluster, "aks", "layers", ownership=dict.fromkeys(FOUR, owner))
    assert (refused.exit_code, refused.recap["changed"]) == (2, 0), refused.output
    for name in ("certManager", "gatewayAPI", "lws", "sailOperator"):
        words = f"AzureKubernetesEngine default-azurekubernetesengine dependencies.{name} (error IP-PRE-061)"
        assert words in refused.text, words
    assert mark.installer_writes() == []
    assert uids(cluster, "deployments") == before


def test_what_is_let_go_is_laid_only_after_the_cloud_manager_has_deleted_it(
    delegated: tuple[EmbeddedCluster, Run],
) -> None:
    cluster, found = delegated
    assert found.exit_code == 0, found.output
    given = {"ownership": {**dict.fromkeys(FOUR, "delegated"), "sail": "managed"}, "ownership_let_go": ["sail"]}

    mark = AuditMark.now(cluster.paths.audit_log)
    refused = run(cluster, "aks", "layers,models", **given)
    assert (refused.exit_code, refused.recap["changed"]) == (2, 0), refused.output
    assert "IP-PRE-066" in refused.text
    assert "Run `--tags cloud_manager` with this inventory first" in refused.text
    assert mark.installer_writes() == []

    let_go = run(cluster, "aks", "cloud_manager", **given)
    assert let_go.exit_code == 0, let_go.output
    istio = {"servicemesh-operator3", "istiod"}
    wait_for("Istio to be deleted", lambda: not istio & {obj["metadata"]["name"] for obj in deployments(cluster)})
    assert "openshift-lws-operator" in {obj["metadata"]["name"] for obj in deployments(cluster)}, "of the others"

    laid = run(cluster, "aks", "layers,models", **given)
    assert laid.exit_code == 0, laid.output
    assert {"sail-operator", "istio"} <= releases(cluster)
    (operator,) = [obj for obj in deployments(cluster) if obj["metadata"]["name"] == "servicemesh-operator3"]
    assert "ownerReferences" not in operator["metadata"]
    assert model(cluster)["Ready"] == "True"

    mark = AuditMark.now(cluster.paths.audit_log)
    again = run(cluster, "aks", "layers,models", **given)
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    assert mark.installer_writes() == []


def deployments(cluster: EmbeddedCluster) -> list[dict[str, Any]]:
    """All Deployments of the cluster."""
    return cluster.objects("deployments")
