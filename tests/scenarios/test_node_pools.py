"""Quotas, priorities and NodePools come with the inventory and go with it; models go to the nodes of their pool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import yaml

from tests.scenarios.conftest import INVENTORIES, Installation
from tests.support.clusters import Object, wait_for, wait_for_crds

pytestmark = pytest.mark.cluster

OURS = ("--selector", "inference-platform.io/layer=capacity")
ASKED = {
    "node_pools": [{"name": "calm", "priority": 1000, "keep_running": True}],
    "namespace_quotas": [{"namespace": "models", "hard": {"requests.nvidia.com/gpu": 4, "pods": 40}}],
}
ZONE = {"topology.kubernetes.io/zone": "us-east-1b"}
#: What Karpenter would read; here nothing does.
NODE_POOL = {"template": {"spec": {"nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass"}}}}
POOLS = [
    {"name": "calm", "priority": 1000, "keep_running": True, "node_selector": ZONE},
    {"name": "burst", "capacity": "spot", "karpenter": NODE_POOL},
]
#: One model for which there is a node, and one that waits for a node of Karpenter.
ON_POOLS = [
    {
        "name": "calm-one",
        "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
        "gpu": {"count": 0},
        "image": "registry.redhat.io/rhaiis/vllm-cpu-rhel9:3",
        "resources": {"cpu": "100m", "memory": "256Mi"},
        "profiles": ["calm"],
    },
    {
        "name": "burst-one",
        "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
        "gpu": {"product": "NVIDIA-L4", "count": 1},
        "profiles": ["burst"],
    },
]


def with_pools() -> dict[str, object]:
    """The inventory with pools, quotas and models on the pools; no run waits for these models."""
    file = INVENTORIES / "local/group_vars/all/30-models.yml"
    own = yaml.safe_load(file.read_text(encoding="utf-8"))["models"]
    return {**ASKED, "node_pools": POOLS, "models": [*own, *ON_POOLS], "models_wait": False, "models_smoke": False}


@pytest.fixture
def karpenter(aws: Installation) -> Iterator[None]:
    """The CRD of NodePools, with a schema that takes everything, and nobody who acts on them."""
    name = "nodepools.karpenter.sh"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": "karpenter.sh",
            "scope": "Cluster",
            "names": {"plural": "nodepools", "singular": "nodepool", "kind": "NodePool"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    aws.cluster.do("apply", "--filename", "-", stdin=json.dumps(crd))
    wait_for_crds(aws.cluster, name)
    yield
    aws.cluster.do("delete", "crd", name, "--timeout=50s")


def made(aws: Installation, *kinds: str) -> list[Object]:
    return [item for kind in ("resourcequotas", "priorityclasses", *kinds) for item in aws.cluster.objects(kind, *OURS)]


def pod_of(aws: Installation, model: str) -> Object:
    """The serving pod of a model, once it was sent to a node or told that there is none."""
    selector = f"app.kubernetes.io/name={model},kserve.io/component=workload"

    def judged() -> Object | None:
        for pod in aws.cluster.objects("pods", "--selector", selector):
            if any(item["type"] == "PodScheduled" for item in pod["status"].get("conditions", [])):
                return pod
        return None

    found = wait_for(f"the scheduler to judge a pod of {model}", judged, 180)
    assert isinstance(found, dict)
    return found


@pytest.mark.usefixtures("karpenter")
def test_pools_and_quotas_are_made_once_and_removed_when_they_are_no_longer_asked_for(aws: Installation) -> None:
    run = aws.again("--tags", "models", variables=with_pools())
    assert run.exit_code == 0, run.output
    objects = {(item["kind"], item["metadata"]["name"]): item for item in made(aws, "nodepools")}
    assert objects.keys() == {
        ("ResourceQuota", "inference-platform"),
        ("PriorityClass", "inference-calm"),
        ("NodePool", "burst"),
    }
    assert objects["NodePool", "burst"]["spec"] == NODE_POOL
    assert "Expect Karpenter to start 1 x g6." in run.text

    calm, burst = pod_of(aws, "calm-one"), pod_of(aws, "burst-one")
    spec = calm["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("inference-calm", 1000)
    assert spec["nodeSelector"].items() >= ZONE.items()
    assert aws.cluster.get("node", spec["nodeName"])["metadata"]["labels"].items() >= ZONE.items()
    kept = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
    assert calm["metadata"]["annotations"].items() >= kept.items()
    wanted = {"karpenter.sh/nodepool": "burst", "karpenter.sh/capacity-type": "spot"}
    assert burst["spec"]["nodeSelector"].items() >= wanted.items()
    assert "nodeName" not in burst["spec"], "no node has the labels of the NodePool"

    again = aws.again("--tags", "models", variables=with_pools())
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    back = aws.again("--tags", "models")
    assert back.exit_code == 0, back.output
    assert made(aws, "nodepools") == []
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


def test_a_priority_of_another_value_is_refused_before_the_first_write(aws: Installation) -> None:
    of_yesterday = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "inference-calm"},
        "value": 5,
    }
    aws.cluster.do("apply", "--filename", "-", stdin=json.dumps(of_yesterday))
    mark = aws.audit_mark()
    run = aws.again(variables=ASKED)
    aws.cluster.do("delete", "priorityclass", "inference-calm")
    assert run.exit_code != 0
    assert "IP-PRE-082" in run.output
    assert "value 5 and preemptionPolicy PreemptLowerPriority" in run.text
    assert mark.installer_writes() == []


def test_a_node_pool_of_karpenter_is_refused_where_karpenter_is_not(aws: Installation) -> None:
    mark = aws.audit_mark()
    run = aws.again(variables={"node_pools": [{"name": "burst", "karpenter": {"template": {}}}]})
    assert run.exit_code != 0
    assert "IP-PRE-080" in run.output
    assert mark.installer_writes() == []
