"""Distribution community: charts of others out of a registry on loopback, by the same roles and the same Helm code.

The charts are stand-ins (tests/support/published_charts.py): no registry of the real ones is within reach of tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference_platform.catalog.load import load, of_distribution
from tests.scenarios.conftest import Installation, Start, install_sample, on_embedded_cluster
from tests.scenarios.test_install_on_aws import condition, model
from tests.support import published_charts
from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster
from tests.support.oci_registry import Registry, running_registry
from tests.support.playbook import Project
from tests.support.values_files import upgrade_by_hand

pytestmark = pytest.mark.cluster

DEPLOYMENTS = {
    "cert-manager/cert-manager",
    "cert-manager/cert-manager-cainjector",
    "cert-manager/cert-manager-webhook",
    "istio-system/istiod",
    "kserve/inference-gateway-istio",
    "kserve/llmisvc-controller-manager",
    "lws-system/lws-controller-manager",
}
#: Every release of a published chart, and its namespace.
RELEASES = {
    "cert-manager": "cert-manager",
    "istio-base": "istio-system",
    "istiod": "istio-system",
    "kserve-llmisvc-crd": "kserve",
    "kserve-llmisvc-resources": "kserve",
    "kserve-runtime-configs": "kserve",
    "lws": "lws-system",
}


@dataclass(frozen=True)
class Community:
    """An installation from a registry, which was refused before with a wrong pin (``refused``: what that said)."""

    installation: Installation
    registry: Registry
    refused: str
    written: list[str]


#: Inventory and nodes of the other providers that the catalogue has this distribution for.
ELSEWHERE = (("eks", "aws"), ("aks", "azure"), ("coreweave", "coreweave"), ("generic", "generic"))


def publish(cluster: EmbeddedCluster, registry: Registry, folder: Path) -> tuple[dict[str, object], dict[str, str]]:
    """Pushes the charts; what the inventory says of them, and their sha256."""
    charts = published_charts.write(folder / "charts", cluster.tools / "crds")
    pins = published_charts.push(charts, str(cluster.tools / "bin" / "helm"), registry)
    settings: dict[str, object] = {
        "distribution": "community",
        "pull_secret_file": "",
        "platform_chart_mirror": registry.oci("charts"),
        "platform_chart_cache": str(folder / "cache"),
        # The gateways of the embedded cluster speak TLS to models, as Red Hat's do; these presets serve HTTP.
        "models_smoke": False,
    }
    return settings, pins


@pytest.fixture(scope="module")
def community(start_cluster: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    folder = tmp_path_factory.mktemp("community")
    with start_cluster("community", "gcp") as cluster, running_registry() as registry:
        settings, pins = publish(cluster, registry, folder)
        mark = AuditMark.now(cluster.paths.audit_log)
        wrong = on_embedded_cluster(cluster) | settings | {"chart_sha256": {**pins, "lws": "0" * 64}}
        run = Project().play("-i", "inventories/gke", "site.yml", cluster=cluster.paths.name, variables=wrong)
        written = [str(write) for write in mark.installer_writes()]
        made = install_sample(cluster, "gke", folder / "installed", chart_sha256=pins, **settings)
        yield Community(made, registry, run.text, written)


def deployments(made: Installation) -> dict[str, int | None]:
    """Ready replicas by namespace/name, in the namespaces of the platform."""
    return {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": item["status"].get("readyReplicas")
        for item in made.cluster.objects("deployments")
        if item["metadata"]["namespace"] in {name.partition("/")[0] for name in DEPLOYMENTS}
    }


def test_a_chart_that_is_not_the_pinned_one_is_refused_before_any_write(community: Community) -> None:
    assert "IP-PRE-045" in community.refused
    assert f"expected an archive with sha256 {'0' * 64}" in community.refused
    assert "nothing was written" in community.refused
    assert community.written == []


def test_a_chart_that_nobody_pinned_is_refused_before_any_write(community: Community) -> None:
    mark = community.installation.audit_mark()
    run = community.installation.again("--tags", "validate", variables={"chart_sha256": {}})
    assert run.exit_code == 2, run.output
    assert "IP-PRE-044" in run.text
    assert mark.installer_writes() == []


def test_exactly_the_deployments_of_the_projects_are_ready(community: Community) -> None:
    assert deployments(community.installation) == dict.fromkeys(DEPLOYMENTS, 1)


def test_no_pod_of_the_platform_runs_an_image_of_red_hat_and_no_pull_secret_is_made(community: Community) -> None:
    cluster = community.installation.cluster
    pods = [item["spec"] for item in cluster.objects("pods")]
    images = {part["image"] for spec in pods for part in [*spec.get("initContainers", []), *spec["containers"]]}
    assert len(images) > 6
    assert {image for image in images if "redhat" in image} == set()
    assert [item["metadata"]["name"] for item in cluster.objects("secrets") if "pull" in item["metadata"]["name"]] == []


def test_every_published_chart_is_a_release_that_bears_our_mark(community: Community) -> None:
    found = community.installation.cluster.objects("secrets", "--selector=owner=helm,inference-platform.io/layer")
    assert {item["metadata"]["labels"]["name"]: item["metadata"]["namespace"] for item in found} == RELEASES


def test_crds_of_the_folder_of_a_chart_are_ours_to_upgrade(community: Community) -> None:
    name = "leaderworkersets.leaderworkerset.x-k8s.io"
    crd = community.installation.cluster.get("customresourcedefinition", name)
    assert crd["metadata"]["labels"]["inference-platform.io/layer"] == "lws"


def test_the_model_is_ready_with_the_presets_of_the_chart(community: Community) -> None:
    assert condition(model(community.installation), "Ready") == "True"
    report = json.loads((community.installation.report_folder / "report.json").read_text(encoding="utf-8"))
    assert report["problems"] == []


def test_the_gateway_is_programmed_and_the_checks_from_outside_hold(community: Community) -> None:
    gateway = community.installation.cluster.get("gateway", "inference-gateway", "kserve")
    assert condition(gateway, "Programmed") == "True"
    run = community.installation.verify()
    assert run.exit_code == 0, run.output


def test_helm_upgrade_with_the_written_values_changes_nothing(community: Community) -> None:
    """Nor does the run after it; the releases keep our mark."""
    done = upgrade_by_hand(community.installation.cluster, community.installation.report_folder / "values")
    assert (done.failures, done.changes) == ([], [])
    assert RELEASES.keys() <= done.charts.keys()


def test_a_second_run_changes_nothing_and_sends_no_write(community: Community) -> None:
    asked = len(community.registry.requests)
    mark = community.installation.audit_mark()
    run = community.installation.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []
    assert community.registry.requests[asked:] == [], "charts come from the cache"


def test_every_provider_of_the_distribution_is_tried() -> None:
    releases = [item for item in load().releases.values() if "community" in item["distributions"]]
    providers = {name for item in releases for name in of_distribution(item, "community")["providers"]}
    assert providers == {"gcp", *(name for _, name in ELSEWHERE)}


@pytest.mark.parametrize(("inventory", "flavour"), ELSEWHERE)
def test_it_is_installed_on_every_provider_and_again_without_a_change(
    start_cluster: Start, tmp_path: Path, inventory: str, flavour: str
) -> None:
    with start_cluster(f"community-{inventory}", flavour) as cluster, running_registry() as registry:
        settings, pins = publish(cluster, registry, tmp_path)
        made = install_sample(cluster, inventory, tmp_path / "installed", chart_sha256=pins, **settings)
        assert deployments(made) == dict.fromkeys(DEPLOYMENTS, 1)
        assert condition(model(made), "Ready") == "True"
        mark = made.audit_mark()
        run = made.again()
        assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
        assert mark.installer_writes() == []
