"""The embedded cluster on its own: start, pods as processes, clean end, recovery."""

from __future__ import annotations

import base64
import os
import signal
import socket
import stat
from collections.abc import Iterator

import pytest
import yaml
from embedded_cluster import launcher
from embedded_cluster.launcher import ClusterError
from embedded_cluster.network import FIRST_NODE, KUBELET_PORT
from embedded_cluster.paths import ClusterPaths
from embedded_cluster.processes import ProcessId
from embedded_cluster.state import ClusterState, pod_processes
from kubernetes import client

from tests.support.audit import entries
from tests.support.clusters import EmbeddedCluster, wait_for

pytestmark = pytest.mark.cluster

CERT_MANAGER_IMAGE = "registry.redhat.io/cert-manager/jetstack-cert-manager-rhel9@sha256:" + "0" * 64
PUBLIC_IMAGE = "docker.io/library/nginx:1"


def deployment(name: str, image: str, **pod: object) -> dict:
    """A Deployment with one container; `pod` goes into the pod spec, `container_` keys into the container."""
    container = {"name": "main", "image": image}
    container |= {key.removeprefix("container_"): pod.pop(key) for key in list(pod) if key.startswith("container_")}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}},
        },
    }


@pytest.fixture
def namespace(embedded_cluster: EmbeddedCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    name = request.node.name.replace("_", "-")[:50].strip("-")
    core = client.CoreV1Api(embedded_cluster.api)
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


def pods(cluster: EmbeddedCluster, namespace: str) -> list[client.V1Pod]:
    return client.CoreV1Api(cluster.api).list_namespaced_pod(namespace).items


def waiting_reason(cluster: EmbeddedCluster, namespace: str) -> str | None:
    """Why the first container of the first pod waits."""
    statuses = [item.status.container_statuses for item in pods(cluster, namespace)]
    waiting = statuses[0][0].state.waiting if statuses and statuses[0] else None
    return waiting.reason if waiting else None


def apply(cluster: EmbeddedCluster, namespace: str, *objects: dict) -> None:
    text = yaml.safe_dump_all(objects)
    result = cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)
    assert result.returncode == 0, result.stderr


def pull_secret(cluster: EmbeddedCluster) -> dict:
    content = base64.b64encode(cluster.paths.pull_secret.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": content},
    }


def audit_events(cluster: EmbeddedCluster) -> list[dict]:
    return list(entries(cluster.paths.audit_log))


# Start ---------------------------------------------------------------------------------------


def test_start_tells_its_steps_with_seconds(embedded_cluster):
    assert "API server ready" in "\n".join(embedded_cluster.progress)
    assert "up in" in embedded_cluster.progress[-1]


def test_a_second_up_leaves_the_cluster_alone(embedded_cluster):
    before = ClusterState.load(embedded_cluster.paths)
    lines: list[str] = []
    launcher.up(embedded_cluster.paths.name, tools=embedded_cluster.tools, log=lines.append)
    assert "already up" in lines[-1]
    assert ClusterState.load(embedded_cluster.paths).processes == before.processes


def test_secrets_on_disk_are_for_their_owner_only(embedded_cluster):
    paths = embedded_cluster.paths
    for path in (paths.kubeconfig, paths.pull_secret, paths.audit_log, paths.state):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(paths.root.stat().st_mode) == 0o700


def test_nodes_look_like_the_cloud(embedded_cluster):
    nodes = {item.metadata.name: item for item in client.CoreV1Api(embedded_cluster.api).list_node().items}
    ready = {name: {c.type: c.status for c in node.status.conditions}["Ready"] for name, node in nodes.items()}
    assert ready == {"gpu-1": "True", "gpu-2": "True", "cpu-1": "True", "cpu-2": "True"}
    assert nodes["gpu-1"].status.allocatable["nvidia.com/gpu"] == "1"
    assert nodes["gpu-1"].metadata.labels["nvidia.com/gpu.product"] == "NVIDIA-L4"


def test_access_without_rights_is_forbidden(embedded_cluster):
    result = embedded_cluster.kubectl("get", "pods", "--as=system:serviceaccount:default:default")
    assert result.returncode != 0
    assert "forbidden" in result.stderr


def test_the_audit_log_shows_who_asked_what(embedded_cluster, namespace):
    manifest = yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "audited"}})
    embedded_cluster.kubectl("apply", "-n", namespace, "--server-side", "--dry-run=server", "-f", "-", stdin=manifest)
    events = [item for item in audit_events(embedded_cluster) if (item.get("objectRef") or {}).get("name") == "audited"]
    patches = [item for item in events if item["verb"] == "patch"]
    assert len(patches) == 1
    assert patches[0]["user"]["username"] == "kubernetes-admin"
    assert patches[0]["userAgent"].startswith("kubectl/")
    assert "dryRun=All" in patches[0]["requestURI"]


def test_the_audit_log_leaves_out_the_machinery(embedded_cluster):
    users = {item["user"].get("username", "") for item in audit_events(embedded_cluster)}
    assert not {user for user in users if user.startswith(("embedded-cluster:", "system:kube-"))}


# Pods ----------------------------------------------------------------------------------------


def test_a_simulated_deployment_becomes_ready_with_endpoints(embedded_cluster, namespace):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    apply(embedded_cluster, namespace, deployment("web", PUBLIC_IMAGE), service)
    result = embedded_cluster.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=120s")
    assert result.returncode == 0, result.stderr
    discovery = client.DiscoveryV1Api(embedded_cluster.api)
    core = client.CoreV1Api(embedded_cluster.api)
    pod_ip = pods(embedded_cluster, namespace)[0].status.pod_ip

    def endpoint_addresses():
        slices = discovery.list_namespaced_endpoint_slice(namespace).items
        return [address for item in slices for endpoint in item.endpoints or [] for address in endpoint.addresses]

    wait_for("the pod in an EndpointSlice", lambda: endpoint_addresses() == [pod_ip])
    ingress = wait_for(
        "a load balancer address",
        lambda: core.read_namespaced_service("web", namespace).status.load_balancer.ingress,
    )
    assert ingress[0].ip.startswith("127.")


def test_a_job_completes(embedded_cluster, namespace):
    result = embedded_cluster.kubectl("create", "job", "-n", namespace, "once", f"--image={PUBLIC_IMAGE}")
    assert result.returncode == 0, result.stderr
    result = embedded_cluster.kubectl("wait", "-n", namespace, "job/once", "--for=condition=Complete", "--timeout=120s")
    assert result.returncode == 0, result.stderr


def test_a_deleted_pod_goes(embedded_cluster, namespace):
    embedded_cluster.kubectl("run", "-n", namespace, "short", f"--image={PUBLIC_IMAGE}")
    wait_for("the pod", lambda: pods(embedded_cluster, namespace))
    embedded_cluster.kubectl("delete", "pod", "-n", namespace, "short", "--wait=false")
    wait_for("the pod to go", lambda: not pods(embedded_cluster, namespace))


def test_a_private_image_needs_the_pull_secret(embedded_cluster, namespace):
    apply(embedded_cluster, namespace, deployment("model", "registry.redhat.io/rhaiis/vllm-cuda-rhel9:1"))
    wait_for("ImagePullBackOff", lambda: waiting_reason(embedded_cluster, namespace) == "ImagePullBackOff")
    apply(
        embedded_cluster,
        namespace,
        pull_secret(embedded_cluster),
        deployment("model", "registry.redhat.io/rhaiis/vllm-cuda-rhel9:1", imagePullSecrets=[{"name": "pull"}]),
    )
    result = embedded_cluster.kubectl("rollout", "status", "-n", namespace, "deployment/model", "--timeout=120s")
    assert result.returncode == 0, result.stderr


def test_a_missing_secret_keeps_a_pod_in_container_creating(embedded_cluster, namespace):
    volumes = [{"name": "cert", "secret": {"secretName": "serving-cert"}}]
    apply(embedded_cluster, namespace, deployment("web", PUBLIC_IMAGE, volumes=volumes))
    wait_for("ContainerCreating", lambda: waiting_reason(embedded_cluster, namespace) == "ContainerCreating")
    core = client.CoreV1Api(embedded_cluster.api)

    def mount_failures():
        return [item.message for item in core.list_namespaced_event(namespace).items if item.reason == "FailedMount"]

    messages = wait_for("an event", mount_failures)
    assert messages == ['MountVolume.SetUp failed for volume "cert" : secret "serving-cert" not found']
    embedded_cluster.kubectl("create", "secret", "generic", "-n", namespace, "serving-cert", "--from-literal=a=b")
    result = embedded_cluster.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=120s")
    assert result.returncode == 0, result.stderr


# Programs ------------------------------------------------------------------------------------


def cainjector(*more_args: str, **pod: object) -> dict:
    """The real cert-manager cainjector, whose CRDs are not there."""
    return deployment(
        "cainjector",
        CERT_MANAGER_IMAGE,
        container_command=["/app/cmd/cainjector/cainjector"],
        container_args=["--v=2", "--leader-election-namespace=$(POD_NAMESPACE)", *more_args],
        container_env=[{"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
        imagePullSecrets=[{"name": "pull"}],
        **pod,
    )


def test_a_program_runs_with_its_own_token_and_shows_its_log(embedded_cluster, namespace):
    apply(embedded_cluster, namespace, pull_secret(embedded_cluster), cainjector())

    def log():
        return embedded_cluster.kubectl("logs", "-n", namespace, "deployment/cainjector").stdout

    # The ServiceAccount has no rights at all, so the first request of the program is refused.
    text = wait_for("a refusal in the log", lambda: log() if "forbidden" in log() else "")
    assert f"system:serviceaccount:{namespace}:default" in text
    (process,) = [item for name, item in pod_processes(embedded_cluster.paths).items() if namespace in name]
    assert process.alive()
    embedded_cluster.kubectl("delete", "deployment", "-n", namespace, "cainjector")
    wait_for("the process to end", lambda: not process.alive())
    wait_for("the pod to go", lambda: not pods(embedded_cluster, namespace))


def test_a_wrong_flag_shows_as_a_crash_loop_with_the_last_log_lines(embedded_cluster, namespace):
    apply(embedded_cluster, namespace, pull_secret(embedded_cluster), cainjector("--no-such-flag"))
    wait_for("CrashLoopBackOff", lambda: waiting_reason(embedded_cluster, namespace) == "CrashLoopBackOff")
    status = pods(embedded_cluster, namespace)[0].status.container_statuses[0]
    assert status.last_state.terminated.exit_code == 1
    assert "unknown flag: --no-such-flag" in status.last_state.terminated.message
    assert not status.ready
    wait_for("a restart", lambda: pods(embedded_cluster, namespace)[0].status.container_statuses[0].restart_count > 0)


def test_the_api_server_reaches_a_program_through_the_egress_proxy(embedded_cluster, namespace):
    """cert-manager's webhook makes its own certificate; its health is asked through the API server."""
    names = "cert-manager-webhook"
    webhook = deployment(
        "webhook",
        CERT_MANAGER_IMAGE,
        container_command=["/app/cmd/webhook/webhook"],
        container_args=[
            "--secure-port=10250",
            f"--dynamic-serving-ca-secret-namespace={namespace}",
            "--dynamic-serving-ca-secret-name=webhook-ca",
            f"--dynamic-serving-dns-names={names},{names}.{namespace}.svc",
        ],
        container_ports=[{"name": "https", "containerPort": 10250}, {"name": "health", "containerPort": 6080}],
        container_readinessProbe={"httpGet": {"path": "/healthz", "port": "health"}, "initialDelaySeconds": 5},
        serviceAccountName="webhook",
        imagePullSecrets=[{"name": "pull"}],
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "webhook"}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "webhook"},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": "webhook", "namespace": namespace}],
    }
    apply(embedded_cluster, namespace, pull_secret(embedded_cluster), account, binding, webhook)
    result = embedded_cluster.kubectl("rollout", "status", "-n", namespace, "deployment/webhook", "--timeout=120s")
    assert result.returncode == 0, result.stderr
    name = pods(embedded_cluster, namespace)[0].metadata.name
    result = embedded_cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}:6080/proxy/livez")
    assert result.returncode == 0, result.stderr


# End and recovery ----------------------------------------------------------------------------


@pytest.fixture
def short_lived(tools_folder) -> Iterator[ClusterPaths]:
    """A second cluster, beside the session's."""
    name = f"test-{os.getpid()}-short"
    try:
        yield launcher.up(name, tools=tools_folder, log=lambda _: None)
    finally:
        launcher.destroy(name, log=lambda _: None)


def everything_of(paths: ClusterPaths) -> list[ProcessId]:
    return [*ClusterState.load(paths).processes.values(), *pod_processes(paths).values()]


def test_two_clusters_side_by_side_and_a_clean_end(embedded_cluster, short_lived):
    state, other = ClusterState.load(short_lived), ClusterState.load(embedded_cluster.paths)
    assert state.octet != other.octet
    assert set(state.ports.values()).isdisjoint(other.ports.values())
    processes = everything_of(short_lived)
    assert len(processes) == 7
    launcher.down(short_lived.name, log=lambda _: None)
    assert not [item for item in processes if item.alive()]
    assert not short_lived.egress_socket.exists()
    assert not [path for path in short_lived.root.rglob("*") if path.is_socket()]
    for address, port in [("127.0.0.1", state.ports["apiserver"]), (f"127.{state.octet}.0.{FIRST_NODE}", KUBELET_PORT)]:
        with socket.socket() as probe:
            assert probe.connect_ex((address, port)) != 0, f"{address}:{port} is still open"
    assert ClusterState.load(embedded_cluster.paths).supervisor_alive


def test_a_killed_supervisor_takes_everything_along_and_the_data_comes_back(short_lived, tools_folder):
    cluster = EmbeddedCluster(short_lived, tools_folder, [])
    assert cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b").returncode == 0
    processes = everything_of(short_lived)
    ClusterState.load(short_lived).processes["supervisor"].send(signal.SIGKILL)
    wait_for("all processes to end", lambda: not [item for item in processes if item.alive()], 60)

    launcher.up(short_lived.name, tools=tools_folder, log=lambda _: None)
    assert cluster.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}").stdout == "b"
    assert ClusterState.load(short_lived).supervisor_alive


def test_a_killed_process_is_started_again(short_lived):
    before = ClusterState.load(short_lived).processes["kube-scheduler"]
    before.send(signal.SIGKILL)

    def restarted():
        now = ClusterState.load(short_lived).processes["kube-scheduler"]
        return now != before and now.alive()

    wait_for("a new scheduler", restarted, 60)


def test_missing_tools_are_named(tmp_path):
    name = f"test-{os.getpid()}-none"
    try:
        with pytest.raises(ClusterError, match="missing etcd, kube-apiserver, kwok"):
            launcher.up(name, tools=tmp_path, log=lambda _: None)
    finally:
        launcher.destroy(name, log=lambda _: None)
