"""What the language makes of every sample, offered to the API server with the real webhooks of KServe."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from embedded_cluster.standins.objects import contains

from inference_platform.platform import resolve
from tests.scenarios.conftest import Installation
from tests.support.clusters import EmbeddedCluster, Object
from tests.support.rendered_models import rendered_objects

pytestmark = pytest.mark.cluster

#: The platform of inventories/local.
PLATFORM = {"platform_release": "3.4", "provider": "aws"}
KINDS = {
    *("Namespace", "LLMInferenceService", "HTTPRoute", "ReferenceGrant"),
    *("InferenceObjective", "InferenceModelRewrite"),
}
#: Served by the Prometheus operator alone, which the embedded cluster does not have.
NOT_SERVED = {"PodMonitor"}


@pytest.fixture(scope="module")
def objects(aws: Installation) -> Iterator[list[Object]]:
    """The objects of all samples; the namespaces they need are there while they are tested."""
    found = [obj for obj in rendered_objects(resolve(PLATFORM).to_dict()) if obj["kind"] not in NOT_SERVED]
    there = {item["metadata"]["name"] for item in aws.cluster.objects("namespaces")}
    missing = sorted({obj["metadata"].get("namespace", "default") for obj in found} - there)
    for name in missing:
        aws.cluster.do("create", "namespace", name)
    yield found
    aws.cluster.do("delete", "namespace", *missing)


def offered(cluster: EmbeddedCluster, *objects: Object) -> tuple[list[Object], str]:
    """The objects as they would be stored, and complaints; unknown fields are refused, not dropped."""
    # The model of the inventory is there already, applied by somebody else.
    command = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts")
    done = cluster.kubectl(*command, "--output", "json", "--filename", "-", stdin=json.dumps(as_list(objects)))
    printed = json.loads(done.stdout) if done.stdout.strip() else {"items": []}
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Warning: ")]
    return printed.get("items", [printed]), "\n".join(complaints)


def as_list(objects: tuple[Object, ...]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def test_every_sample_is_admitted_and_stored_as_it_is(aws: Installation, objects: list[Object]) -> None:
    assert {obj["kind"] for obj in objects} == KINDS
    stored, complaints = offered(aws.cluster, *objects)
    assert complaints == ""
    assert len(stored) == len(objects)
    changed = [
        f"{mine['kind']} {mine['metadata']['name']}: {mine} became {theirs}"
        for mine, theirs in zip(objects, stored, strict=True)
        if not contains(theirs, mine)
    ]
    assert changed == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("spec", "noSuchField"), 1, "unknown field"),
        (("spec", "replicas"), -1, "should be greater than or equal to 0"),
        (("spec", "worker"), {"containers": []}, "parallelism"),
        (("spec", "router", "route"), {"http": {"refs": [{"name": "x"}], "spec": {}}}, "cannot use both"),
    ],
)
def test_schema_and_webhook_are_asked(
    aws: Installation, objects: list[Object], path: tuple[str, ...], value: Any, complaint: str
) -> None:
    """The answers above mean something: what is wrong is refused by the same request."""
    wrong = copy.deepcopy(next(obj for obj in objects if obj["metadata"]["name"] == "qwen"))
    inner = wrong
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    stored, complaints = offered(aws.cluster, wrong)
    assert stored == []
    assert complaint in complaints
