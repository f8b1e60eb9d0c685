"""One run of models.yml with a model of every topology: what the real KServe and LeaderWorkerSet make of each."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.scenarios.conftest import INVENTORIES, Installation, run_on
from tests.support.clusters import EmbeddedCluster, Object, wait_for
from tests.support.playbook import Run

pytestmark = pytest.mark.cluster

NAMESPACE = "topologies"
GPU_NODES = ("gpu-1", "gpu-2")
GPUS_PER_NODE = 10

# The endpoint picker of the embedded cluster lacks the plugins of llm-d. Under an image that it does not know, a
# scheduler is simulated; that the configuration starts is the business of tests/epp and of the plugin catalogue.
SIMULATED_PICKER = {
    "router": {"scheduler": {"template": {"containers": [{"name": "main", "image": "llm-d.example/scheduler:v0.7.1"}]}}}
}
GROUP_OF_TWO = {"data": 2, "data_local": 1, "expert": True}


def model(name: str, **settings: Any) -> Object:
    """An entry with one GPU per pod, unless its settings say otherwise."""
    gpu = {"product": "NVIDIA-L4", "count": 1}
    return {"name": name, "namespace": NAMESPACE, "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct", "gpu": gpu, **settings}


MODELS = [
    model(
        "single",
        gpu={"product": "NVIDIA-L4", "count": 2},
        scheduler={"objectives": "default", "pod_labels": {"team": "a"}, "pod_annotations": {"note": "b"}},
    ),
    model("group", parallelism=GROUP_OF_TWO),
    model("pd", prefill={}, override=SIMULATED_PICKER),
    model("pd-groups", parallelism=GROUP_OF_TWO, prefill={}, override=SIMULATED_PICKER),
    model("precise", scheduler={"strategy": "precise_prefix_cache"}, override=SIMULATED_PICKER),
    model("plain", scheduler={"enabled": False}),
    model("ab-one", served_name="ab", traffic={"group": "ab", "weight": 90}),
    model("ab-two", served_name="ab", traffic={"group": "ab", "weight": 10}),
    model("halted", state="stopped"),
    model("idle", replicas=0),
    model("idle-group", replicas=0, parallelism=GROUP_OF_TWO),
]

ALWAYS = {"PresetsCombined", "WorkloadsReady", "GatewaysReady", "HTTPRoutesReady", "RouterReady", "Ready"}
SCHEDULED = {"SchedulerWorkloadReady", "InferencePoolReady"}
POOLS = {"InferencePool.inference.networking.k8s.io", "InferencePool.inference.networking.x-k8s.io"}


@dataclass(frozen=True)
class Expected:
    """What KServe makes of a model (models.md 1.6, 3.1): workloads with the size of a replica, conditions."""

    workloads: dict[str, int]
    conditions: set[str]
    scheduler: bool = True

    def names(self, name: str) -> set[str]:
        """Kind and name of everything whose presence depends on the topology."""
        found = {f"Service {name}-kserve-workload-svc", f"HTTPRoute {name}-kserve-route", *self.workloads}
        if self.scheduler:
            found |= {f"Deployment {name}-kserve-router-scheduler", f"Service {name}-epp-service"}
            found |= {f"{pool} {name}-inference-pool" for pool in POOLS}
        return found


SINGLE = ALWAYS | SCHEDULED | {"MainWorkloadReady"}
EXPECTED = {
    **{
        name: Expected({f"Deployment {name}-kserve": 1}, SINGLE)
        for name in ("single", "precise", "ab-one", "ab-two", "idle")
    },
    "group": Expected({"LeaderWorkerSet group-kserve-mn": 2}, ALWAYS | SCHEDULED | {"WorkerWorkloadReady"}),
    "pd": Expected({"Deployment pd-kserve": 1, "Deployment pd-kserve-prefill": 1}, SINGLE | {"PrefillWorkloadReady"}),
    "pd-groups": Expected(
        {"LeaderWorkerSet pd-groups-kserve-mn": 2, "LeaderWorkerSet pd-groups-kserve-mn-prefill": 2},
        ALWAYS | SCHEDULED | {"WorkerWorkloadReady", "PrefillWorkerWorkloadReady"},
    ),
    "plain": Expected({"Deployment plain-kserve": 1}, ALWAYS | {"MainWorkloadReady"}, scheduler=False),
    "idle-group": Expected({"LeaderWorkerSet idle-group-kserve-mn": 2}, ALWAYS | SCHEDULED | {"WorkerWorkloadReady"}),
}
OWNED_KINDS = ("deployments", "leaderworkersets", "services", "httproutes")


@pytest.fixture(scope="module")
def roomy(aws: Installation) -> Iterator[EmbeddedCluster]:
    """The installed cluster, with room for all models while they are tested."""
    before = str(aws.cluster.get("node", GPU_NODES[0])["status"]["allocatable"]["nvidia.com/gpu"])
    set_gpus(aws.cluster, str(GPUS_PER_NODE))
    yield aws.cluster
    set_gpus(aws.cluster, before)


@pytest.fixture(scope="module")
def applied(roomy: EmbeddedCluster) -> Iterator[Run]:
    """One run with all models; afterwards the cluster has those of its inventory again."""
    yield apply(roomy, MODELS)
    done = run_on(roomy, playbook="playbooks/models.yml", variables={"models_delete": "yes"})
    assert done.exit_code == 0, done.output
    roomy.do("delete", "namespace", NAMESPACE, "--wait")


@pytest.fixture(scope="module")
def cluster(roomy: EmbeddedCluster, applied: Run) -> EmbeddedCluster:
    """The cluster with all models."""
    assert applied.exit_code == 0, applied.output
    return roomy


def apply(
    cluster: EmbeddedCluster, models: list[Object], playbook: str = "playbooks/models.yml", **variables: Any
) -> Run:
    """A playbook with these models beside those of the inventory."""
    file = INVENTORIES / "local/group_vars/all/30-models.yml"
    own = yaml.safe_load(file.read_text(encoding="utf-8"))["models"]
    together = {"models": [*own, *models], "models_wait_seconds": 240, **variables}
    return run_on(cluster, playbook=playbook, variables=together)


def set_gpus(cluster: EmbeddedCluster, count: str) -> None:
    amount = {"nvidia.com/gpu": count}
    patch = json.dumps({"status": {"allocatable": amount, "capacity": amount}})
    for node in GPU_NODES:
        cluster.do("patch", "node", node, "--subresource", "status", "--type", "merge", "--patch", patch)


def service(cluster: EmbeddedCluster, name: str) -> Object:
    return cluster.get("llminferenceservice", name, NAMESPACE)


def conditions(obj: Object) -> dict[str, str]:
    """Status of each condition, with the reason where it is not True."""
    found = (obj.get("status") or {}).get("conditions") or []
    return {item["type"]: item["status"] if item["status"] == "True" else item.get("reason", "") for item in found}


def owned(cluster: EmbeddedCluster, name: str) -> set[str]:
    """Kind and name of the objects that KServe made for a model; pools with their group."""
    selector = ("--selector", f"app.kubernetes.io/name={name},app.kubernetes.io/part-of=llminferenceservice")
    pools = [pool.replace("InferencePool", "inferencepools", 1) for pool in POOLS]
    items = [item for kind in (*OWNED_KINDS, *pools) for item in cluster.objects(kind, *selector)]
    return {
        f"{kind_of(item)} {item['metadata']['name']}" for item in items if item["metadata"]["namespace"] == NAMESPACE
    }


def kind_of(obj: Object) -> str:
    group = obj["apiVersion"].partition("/")[0]
    return f"{obj['kind']}.{group}" if obj["kind"] == "InferencePool" else str(obj["kind"])


def pods(cluster: EmbeddedCluster, name: str, **labels: str) -> list[Object]:
    """The pods of a model that have these labels (dots and slashes of their keys as in kserve.io/component)."""
    wanted = ",".join(f"{key}={value}" for key, value in {"app.kubernetes.io/name": name, **labels}.items())
    return cluster.objects("pods", "--selector", wanted, "--sort-by", "metadata.name")


def words(container: Object) -> list[str]:
    """The arguments as vLLM gets them from the shell of the preset."""
    return [word for text in container.get("args", []) for word in shlex.split(text)]


def server(pod: Object) -> Object:
    return next(item for item in pod["spec"]["containers"] if item["name"] == "main")


# One run ----------------------------------------------------------------------------------


def test_one_run_applies_all_topologies_and_each_model_answers(applied: Run) -> None:
    """The wait needs every model as wanted, the smoke test an answer of each through the gateway."""
    assert applied.exit_code == 0, applied.output
    assert applied.recap["failed"] == 0, applied.output


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_has_the_conditions_of_its_topology(cluster: EmbeddedCluster, name: str) -> None:
    assert conditions(service(cluster, name)) == dict.fromkeys(EXPECTED[name].conditions, "True")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_has_the_objects_of_its_topology(cluster: EmbeddedCluster, name: str) -> None:
    assert owned(cluster, name) == EXPECTED[name].names(name)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_scheduler_gets_the_rendered_configuration(cluster: EmbeddedCluster, name: str) -> None:
    scheduler = service(cluster, name)["spec"]["router"].get("scheduler")
    if not EXPECTED[name].scheduler:
        assert scheduler is None
        return
    pod = cluster.get("deployment", f"{name}-kserve-router-scheduler", NAMESPACE)["spec"]["template"]
    args = server(pod)["args"]
    given = yaml.safe_load(args[args.index("--config-text") + 1])
    assert given == scheduler["config"]["inline"]


def test_scheduler_pods_have_their_own_labels_and_annotations(cluster: EmbeddedCluster) -> None:
    component = {"app.kubernetes.io/component": "llminferenceservice-router-scheduler"}
    (pod,) = pods(cluster, "single", team="a", **component)
    assert pod["metadata"]["annotations"]["note"] == "b"
    assert pod["metadata"]["annotations"]["app.kubernetes.io/version"] == "0.7.0"


def test_a_stopped_model_has_nothing_but_its_conditions(cluster: EmbeddedCluster) -> None:
    found = conditions(service(cluster, "halted"))
    assert found.pop("PresetsCombined") == "True"
    assert set(found.values()) == {"Stopped"}
    assert owned(cluster, "halted") == set()
    assert pods(cluster, "halted") == []


# What reaches the servers -----------------------------------------------------------------


def test_the_checks_from_outside_hold_for_every_topology(cluster: EmbeddedCluster) -> None:
    run = apply(cluster, MODELS, "playbooks/verify.yml")
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output


def test_tensor_parallelism_reaches_vllm(cluster: EmbeddedCluster) -> None:
    (pod,) = pods(cluster, "single", **{"kserve.io/component": "workload"})
    args = words(server(pod))
    assert args[args.index("--tensor-parallel-size") + 1] == "2"
    assert server(pod)["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_a_group_is_a_leader_that_serves_and_a_worker_on_nodes_with_gpus(cluster: EmbeddedCluster) -> None:
    leader, worker = pods(cluster, "group", **{"leaderworkerset.sigs.k8s.io/name": "group-kserve-mn"})
    assert [pod["metadata"]["name"] for pod in (leader, worker)] == ["group-kserve-mn-0", "group-kserve-mn-0-1"]
    assert leader["metadata"]["labels"]["kserve.io/component"] == "workload"
    assert "kserve.io/component" not in worker["metadata"]["labels"]
    for index, pod in enumerate((leader, worker)):
        assert pod["spec"]["nodeName"] in GPU_NODES
        env = {item["name"]: item.get("value") for item in server(pod)["env"]}
        assert (env["LWS_GROUP_SIZE"], env["LWS_LEADER_ADDRESS"]) == (
            "2",
            f"group-kserve-mn-0.group-kserve-mn.{NAMESPACE}",
        )
        assert pod["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/worker-index"] == str(index)
    assert serving_pods(cluster, "group") == {"group-kserve-mn-0"}


def serving_pods(cluster: EmbeddedCluster, name: str) -> set[str]:
    """The pods behind the Service of a model."""
    selector = f"kubernetes.io/service-name={name}-kserve-workload-svc"
    slices = cluster.objects("endpointslices", "--selector", selector)
    return {endpoint["targetRef"]["name"] for item in slices for endpoint in item.get("endpoints") or []}


@pytest.mark.parametrize("name", ["pd", "pd-groups"])
def test_decode_stands_behind_a_sidecar_and_prefill_does_not(cluster: EmbeddedCluster, name: str) -> None:
    (decode,) = pods(cluster, name, **{"llm-d.ai/role": "decode"})
    (prefill,) = pods(cluster, name, **{"llm-d.ai/role": "prefill"})
    for pod, sidecars in ((decode, {"llm-d-routing-sidecar"}), (prefill, set())):
        assert {item["name"] for item in pod["spec"]["initContainers"]} - {"storage-initializer"} == sidecars
    for pod, port in ((decode, 8001), (prefill, 8000)):
        probe = server(pod)["readinessProbe"]["httpGet"]
        assert (probe["port"], probe["scheme"]) == (port, "HTTPS")
        args = words(server(pod))
        assert json.loads(args[args.index("--kv-transfer-config") + 1])["kv_connector"] == "NixlConnector"
    assert serving_pods(cluster, name) == {pod["metadata"]["name"] for pod in (decode, prefill)}


def test_servers_publish_cache_events_to_the_port_on_which_the_scheduler_listens(cluster: EmbeddedCluster) -> None:
    (pod,) = pods(cluster, "precise", **{"kserve.io/component": "workload"})
    args = words(server(pod))
    events = json.loads(args[args.index("--kv-events-config") + 1])
    host, _, port = events["endpoint"].removeprefix("tcp://").partition(":")
    (listening,) = (item for item in cluster.get("service", host, NAMESPACE)["spec"]["ports"] if item["name"] == "zmq")
    config = service(cluster, "precise")["spec"]["router"]["scheduler"]["config"]["inline"]
    (scorer,) = (item["parameters"] for item in config["plugins"] if item["type"] == "precise-prefix-cache-scorer")
    pool = cluster.get("inferencepools.inference.networking.k8s.io", "precise-inference-pool", NAMESPACE)
    env = {item["name"]: item.get("value") for item in server(pod)["env"]}
    assert int(port) == listening["port"] == int(scorer["kvEventsConfig"]["zmqEndpoint"].rpartition(":")[2])
    assert events["topic"] == f"kv@$(POD_IP):{pool['spec']['targetPorts'][0]['number']}@precise"
    assert args[args.index("--block-size") + 1] == str(scorer["tokenProcessorConfig"]["blockSize"])
    assert env["PYTHONHASHSEED"] == scorer["tokenProcessorConfig"]["hashSeed"]


def test_a_group_of_versions_shares_one_route_by_weight(cluster: EmbeddedCluster) -> None:
    route = cluster.get("httproute", "ab", NAMESPACE)
    shares = {
        (backend["kind"], backend["name"]): backend["weight"]
        for rule in route["spec"]["rules"]
        for backend in rule["backendRefs"]
    }
    assert shares == {("Service", "ab-one-kserve-workload-svc"): 90, ("Service", "ab-two-kserve-workload-svc"): 10}
    (parent,) = route["status"]["parents"]
    assert {item["type"]: item["status"] for item in parent["conditions"]} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
    }


def test_priorities_are_for_the_pool_of_the_model(cluster: EmbeddedCluster) -> None:
    found = {
        item["metadata"]["name"]: (item["spec"]["priority"], item["spec"]["poolRef"]["name"])
        for item in cluster.objects("inferenceobjectives")
    }
    assert found == {
        f"single-{name}": (priority, "single-inference-pool")
        for name, priority in (("premium", 100), ("normal", 0), ("batch", -10))
    }


def test_prefill_pods_that_answer_themselves_are_found_out(cluster: EmbeddedCluster) -> None:
    """No picker here takes prefill and decode apart, so the gateway spreads the requests over the pods of both roles.

    What the profile says where they are taken apart, only a cluster with the scheduler of the release can show.
    """
    variables = {"models": MODELS, "models_profiles": "prefill_decode", "only": "pd"}
    run = run_on(cluster, playbook="playbooks/conformance.yml", variables=variables)
    assert run.exit_code != 0, run.output
    assert "1 profile tried, failed: prefill_decode" in run.text, run.output
    assert "vllm:generation_tokens_total of the prefill pods to grow by 4 at most, found" in run.text, run.output
    assert "they answer requests themselves, as pods do that no scheduler tells apart" in run.text, run.output


# Later runs -------------------------------------------------------------------------------


def test_a_second_run_changes_nothing_and_sends_no_write(aws: Installation, cluster: EmbeddedCluster) -> None:
    mark = aws.audit_mark()
    run = apply(cluster, MODELS)
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []


def test_a_scheduler_that_cannot_start_is_explained(cluster: EmbeddedCluster) -> None:
    """The picker of this cluster lacks the scorer: its last words are in the output, and what the condition means."""
    lacking = model("lacking", scheduler={"strategy": "precise_prefix_cache"})
    run = apply(cluster, [*MODELS, lacking], only="lacking", models_wait_seconds=30, models_smoke=False)
    cluster.do("delete", "llminferenceservice", "lacking", "--namespace", NAMESPACE)
    assert run.exit_code != 0
    assert f"1. {NAMESPACE}/lacking: SchedulerWorkloadReady=False" in run.text, run.output
    assert "plugin type 'precise-prefix-cache-scorer' is not registered" in run.text, run.output
    assert "what it means: the scheduler restarts whenever" in run.text
    assert f"kubectl -n {NAMESPACE} logs deploy/lacking-kserve-router-scheduler" in run.text


OWN_POOL = """
apiVersion: v1
kind: Service
metadata: {name: own-picker}
spec: {ports: [{port: 9002}]}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: own-pool}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: own, kserve.io/component: workload}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: own-picker, port: {number: 9002}, failureMode: FailOpen}
"""


def test_a_model_may_be_behind_a_pool_of_ones_own(cluster: EmbeddedCluster) -> None:
    """Its picker is the user's business; this one is not there, and the pool lets requests through."""
    cluster.do("apply", "--namespace", NAMESPACE, "--filename", "-", stdin=OWN_POOL)
    run = apply(cluster, [*MODELS, model("own", router={"pool": "own-pool"})])
    assert run.exit_code == 0, run.output
    assert owned(cluster, "own") == {
        "Deployment own-kserve", "HTTPRoute own-kserve-route", "Service own-kserve-workload-svc"
    }  # fmt: skip
    rules = cluster.get("httproute", "own-kserve-route", NAMESPACE)["spec"]["rules"]
    cluster.do("delete", "llminferenceservice", "own", "--namespace", NAMESPACE)
    assert {backend["name"] for rule in rules for backend in rule["backendRefs"]} == {
        "own-pool", "own-kserve-workload-svc"
    }  # fmt: skip


def test_a_model_becomes_a_group_only_by_being_made_anew(cluster: EmbeddedCluster) -> None:
    grown = [entry if entry["name"] != "idle" else {**entry, "parallelism": GROUP_OF_TWO} for entry in MODELS]
    before = service(cluster, "idle")["metadata"]["uid"]
    refused = apply(cluster, grown)
    assert refused.exit_code != 0
    assert "expected a replica of 1 pod" in refused.text
    assert service(cluster, "idle")["metadata"]["uid"] == before

    made_anew = apply(cluster, grown, models_recreate=["idle"])
    assert made_anew.exit_code == 0, made_anew.output
    assert conditions(service(cluster, "idle")) == conditions(service(cluster, "idle-group"))
    assert "LeaderWorkerSet idle-kserve-mn" in owned(cluster, "idle")
    assert "Deployment idle-kserve" not in owned(cluster, "idle")


def test_removal_takes_the_objects_of_the_models_alone(cluster: EmbeddedCluster) -> None:
    gone = ("idle", "pd-groups", "single")
    stranger = {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": "stranger", "namespace": NAMESPACE},
        "spec": {"model": {"uri": "hf://org/other"}, "replicas": 0},
    }
    cluster.do("apply", "--filename", "-", stdin=json.dumps(stranger))
    made = {"Deployment stranger-kserve", "Service stranger-kserve-workload-svc"}
    wait_for("the stranger's objects", lambda: made <= owned(cluster, "stranger"))
    before = others(cluster, gone)
    run = apply(cluster, [entry for entry in MODELS if entry["name"] not in gone])
    assert (run.exit_code, run.recap["changed"]) == (0, 1), run.output
    wait_for("nothing of them", lambda: not any(owned(cluster, name) | pod_names(cluster, name) for name in gone))
    assert not {item["metadata"]["name"] for item in cluster.objects("llminferenceservices")} & set(gone)
    assert cluster.objects("inferenceobjectives") == []
    assert others(cluster, gone) == before


def others(cluster: EmbeddedCluster, gone: Iterable[str]) -> dict[str, str]:
    """Kind and name of everything of models but these, with its uid."""
    items = [item for kind in ("llminferenceservices", *OWNED_KINDS) for item in cluster.objects(kind)]
    spaced = (item for item in items if item["metadata"]["namespace"] in (NAMESPACE, "models"))
    names = {f"{kind_of(item)} {item['metadata']['name']}": item["metadata"]["uid"] for item in spaced}
    return {name: uid for name, uid in names.items() if not any(of_model(name, model) for model in gone)}


def pod_names(cluster: EmbeddedCluster, name: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods(cluster, name)}


def of_model(name: str, model: str) -> bool:
    """Whether an object is a model, or of it by the name that KServe, LWS or istiod gives."""
    own = name.partition(" ")[2]
    return own == model or own.startswith(tuple(f"{model}-{part}" for part in ("kserve", "epp", "inference-pool")))
