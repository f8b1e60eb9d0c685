"""Pod templates of a model: what differs from the presets of the release."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from inference_platform.models.scheduler import Wiring
from inference_platform.models.server import adapter_volumes, arguments, environment
from inference_platform.models.shapes import Block
from inference_platform.models.topology import Workload

# The startup probe of the presets looks every 10 s, 60 times (models.md 2.4).
_STARTUP_PERIOD_SECONDS = 10
PRESET_STARTUP_SECONDS = 600

# Weights are taken to load at 200 MiB/s from a plain disk, and the rest of a start
# (CUDA graphs, compilation) to take five minutes. Our own estimate, on the safe side.
_LOAD_BYTES_PER_SECOND = 200 * 2**20
_WARM_UP_SECONDS = 300

_UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}
#: Settings of the language and the fields of a probe they become.
PROBE_FIELDS = {
    "initial_delay_seconds": "initialDelaySeconds",
    "period_seconds": "periodSeconds",
    "timeout_seconds": "timeoutSeconds",
    "failure_threshold": "failureThreshold",
}


def bytes_of(quantity: str) -> float:
    """A Kubernetes quantity of memory or disk in bytes."""
    for unit, factor in _UNITS.items():
        if quantity.endswith(unit):
            return float(quantity.removesuffix(unit)) * factor
    return float(quantity)


def needed_startup_seconds(weights_size: str) -> int:
    """How long a server with weights of this size may take to start, in seconds."""
    return math.ceil(_WARM_UP_SECONDS + bytes_of(weights_size) / _LOAD_BYTES_PER_SECOND)


def pod_template(
    workload: Workload,
    model: Mapping[str, Any],
    wiring: Wiring,
    serving: Mapping[str, Any],
    *,
    with_probes: bool = True,
) -> Block:
    """The pod of a workload; workers of a group are the same pods without probes."""
    settings = workload.settings
    volumes, mounts = adapter_volumes(model, serving)
    if "shm" in settings:
        volumes = [{"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": settings["shm"]}}, *volumes]
    pod = {
        "service_account": settings.get("service_account"),
        "pull_secrets": [{"name": name} for name in pull_secrets(model, serving)],
        "scheduler_name": settings.get("scheduler_name"),
        "priority_class": settings.get("priority_class"),
        "node_selector": node_selector(settings, serving),
        "tolerations": tolerations(workload, serving),
        "affinity": settings.get("affinity"),
        "topology_spread": settings.get("topology_spread"),
        "grace_period": settings.get("termination_grace_period_seconds"),
        "volumes": volumes,
        "image": settings.get("image"),
        "command": settings.get("command"),
        "args": arguments(workload, model, wiring, serving),
        "env": environment(workload, model, wiring),
        "ports": wiring.pod_ports,
        "volume_mounts": mounts,
        **(probes(settings, model) if with_probes else {}),
    }
    given = {name: value for name, value in pod.items() if value not in (None, [], {})}
    limits, requests = resources(workload, serving)
    return Block(given, **_parts(limits=limits, requests=requests))


def pull_secrets(model: Mapping[str, Any], serving: Mapping[str, Any]) -> list[str]:
    """Names of the pull secrets of a model's pods, that of the platform first."""
    platform = [serving["pull_secret"]] if serving["pull_secret"] else []
    return [*platform, *(name for name in model.get("pull_secrets", []) if name not in platform)]


def gpu_resource(settings: Mapping[str, Any], serving: Mapping[str, Any]) -> str:
    """The extended resource that the GPUs of a workload are."""
    return str(settings["gpu"].get("resource", serving["gpu"]["resource"]))


def node_selector(settings: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, str]:
    """Labels a node must have."""
    product = settings["gpu"].get("product")
    wanted = {serving["gpu"]["product_label"]: product} if product is not None else {}
    return {**wanted, **settings.get("node_selector", {})}


def tolerations(workload: Workload, serving: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The complete list: KServe replaces that of a preset as a whole (models.md 2.2)."""
    platform = serving["gpu"]["tolerations"] if workload.gpus else []
    own = workload.settings.get("tolerations", [])
    return [*platform, *(toleration for toleration in own if toleration not in platform)]


def resources(workload: Workload, serving: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Limits and requests of the server container."""
    settings = workload.settings
    given = settings.get("resources", {})
    memory = given.get("memory")
    devices = {name: str(count) for name, count in given.get("devices", {}).items()}
    rdma = settings.get("rdma", {})
    if "resource" in rdma:
        devices[rdma["resource"]] = str(rdma.get("count", 1))
    if workload.gpus:
        devices[gpu_resource(settings, serving)] = str(workload.gpus)
    disk = given.get("ephemeral_storage")
    limits = {
        "cpu": given.get("cpu_limit"),
        "memory": given.get("memory_limit", memory),
        "ephemeral-storage": disk,
        **devices,
    }
    requests = {"cpu": given.get("cpu"), "memory": memory, "ephemeral-storage": disk, **devices}
    return _texts(limits), _texts(requests)


def probes(settings: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Timing of the probes that differs from the presets; path, port and scheme stay theirs."""
    given = {
        kind: {PROBE_FIELDS[name]: value for name, value in timing.items()}
        for kind, timing in settings.get("probes", {}).items()
    }
    startup = given.get("startup", {})
    budget = settings.get("startup_budget_seconds")
    if budget is None and "weights_size" in model and "failureThreshold" not in startup:
        needed = needed_startup_seconds(model["weights_size"])
        budget = needed if needed > PRESET_STARTUP_SECONDS else None
    if budget is not None and "failureThreshold" not in startup:
        period = startup.get("periodSeconds", _STARTUP_PERIOD_SECONDS)
        startup = {**startup, "failureThreshold": math.ceil(budget / period)}
    return {
        f"{kind}_probe": timing
        for kind, timing in (
            ("startup", startup),
            ("liveness", given.get("liveness", {})),
            ("readiness", given.get("readiness", {})),
        )
        if timing
    }


def _parts(**parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if part}


def _texts(quantities: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in quantities.items() if value is not None}
