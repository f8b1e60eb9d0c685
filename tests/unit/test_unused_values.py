"""Values for releases that the plan does not install are told, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.catalog import load
from inference_platform.platform import resolve
from inference_platform.platform.unused_values import check
from inference_platform.problems import Reporter

SOME = {"global": {"imageRegistry": "r"}}


def told(values: dict[str, Any], **settings: Any) -> list[Any]:
    settings = {"platform_release": "3.4", **settings}
    return list(check(settings, {**settings, **values}, resolve(settings), load(), Reporter(None)))


@pytest.mark.parametrize(
    ("settings", "layer", "release", "why", "how"),
    [
        pytest.param(
            {"provider": "aws"},
            "sail",
            "istio",
            "the cloud manager installs the layer",
            "with cloud_manager: none.",
            id="the cloud manager's Istio",
        ),
        pytest.param(
            {"provider": "aws"},
            "pki",
            "pki",
            "the cloud manager installs the layer",
            "with cloud_manager: none.",
            id="the cloud manager's authority",
        ),
        pytest.param(
            {"provider": "gcp"},
            "cloud_manager",
            "cloud-manager",
            "release 3.4 on gcp is without it",
            "without effect.",
            id="no cloud manager",
        ),
        pytest.param(
            {"provider": "azure", "ownership": {"sail": "external"}},
            "sail",
            "sail-operator",
            "somebody else has installed the layer",
            "with ownership.sail: managed.",
            id="another owner",
        ),
        pytest.param(
            {"provider": "openshift"},
            "sail",
            "sail-operator",
            "OpenShift installs the layer",
            "without effect.",
            id="OpenShift's Istio",
        ),
        pytest.param(
            {"provider": "openshift"},
            "inference_gateway",
            "inference-gateway",
            "release 3.4 on openshift is without it",
            "without effect.",
            id="the gateway of the other route",
        ),
        pytest.param(
            {"provider": "gcp"},
            "lws",
            "leader-worker-set",
            "release 3.4 on gcp is without it",
            "without effect.",
            id="no Subscription",
        ),
        pytest.param(
            {"provider": "aws"},
            "kserve_instance",
            "platform",
            "release 3.4 on aws is without it",
            "without effect.",
            id="a release of the next version",
        ),
    ],
)
def test_values_for_a_release_that_is_not_installed_are_told(
    settings: dict[str, Any], layer: str, release: str, why: str, how: str
) -> None:
    (found,) = told({f"{layer}_values": {release: SOME}}, **settings)
    assert (found.code, found.severity, found.where) == ("IP-PLT-034", "warning", f"{layer}_values.{release}")
    assert found.found.endswith(why)
    assert found.remedy.endswith(how)


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        pytest.param({"provider": "gcp"}, {"sail_values": {"istio": SOME, "sail-operator": SOME}}, id="installed"),
        pytest.param({"provider": "openshift"}, {"lws_values": {"leader-worker-set": SOME}}, id="a Subscription"),
        pytest.param(
            {"provider": "azure", "ownership": {"sail": "auto"}}, {"sail_values": {"istio": SOME}}, id="decided later"
        ),
        pytest.param({"provider": "aws"}, {"sail_values": {"istio": {}}, "lws_values": {"lws": None}}, id="no values"),
        pytest.param(
            {"provider": "gcp", "distribution": "community"}, {"sail_values": {"istiod": {"a": 1}}}, id="community"
        ),
    ],
)
def test_values_that_are_used_or_may_be_are_not_told(settings: dict[str, Any], values: dict[str, Any]) -> None:
    assert told(values, **settings) == []
