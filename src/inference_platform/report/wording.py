"""Words and numbers that all reports share, so that they say the same thing the same way."""

from __future__ import annotations

from inference_platform.report.observation import READY, Layer, Model, Observation

TOTAL_LABELS = {
    "layers": "layers ready",
    "namespaces": "namespaces",
    "deployments": "Deployments ready",
    "crds": "CRDs Established",
    "models": "models ready",
    "gpus": "GPUs in use",
}


MEMORY_UNITS = {"Ki": 1024**2, "Mi": 1024, "Gi": 1, "": 1024**3}
"""Unit of a Kubernetes quantity -> how many of them make a GiB."""


def headline(observation: Observation) -> str:
    """One sentence: is it ready, and what serves."""
    if not observation.ready:
        count = len(observation.problems)
        return f"Not ready: {plural(count, 'problem')}."
    if not observation.models:
        return "Ready. No model is installed yet."
    replicas = sum(model.serving.ready for model in observation.models)
    gpus = sum(model.gpus for model in observation.models)
    serving = f"Ready. {plural(len(observation.models), 'model')} with {plural(replicas, 'serving pod')}"
    return f"{serving} on {plural(gpus, 'GPU')}." if gpus else f"{serving}."


def origin(observation: Observation) -> str:
    """Which platform this is: release, distribution, provider, engine, and from which inventory."""
    platform = observation.platform
    engine = f", cloud manager {platform.engine_line}" if platform.engine_line else ""
    release = f"release {platform.release} ({platform.distribution} on {platform.provider}{engine})"
    return f"{release}, inventory {observation.inventory}" if observation.inventory else release


def whereabouts(observation: Observation) -> str:
    """Which cluster this is, and when it was looked at."""
    cluster = observation.cluster
    parts = (
        f"cluster {cluster.name}" if cluster.name else "",
        f"Kubernetes {cluster.version}" if cluster.version else "",
        moment(observation.generated_at),
    )
    return ", ".join(part for part in parts if part)


def moment(timestamp: str) -> str:
    """``2026-03-14T09:26:53Z`` as ``2026-03-14 09:26 UTC``; other text unchanged."""
    if len(timestamp) == len("2026-03-14T09:26:53Z") and timestamp.endswith("Z"):
        return f"{timestamp[:10]} {timestamp[11:16]} UTC"
    return timestamp


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``38 s``, ``4 min 05 s``; "" when it was not measured."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def plural(count: int, noun: str) -> str:
    """``1 model``, ``2 models``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def outcome(changed: bool | None) -> str:
    """What a run did to a layer, "" when there was no run."""
    return {True: "changed", False: "unchanged", None: ""}[changed]


def layer_is_ready(layer: Layer) -> bool:
    """True when the gate of the layer holds."""
    return layer.state == READY


def model_state(model: Model) -> str:
    """``Ready``, ``Stopped`` when it shall be, or the reason the controller gives for not being ready."""
    if model.ready:
        return "Stopped" if model.stopped else "Ready"
    reason = next((c.reason for c in model.conditions if c.type == "Ready" and c.reason), "")
    return f"Not ready ({reason})" if reason else "Not ready"


def gpu_amount(count: int, product: str) -> str:
    """``2 x NVIDIA-L4``, ``2 GPUs``, or "" for none."""
    if not count:
        return ""
    return f"{count} \u00d7 {product}" if product else plural(count, "GPU")


def cpu(quantity: str) -> str:
    """Kubernetes CPU as cores: ``7910m`` as ``7.9``, ``8`` unchanged."""
    if quantity.endswith("m") and quantity[:-1].isdigit():
        return f"{int(quantity[:-1]) / 1000:.1f}".removesuffix(".0")
    return quantity


def memory(quantity: str) -> str:
    """Kubernetes memory in whole GiB: ``31893712Ki`` as ``30 GiB``; other text unchanged."""
    for unit, per_gib in MEMORY_UNITS.items():
        number = quantity.removesuffix(unit)
        if quantity.endswith(unit) and number.isdigit():
            return f"{int(number) // per_gib} GiB"
    return quantity
