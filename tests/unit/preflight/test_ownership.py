"""Who is taken for the owner of what is there, and what each choice of ownership becomes."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.preflight import data
from inference_platform.preflight.detection import CLOUD_MANAGER, OURS, SOMEBODY, detect, owner_of
from tests.unit.preflight.world import World, cert_manager, crds, deployment, gateway_api, istiod, named

OURS_BY_LABEL = {"inference-platform.io/layer": "sail"}
ENGINE = [{"apiVersion": "infrastructure.opendatahub.io/v1alpha1", "kind": "AWSKubernetesEngine", "name": "x"}]
ENGINE_WORDS = "the cloud manager (AWSKubernetesEngine)"
OPERATOR = "cert-manager-operator-controller-manager"


@pytest.mark.parametrize(
    ("metadata", "kind", "words"),
    [
        ({"labels": OURS_BY_LABEL}, OURS, "this installer"),
        ({"managedFields": [{"manager": "inference-platform"}, {"manager": "cainjector"}]}, OURS, "this installer"),
        ({"ownerReferences": ENGINE}, CLOUD_MANAGER, ENGINE_WORDS),
        ({"labels": OURS_BY_LABEL, "ownerReferences": ENGINE}, CLOUD_MANAGER, ENGINE_WORDS),
        (
            {"labels": {"infrastructure.opendatahub.io/part-of": "azurekubernetesengine"}},
            CLOUD_MANAGER,
            "the cloud manager (azurekubernetesengine)",
        ),
        (
            {"labels": {**OURS_BY_LABEL, "infrastructure.opendatahub.io/part-of": "azurekubernetesengine"}},
            OURS,
            "this installer",
        ),
        ({"labels": {"olm.owner": "cert-manager-operator.v1.18.1"}}, SOMEBODY, "OLM, cert-manager-operator.v1.18.1"),
        (
            {"annotations": {"meta.helm.sh/release-name": "cm", "meta.helm.sh/release-namespace": "x"}},
            SOMEBODY,
            "Helm release x/cm",
        ),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "kubectl"}]}, SOMEBODY, "field manager kubectl"),
        ({"managedFields": [{"manager": "kube-apiserver", "subresource": "status"}]}, SOMEBODY, "somebody unknown"),
        ({}, SOMEBODY, "somebody unknown"),
    ],
    ids=[
        "our label", "our field manager", "owned by an engine", "taken over from us", "the cloud manager's label",
        "given back by the cloud manager", "olm", "helm", "kubectl", "only a status", "no marks",
    ],
)  # fmt: skip
def test_the_owner_of_an_object(metadata: dict[str, Any], kind: str, words: str) -> None:
    owner = owner_of(named("Deployment", "x", "y", **metadata))
    assert (owner.kind, owner.words) == (kind, words)


def found(world: World, name: str) -> list[tuple[str, str, str]]:
    """(evidence, kind of owner, version) of each installation of a dependency."""
    items = detect(data.load()["dependencies"][name], world.seen).installations
    return [(item.evidence, item.owner.kind, item.version) for item in items]


def test_what_an_operator_of_ours_brings_is_ours() -> None:
    world = World()
    world.add(
        "deployments",
        deployment(OPERATOR, "cert-manager-operator", "o", "i@sha256:1", labels={"inference-platform.io/layer": "x"}),
        deployment("cert-manager", "cert-manager", "cert-manager-controller", "i@sha256:2"),
    )
    world.add("crds", *crds("cert_manager", labels={"app.kubernetes.io/version": "v1.18.4"}))
    assert found(world, "cert_manager") == [(f"Deployment cert-manager-operator/{OPERATOR}", OURS, "v1.18.4")]
    assert world.codes() == []


def test_a_second_one_elsewhere_is_not_brought_by_the_operator() -> None:
    world = World()
    world.add(
        "deployments",
        deployment(OPERATOR, "cert-manager-operator", "o", "i@sha256:1", labels={"inference-platform.io/layer": "x"}),
        cert_manager(namespace="team"),
    )
    assert [kind for _, kind, _ in found(world, "cert_manager")] == [OURS, SOMEBODY]
    assert world.codes() == [("IP-PRE-055", "error")]


def test_an_istiod_that_the_sail_operator_installed_as_a_helm_release_is_the_operators() -> None:
    world = World()
    revision = [{"apiVersion": "sailoperator.io/v1", "kind": "IstioRevision", "name": "default"}]
    operand = istiod()
    operand["metadata"].update(ownerReferences=revision, annotations={"meta.helm.sh/release-name": "default-istiod"})
    operator = deployment("servicemesh-operator3", "istio-system", "m", "i@sha256:1", labels=OURS_BY_LABEL)
    world.add("deployments", operand, operator)
    assert found(world, "sail") == [("Deployment istio-system/servicemesh-operator3", OURS, "1.27.3")]


@pytest.mark.parametrize(
    ("obj", "version"),
    [
        (cert_manager("v1.18.4"), "v1.18.4"),
        (cert_manager("v1.18.4@sha256:1"), "v1.18.4"),
        (cert_manager("latest", labels={"app.kubernetes.io/version": "v1.17.0"}), "v1.17.0"),
        (cert_manager("latest"), ""),
    ],
)
def test_the_version_is_read_from_label_or_tag(obj: dict[str, Any], version: str) -> None:
    world = World()
    world.add("deployments", obj)
    assert [item[2] for item in found(world, "cert_manager")] == [version]


def test_a_subscription_that_has_a_deployment_counts_once() -> None:
    world = World()
    csv = "cert-manager-operator.v1.18.1"
    subscription = named("Subscription", "s", "cert-manager-operator", spec={"name": "openshift-cert-manager-operator"})
    world.add("subscriptions", {**subscription, "status": {"installedCSV": csv}})
    assert found(world, "cert_manager") == [("Subscription cert-manager-operator/s", SOMEBODY, "v1.18.1")]
    world.add("deployments", deployment(OPERATOR, "cert-manager-operator", "o", "i", labels={"olm.owner": csv}))
    assert [item[0] for item in found(world, "cert_manager")] == [f"Deployment cert-manager-operator/{OPERATOR}"]


# ---- auto -------------------------------------------------------------------------------------------------


def theirs(world: World) -> None:
    world.add("deployments", cert_manager())
    world.add("crds", *crds("cert_manager"))


def ours(world: World) -> None:
    labels = {"inference-platform.io/layer": "cert_manager"}
    world.add("deployments", deployment(OPERATOR, "cert-manager-operator", "o", "i@sha256:1", labels=labels))


def the_cloud_managers(world: World) -> None:
    world.add("deployments", deployment(OPERATOR, "cert-manager-operator", "o", "i@sha256:1", ownerReferences=ENGINE))


def only_crds(world: World) -> None:
    world.add("crds", *crds("cert_manager"))


def nothing(world: World) -> None:
    del world


@pytest.mark.parametrize(
    ("there", "becomes"),
    [(nothing, "managed"), (only_crds, "managed"), (ours, "managed"), (theirs, "external"),
     (the_cloud_managers, "delegated")],
)  # fmt: skip
def test_auto_is_decided_by_what_is_there(there: Any, becomes: str) -> None:
    world = World()
    world.own(cert_manager="auto")
    there(world)
    assert world.decisions()["cert_manager"] == becomes
    assert world.codes() == []


def test_auto_takes_a_newer_gateway_api_as_it_is() -> None:
    world = World()
    world.own(gateway_api="auto")
    world.add("crds", *gateway_api("v1.5.1", managedFields=[{"manager": "gke"}]))
    assert world.decisions()["gateway_api"] == "external"
    assert world.codes() == [("IP-PRE-053", "warning")]


def test_auto_leaves_a_gateway_api_alone_that_the_cluster_has_upgraded_over_ours() -> None:
    world = World()
    world.own(gateway_api="auto")
    world.add("crds", *gateway_api("v1.6.0", labels={"inference-platform.io/layer": "gateway_api"}))
    assert world.decisions()["gateway_api"] == "external"
    assert world.codes() == []


def test_auto_leaves_a_newer_gateway_api_with_the_cloud_manager_that_brought_it() -> None:
    """As external the cloud manager would be told Unmanaged, and uninstall it."""
    world = World()
    world.own(gateway_api="auto")
    world.settings |= {"provider": "azure"}
    world.add("crds", *gateway_api("v1.4.1", labels={"infrastructure.opendatahub.io/part-of": "azurekubernetesengine"}))
    assert world.decisions()["gateway_api"] == "delegated"
    assert "IP-PRE-061" not in dict(world.codes())


def test_auto_where_only_the_cloud_manager_may_bring_it_does_not_take_it_over() -> None:
    world = World()
    world.settings["provider"] = "aws"
    world.own(sail="auto")
    world.add("deployments", istiod())
    assert world.decisions()["sail"] == "delegated"
    assert world.codes() == [("IP-PRE-060", "error")]


# ---- adoption ---------------------------------------------------------------------------------------------


def test_the_same_operator_of_somebody_else_is_adopted_only_by_name() -> None:
    world = World()
    marks = {"meta.helm.sh/release-name": "x", "meta.helm.sh/release-namespace": "y"}
    world.add("deployments", deployment("servicemesh-operator3", "istio-system", "m", "i@sha256:1", annotations=marks))
    assert world.codes() == [("IP-PRE-050", "error")]
    assert "To take it over on purpose, set ownership_adopt: [sail]." in world.findings()[0].remedy
    world.settings["ownership_adopt"] = ["cert_manager"]
    assert world.codes() == [("IP-PRE-050", "error")]
    world.settings["ownership_adopt"] = ["sail"]
    assert world.codes() == []
    assert next(d.reason for d in world.outcome().decisions if d.name == "sail") == "taken over from Helm release y/x"


def test_another_kind_of_installation_cannot_be_adopted() -> None:
    world = World()
    theirs(world)
    world.settings["ownership_adopt"] = ["cert_manager"]
    assert world.codes() == [("IP-PRE-050", "error")]
    assert "It cannot be adopted" in world.findings()[0].remedy


def test_crds_of_gateway_api_can_be_adopted_but_not_downgraded() -> None:
    world = World()
    world.settings["ownership_adopt"] = ["gateway_api"]
    world.add("crds", *gateway_api("v1.3.0"))
    assert world.codes() == []
    world.seen.parts["crds"] = gateway_api("v1.5.0")
    assert world.codes() == [("IP-PRE-041", "error")]


def test_a_newer_gateway_api_of_the_cloud_manager_itself_is_no_downgrade() -> None:
    world = World()
    world.own(gateway_api="delegated")
    world.add("crds", *gateway_api("v1.4.1", labels={"infrastructure.opendatahub.io/part-of": "azurekubernetesengine"}))
    assert "IP-PRE-041" not in dict(world.codes())
    world.seen.parts["crds"] = gateway_api("v1.4.1")
    assert "IP-PRE-041" in dict(world.codes())


def test_what_this_installer_made_may_become_external_and_stays() -> None:
    world = World()
    world.own(cert_manager="external")
    ours(world)
    only_crds(world)
    assert world.codes() == []
    reason = next(item.reason for item in world.outcome().decisions if item.name == "cert_manager")
    assert reason == "left as this installer made it: no longer upgraded, not removed"


# ---- versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("v1.27.8", (1, 27, 8)),
        ("1.18.4-rc.1", (1, 18, 4)),
        ("1.27", (1, 27)),
        ("latest", None),
        ("", None),
        ("1", None),
    ],
)
def test_versions_are_numbers(text: str, numbers: tuple[int, ...] | None) -> None:
    assert data.version_of(text) == numbers


@pytest.mark.parametrize(
    ("version", "problem"),
    [((1, 16, 9), "too old"), ((1, 17), None), ((1, 17, 0), None), ((1, 99, 1), None), ((2, 0, 0), "too new")],
)
def test_a_window_has_two_ends(version: tuple[int, ...], problem: str | None) -> None:
    assert data.outside({"minimum": "1.17.0", "below": "2", "tested": "1.18"}, version) == problem


@pytest.mark.parametrize(
    ("installed", "wanted", "may"),
    [
        ("o.v1.18.0", "o.v1.18.1", True),
        ("o.v1.18.1", "o.v1.18.0", False),
        ("o.v1.18.1", "o.v1.18.1", False),
        ("cert-manager-operator.v1.18.1", "cert-manager-operator.v1.18.1-0.1762", True),
        ("lws.1.18.0-2", "lws.1.18.0-10", True),
        ("o.v1.18.1-0.1762", "o.v1.18.0-0.2000", False),
        ("o.of-today", "o.v1.18.0", True),
    ],
)
def test_olm_goes_forward_and_knows_the_order_of_rebuilds(installed: str, wanted: str, may: bool) -> None:
    assert data.may_become(installed, wanted) is may


def test_tested_means_the_version_as_far_as_it_is_told() -> None:
    assert not data.is_newer((1, 18, 9), "1.18")
    assert data.is_newer((1, 19, 0), "1.18")
