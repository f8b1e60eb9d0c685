"""The node agent: what kubelets, a cloud's load balancer controller and the network would do.

One asyncio process per cluster. It watches the pods bound to the cluster's nodes and gives each
a PodRunner, serves the egress proxy and the nodes' log endpoint, and hands out addresses.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

from embedded_cluster import pod_status
from embedded_cluster.egress import Directory, EgressProxy, PodEndpoint
from embedded_cluster.events import EventRecorder
from embedded_cluster.kube import Cache, KubeClient, Object, key_of
from embedded_cluster.kubelet_api import KubeletApi
from embedded_cluster.load_balancer import LoadBalancers
from embedded_cluster.model_servers import ModelServers
from embedded_cluster.network import Network, host_address
from embedded_cluster.nodes import Flavour
from embedded_cluster.paths import ClusterPaths
from embedded_cluster.pki import Pki
from embedded_cluster.pod_runner import PodRunner
from embedded_cluster.pod_view import PodView
from embedded_cluster.private_files import write_private
from embedded_cluster.processes import ProcessId
from embedded_cluster.programs import Program, Programs
from embedded_cluster.state import ClusterState, save_pod_processes
from embedded_cluster.volumes import referenced_objects

CHARTS = Path(__file__).resolve().parents[2] / "charts"
FINISHED = ("Succeeded", "Failed")
_log = logging.getLogger("embedded_cluster.node_agent")


class NodeAgent:
    """Everything that happens on the nodes of one cluster (implements pod_runner.Node)."""

    def __init__(self, paths: ClusterPaths, tools: Path, state: ClusterState) -> None:
        self.paths = paths
        self.tools = tools
        self.charts = CHARTS
        self.cluster_dir = paths.root
        self.pods_dir = paths.pods
        self.logs_dir = paths.logs / "pods"
        self.network = Network(state.octet)
        self.flavour = Flavour.load(state.flavour)
        self.programs = Programs.load()
        self.private_registries = () if self.flavour.nodes_have_pull_secret else self.programs.private_registries
        self.pki = Pki(paths.pki)
        self.certificate_authority = self.pki.ca.certificate
        self.server = f"https://127.0.0.1:{state.ports['apiserver']}"
        self.client = KubeClient.from_kubeconfig(
            paths.run / "node-agent.kubeconfig", user_agent="embedded-cluster/node-agent"
        )
        self.events = EventRecorder(self.client)
        self.load_balancers = LoadBalancers(self.client, self.network, self.flavour.load_balancer)
        self.runners: dict[tuple[str, str], PodRunner] = {}
        self.endpoints: dict[str, PodEndpoint] = {}
        self._addresses: dict[str, str] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._processes: dict[str, tuple[str, ProcessId]] = {}
        self._node_index = {name: index for index, name in enumerate(self.flavour.node_names)}
        self._free_addresses: dict[str, Iterator[str]] = {}
        self.pods = Cache(self.client, "v1", "Pod", on_event=self._on_pod)
        # Helm keeps whole releases in Secrets; no pod mounts them.
        self.secrets = Cache(
            self.client, "v1", "Secret", field_selector="type!=helm.sh/release.v1", on_event=self._on_mounted
        )
        self.config_maps = Cache(self.client, "v1", "ConfigMap", on_event=self._on_mounted)
        self.services = Cache(self.client, "v1", "Service", on_event=self.load_balancers.on_service)
        self.endpoint_slices = Cache(self.client, "discovery.k8s.io/v1", "EndpointSlice")
        directory = Directory(
            self.network,
            state.ports["apiserver"],
            self.endpoints,
            lambda: self.services.objects.values(),
            lambda: self.endpoint_slices.objects.values(),
        )
        self.egress = EgressProxy(directory, paths.egress_socket)
        addresses = [host_address(self.network.node_address(index)) for index in self._node_index.values()]
        self.kubelet_api = KubeletApi(self.pki, addresses, self._log_file)
        self.pod_view = PodView(
            self.network, addresses[0], self.pki.pair("kubelet"), self.server, self.certificate_authority
        )
        self.model_servers = ModelServers(
            paths.logs / "model-servers.log",
            lambda process: self._record("model-servers", "model-servers", process),
            directory.addresses,
        )

    async def run(self) -> None:
        """Work until SIGTERM."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        await self.egress.start()
        await self.kubelet_api.start()
        await self.pod_view.start()
        # Pods last: their checks read the other caches.
        sources = [self.secrets, self.config_maps, self.services, self.endpoint_slices]
        tasks = [asyncio.create_task(cache.run(), name=cache.kind) for cache in sources]
        await asyncio.gather(*(cache.synced.wait() for cache in sources))
        tasks.append(asyncio.create_task(self.pods.run(), name="Pod"))
        await self.pods.synced.wait()
        write_private(self.paths.run / "node-agent.ready", "")
        _log.info("ready")
        stop = asyncio.create_task(stopping.wait())
        done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        await self._stop(tasks)
        for task in done - {stop}:
            task.result()

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        stops = [*self._stopping, *(runner.stop() for runner in self.runners.values())]
        await asyncio.gather(*stops, return_exceptions=True)
        await self.model_servers.close()
        await self.pod_view.stop()
        await self.kubelet_api.stop()
        await self.egress.stop()
        await self.client.close()

    # Events ------------------------------------------------------------------------------

    async def _on_pod(self, event: str, pod: Object) -> None:
        """Start, update or forget the runner of a pod on one of our nodes."""
        if pod["spec"].get("nodeName") not in self._node_index:
            return
        key, uid = key_of(pod), pod["metadata"]["uid"]
        runner = self.runners.get(key)
        if runner and (event == "DELETED" or runner.uid != uid):
            del self.runners[key]
            self._stopping.add(stop := asyncio.create_task(runner.stop()))
            stop.add_done_callback(self._stopping.discard)
            runner = None
        if event == "DELETED" or (pod.get("status") or {}).get("phase") in FINISHED:
            return
        if runner is None:
            program = self._program(pod)
            if program and self._is_full(program):
                because = pod_status.beyond_limit(program.name, program.limit or 0)
                runner = PodRunner(self, pod, None, because)
            else:
                runner = PodRunner(self, pod, program)
            self.runners[key] = runner
            if runner.program is None and pod_status.is_simulated(pod):
                self.claim_address(pod, simulated=True)
            else:
                runner.start()
        runner.update(pod)

    def _program(self, pod: Object) -> Program | None:
        """The program for a pod; None for one that is simulated already."""
        return None if pod_status.is_simulated(pod) else self.programs.match(pod)

    def _is_full(self, program: Program) -> bool:
        """True when as many pods of the program run as may."""
        running = sum(runner.program is program for runner in self.runners.values())
        return program.limit is not None and running >= program.limit

    async def _on_mounted(self, _: str, obj: Object) -> None:
        """A Secret or ConfigMap changed: bring it into the pods that mount it."""
        namespace, name = key_of(obj)
        for runner in self.runners.values():
            if runner.key[0] == namespace and (obj["kind"], name) in referenced_objects(runner.pod):
                runner.refresh_volumes()

    def _log_file(self, namespace: str, pod: str, previous: bool) -> Path | None:
        runner = self.runners.get((namespace, pod))
        if runner is None or runner.program is None:
            return None
        return runner.previous_log_file if previous else runner.log_file

    # What runners need -------------------------------------------------------------------

    def host_ip(self, node_name: str) -> str:
        """InternalIP of a node."""
        return self.network.node_address(self._node_index[node_name])

    def locate(self, address: str, port: int) -> tuple[str, int]:
        """(address, port) on this machine of a pod's address and port."""
        endpoint = self.endpoints.get(address)
        return host_address(address), endpoint.overrides.get(port, port) if endpoint else port

    def claim_address(self, pod: Object, *, simulated: bool) -> str:
        """The pod's address: the one in its status, or a new one of its node."""
        uid = pod["metadata"]["uid"]
        address = self._addresses.get(uid) or (pod.get("status") or {}).get("podIP")
        if address is None:
            address = self._next_address(pod["spec"]["nodeName"])
        self._addresses[uid] = address
        namespace, name = key_of(pod)
        self.endpoints[address] = PodEndpoint(namespace, name, simulated)
        self._write_network()
        return address

    def _next_address(self, node_name: str) -> str:
        """The next address of a node that no pod has; addresses come around again."""
        while True:
            if node_name not in self._free_addresses:
                cidr = self.network.node_pod_cidr(self._node_index[node_name])
                self._free_addresses[node_name] = self.network.pod_addresses(cidr)
            for address in self._free_addresses[node_name]:
                if address not in self.endpoints:
                    return address
            del self._free_addresses[node_name]

    def release_address(self, pod: Object) -> None:
        """The pod is gone; its address may be used again later."""
        address = self._addresses.pop(pod["metadata"]["uid"], None)
        if address and self.endpoints.pop(address, None):
            self._write_network()

    def override_port(self, pod: Object, pod_port: int, host_port: int) -> None:
        """Record that a pod's port is another port on this machine."""
        endpoint = self.endpoints[self._addresses[pod["metadata"]["uid"]]]
        if pod_port == host_port:
            endpoint.overrides.pop(pod_port, None)
        else:
            endpoint.overrides[pod_port] = host_port
        self._write_network()

    def record_process(self, pod: Object, process: ProcessId | None) -> None:
        """Keep `run/pod-processes.json` up to date."""
        self._record(pod["metadata"]["uid"], "pod/" + "/".join(key_of(pod)), process)

    def _record(self, uid: str, name: str, process: ProcessId | None) -> None:
        if process:
            self._processes[uid] = (name, process)
        elif self._processes.pop(uid, None) is None:
            return
        save_pod_processes(self.paths, dict(self._processes.values()))

    def _write_network(self) -> None:
        """Write `run/pod-network.json`: where each pod that runs as a process really listens."""
        pods = {
            address: {
                "namespace": endpoint.namespace,
                "pod": endpoint.name,
                "host": host_address(address),
                "ports": {str(port): host_port for port, host_port in endpoint.overrides.items()},
            }
            for address, endpoint in self.endpoints.items()
            if not endpoint.simulated
        }
        note = "a pod's port is the same port of `host`, unless `ports` names another one"
        write_private(self.paths.pod_network, json.dumps({"note": note, "pods": pods}, indent=2) + "\n")


def run_node_agent(paths: ClusterPaths, tools: Path) -> None:
    """Entry point of the node agent's process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    state = ClusterState.load(paths)
    if state is None:
        raise SystemExit(f"{paths.state}: missing; start the cluster with `python -m embedded_cluster up`")
    asyncio.run(NodeAgent(paths, tools, state).run())
