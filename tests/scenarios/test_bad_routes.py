"""Routes that lead nowhere are named by the run that applies them, and by verify.yml, before a client sees a 404."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.scenarios.conftest import Installation, run_on
from tests.support.clusters import EmbeddedCluster
from tests.support.playbook import Run

pytestmark = pytest.mark.cluster

PLATFORM = "redhat-ods-applications"
CLOSED = {"name": "closed", "namespace": PLATFORM}
FOREIGN = {"service": "llmisvc-webhook-server-service", "namespace": PLATFORM, "port": 443}
GRANT = "models-foreign"
#: A model without GPU, for which there is room beside those of the inventory.
SMALL = {
    "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
    "gpu": {"count": 0},
    "image": "registry.redhat.io/rhaiis/vllm-cpu-rhel9:3",
    "resources": {"cpu": "100m", "memory": "1Gi"},
}


@pytest.fixture(scope="module")
def cluster(aws: Installation) -> Iterator[EmbeddedCluster]:
    """The installed cluster, with a gateway that admits routes of its own namespace only; put right at the end."""
    listener = {"name": "http", "port": 8081, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": CLOSED,
        "spec": {"gatewayClassName": "istio", "listeners": [listener]},
    }
    aws.cluster.do("apply", "-f", "-", stdin=yaml.safe_dump(gateway))
    yield aws.cluster
    # The routes go first: a pool keeps what a gateway said that is gone (observed-gateway.md 4).
    put_right = run_on(aws.cluster, playbook="playbooks/models.yml")
    aws.cluster.do("delete", "gateway", CLOSED["name"], "--namespace", PLATFORM)
    assert put_right.exit_code == 0, str(put_right)


def route(name: str, backend: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An entry of model_routes."""
    rule = {"matches": [{"path": f"/{name}"}], "backends": [backend]}
    return {"name": name, "namespace": "models", "rules": [rule], **more}


ROUTES = [
    route("no-pool", {"pool": "nowhere"}),
    # Through its Service: a route to its pool would take the model down with it.
    route("not-admitted", {"model": "qwen-basic", "through": "service", "port": 8000}, gateways=[CLOSED]),
    route("wrong-port", {"service": "qwen-basic-kserve-workload-svc", "port": 80}),
    route("foreign", FOREIGN),
]
VARIABLES = {"model_routes": ROUTES, "models_routes_seconds": 8}


@pytest.fixture(scope="module")
def run(cluster: EmbeddedCluster) -> Run:
    """models.yml with bad routes, and with one to another namespace, which gets its grant."""
    return run_on(cluster, playbook="playbooks/models.yml", variables=VARIABLES)


@pytest.fixture(scope="module")
def verified(run: Run, cluster: EmbeddedCluster) -> Run:
    """verify.yml after somebody deleted the grant."""
    assert run.recap["changed"] == 1, str(run)
    cluster.do("delete", "referencegrant", GRANT, "--namespace", PLATFORM)
    return run_on(cluster, playbook="playbooks/verify.yml", variables=VARIABLES)


@pytest.mark.parametrize(
    ("name", "cause", "meaning", "remedy"),
    [
        (
            "no-pool",
            "ResolvedRefs=False BackendNotFound: backend(nowhere) not found",
            "its requests are answered with 500",
            "Correct the name in backends of the route",
        ),
        (
            "not-admitted",
            f'Gateway {PLATFORM}/closed: Accepted=False NotAllowedByListeners: hostnames matched parent hostname "", '
            'but namespace "models" is not allowed by the parent',
            "requests are answered with 404",
            "Change allowedRoutes of the listener",
        ),
        (
            "wrong-port",
            "Service models/qwen-basic-kserve-workload-svc has no port 80, only 8000",
            "its requests are answered with 503",
            "Correct port of the backend",
        ),
    ],
)
def test_a_bad_route_is_named_with_its_cause(run: Run, name: str, cause: str, meaning: str, remedy: str) -> None:
    assert run.exit_code != 0
    assert f"HTTPRoute models/{name}: " in run.text
    for words in (cause, meaning, remedy):
        assert words in run.text
    assert "3 of 4 routes do not lead to their models" in run.text


def test_another_namespace_needs_a_grant_which_verify_misses(run: Run, verified: Run) -> None:
    assert "HTTPRoute models/foreign" not in run.text
    assert verified.exit_code != 0
    assert "4 of 4 routes do not lead to their models" in verified.text
    assert "HTTPRoute models/foreign: " in verified.text
    assert "ResolvedRefs=False RefNotPermitted" in verified.text
    assert "missing a ReferenceGrant?" in verified.text
    assert "Run models.yml again if the grant that this installer makes is gone" in verified.text


def test_a_model_whose_gateway_does_not_admit_it_is_refused_before_it_is_applied(cluster: EmbeddedCluster) -> None:
    refused = {"name": "refused", "namespace": "models", **SMALL, "router": {"gateways": [CLOSED]}}
    variables = {"models": [refused], "models_prune": False}
    run = run_on(cluster, playbook="playbooks/models.yml", variables=variables)
    assert run.exit_code != 0
    for words in (
        "router.gateways[0] (refused) (error IP-MOD-112)",
        f"a listener of {PLATFORM}/closed that admits routes of namespace models",
        "Change allowedRoutes of the Gateway, or use another namespace.",
    ):
        assert words in run.text
    assert "nothing was written" in run.text
