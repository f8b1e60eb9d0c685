"""Quotas and priorities come with the inventory and go with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.scenarios.conftest import Installation
from tests.support.clusters import Object

pytestmark = pytest.mark.cluster

OURS = ("--selector", "inference-platform.io/layer=capacity")
ASKED = {
    "node_pools": [{"name": "calm", "priority": 1000, "keep_running": True}],
    "namespace_quotas": [{"namespace": "models", "hard": {"requests.nvidia.com/gpu": 4, "pods": 40}}],
}


def made(aws: Installation) -> list[Object]:
    return [*aws.cluster.objects("resourcequotas", *OURS), *aws.cluster.objects("priorityclasses", *OURS)]


def test_quotas_and_priorities_are_made_once_and_removed_when_they_are_no_longer_asked_for(aws: Installation) -> None:
    run = aws.again("--tags", "models", variables=ASKED)
    assert run.exit_code == 0, run.output
    assert {(item["kind"], item["metadata"]["name"]) for item in made(aws)} == {
        ("ResourceQuota", "inference-platform"),
        ("PriorityClass", "inference-calm"),
    }
    again = aws.again("--tags", "models", variables=ASKED)
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    back = aws.again("--tags", "models")
    assert back.exit_code == 0, back.output
    assert made(aws) == []
    assert aws.cluster.get("namespace", "models")["metadata"].get("deletionTimestamp") is None


def other_run(aws: Installation) -> None:
    """A run on another machine that is at work now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "inference-platform", "namespace": "kube-system"},
        "spec": {"holderIdentity": "somebody@elsewhere 4711", "acquireTime": now, "renewTime": now},
    }
    aws.cluster.do("apply", "--filename", "-", stdin=json.dumps(lease))


def leases(aws: Installation) -> list[str]:
    found = aws.cluster.objects("leases", "--field-selector=metadata.namespace=kube-system")
    return [item["metadata"]["name"] for item in found if item["metadata"]["name"] == "inference-platform"]


def test_while_another_run_writes_nothing_is_written_and_its_lease_can_be_taken_over(aws: Installation) -> None:
    assert leases(aws) == [], "the runs before gave it back"
    other_run(aws)
    mark = aws.audit_mark()
    run = aws.again("--tags", "models", variables=ASKED)
    assert run.exit_code != 0
    assert "somebody@elsewhere 4711" in run.text
    assert mark.installer_writes() == []
    unchanged = aws.again("--tags", "models")
    assert (unchanged.exit_code, unchanged.recap["changed"]) == (0, 0), unchanged.output
    forced = aws.again("--tags", "models", "-e", "platform_take_over=true", variables=ASKED)
    assert forced.exit_code == 0, forced.output
    assert leases(aws) == []
    back = aws.again("--tags", "models")
    assert back.exit_code == 0, back.output
    assert made(aws) == []


def test_a_node_pool_of_karpenter_is_refused_where_karpenter_is_not(aws: Installation) -> None:
    mark = aws.audit_mark()
    run = aws.again(variables={"node_pools": [{"name": "burst", "karpenter": {"template": {}}}]})
    assert run.exit_code != 0
    assert "IP-PRE-080" in run.output
    assert mark.installer_writes() == []
