"""What the servers of models count, read from each pod through the API server: it works wherever kubectl does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object
from inference_platform.load.exposition import Samples, parse
from inference_platform.models.topology import SERVER_PORT

SERVING, PREFILL = "serving", "prefill"
_SELECTOR = "app.kubernetes.io/part-of=llminferenceservice,kserve.io/component=workload"
_ROLE_LABEL = "llm-d.ai/role"
_WORKERS = 8
_READ_SECONDS = 10.0


@dataclass(frozen=True, order=True)
class ServingPod:
    """A pod that answers requests: its model (namespace and name), and SERVING (also decode) or PREFILL."""

    namespace: str
    model: str
    name: str
    role: str = SERVING


def serving_pods(cluster: Cluster, models: Iterable[tuple[str, str]]) -> list[ServingPod]:
    """The ready pods of models (namespace, name), sorted; by one list for each namespace."""
    wanted = set(models)
    found = []
    for namespace in sorted({namespace for namespace, _ in wanted}):
        for pod in cluster.list("v1", "Pod", namespace, label_selector=_SELECTOR):
            labels = pod["metadata"].get("labels") or {}
            model = labels.get("app.kubernetes.io/name", "")
            if (namespace, model) in wanted and _is_ready(pod):
                role = PREFILL if labels.get(_ROLE_LABEL) == PREFILL else SERVING
                found.append(ServingPod(namespace, model, pod["metadata"]["name"], role))
    return sorted(found)


def read(cluster: Cluster, pods: Sequence[ServingPod], *, tls: bool) -> dict[ServingPod, Samples]:
    """The metrics of each pod, now.  Raises ClusterError, also without the right to `get pods/proxy`.

    tls  whether the servers speak HTTPS
    """
    scheme = "https" if tls else "http"

    def one(pod: ServingPod) -> Samples:
        place = f"/api/v1/namespaces/{pod.namespace}/pods/{scheme}:{pod.name}:{SERVER_PORT}/proxy/metrics"
        subject = f"read the metrics of pod {pod.namespace}/{pod.name}"
        page = cluster.request("GET", place, subject=subject, accept="text/plain", read_seconds=_READ_SECONDS)
        return parse(str(page))

    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        return dict(zip(pods, pool.map(one, pods), strict=True))


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
