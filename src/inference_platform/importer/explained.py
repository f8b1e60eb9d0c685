"""The differences between an object and what its entry renders to that are meant to be.

Each is one the platform makes on purpose; everything else that differs is put into
``override``, or the object is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.importer.meaning import ARGUMENTS, PROBES, Item, Meaning, Path, shown
from inference_platform.models.server import ADAPTERS_FOLDER
from inference_platform.models.services import ACCELERATOR_LABEL
from inference_platform.models.topology import DECODE_PORT, SERVER_PORT


@dataclass(frozen=True)
class Place:
    """Where a difference is: its path, in an object with the meaning ``whole``, for a release that ``serves`` so."""

    path: Path
    whole: Meaning
    serving: Mapping[str, Any]


Holds = Callable[[Place, Any, Any], bool]


@dataclass(frozen=True)
class Explanation:
    """One kind of difference: a name, why it is, and when a difference is of the kind.

    ``holds`` is asked with the place, what the object says, and what the entry says; None: nothing.
    """

    name: str
    text: str
    holds: Holds


@dataclass(frozen=True)
class Difference:
    """Where an entry says something else than its object; ``why`` names an explanation, or is None."""

    path: Path
    wanted: Any
    rendered: Any
    why: str | None

    def __str__(self) -> str:
        return f"{shown(self.path)}: {_text(self.wanted)} in the object, {_text(self.rendered)} from the entry"


def explain(place: Place, wanted: Any, rendered: Any) -> Difference:
    """The difference with the first explanation that holds."""
    why = next((item.name for item in EXPLANATIONS if item.holds(place, wanted, rendered)), None)
    return Difference(place.path, wanted, rendered, why)


def _pull_secret(place: Place, wanted: Any, rendered: Any) -> bool:
    item = Item("name", place.serving["pull_secret"])
    return place.path[-2:] == ("imagePullSecrets", item) and (wanted, rendered) == (None, "{}")


def _gpu_toleration(place: Place, wanted: Any, rendered: Any) -> bool:
    if place.path[-1] != "tolerations" or rendered is None:
        return False
    before, after = json.loads(wanted or "[]"), json.loads(rendered)
    added = [item for item in after if item not in before]
    return all(item in after for item in before) and all(item in place.serving["gpu"]["tolerations"] for item in added)


def _parallelism(place: Place, wanted: Any, rendered: Any) -> bool:
    flags = ("--tensor-parallel-size", "--data-parallel-size", "--enable-expert-parallel")
    as_argument = place.path[-2:-1] == (ARGUMENTS,) and place.path[-1] in flags
    in_field = len(place.path) > 1 and place.path[-2] == "parallelism"
    return (as_argument and wanted is None) or (in_field and rendered is None)


def _probe(place: Place, wanted: Any, rendered: Any) -> bool:
    if len(place.path) < 4 or place.path[-3] not in PROBES:
        return False
    by_preset = (*place.path[:-3], "command") not in place.whole
    sidecar = (place.path[-1], wanted, rendered) == ("port", SERVER_PORT, DECODE_PORT)
    plain = (place.path[-1], wanted, rendered) == ("scheme", "HTTP", "HTTPS")
    return sidecar or (plain and by_preset)


def _side_channel(place: Place, wanted: Any, rendered: Any) -> bool:
    named = Item("name", "VLLM_NIXL_SIDE_CHANNEL_HOST") in place.path
    return named and wanted is None and rendered == "status.podIP"


def _adapters(place: Place, wanted: Any, rendered: Any) -> bool:
    path = place.path
    if path[:3] == ("spec", "model", "lora"):
        return rendered is None and place.serving["lora"] == "arguments"
    flags = ("--enable-lora", "--lora-modules", "--max-loras", "--max-lora-rank", "--max-cpu-loras")
    given = path[-2:-1] == (ARGUMENTS,) and path[-1] in flags
    items = [str(part.value) for part in path if isinstance(part, Item) and part.key in ("name", "mountPath")]
    mounted = any(item.startswith(("adapters-", ADAPTERS_FOLDER)) for item in items)
    return wanted is None and (given or mounted)


def _criticality(place: Place, wanted: Any, rendered: Any) -> bool:
    return place.path == ("spec", "model", "criticality") and wanted is not None and rendered is None


def _route(place: Place, wanted: Any, rendered: Any) -> bool:
    gateway = [{"name": place.serving["gateway"]["name"], "namespace": place.serving["gateway"]["namespace"]}]
    given: dict[Path, str] = {
        ("spec", "router", "route"): "{}",
        ("spec", "router", "gateway", "refs"): json.dumps(gateway),
    }
    return wanted is None and rendered is not None and given.get(place.path) == rendered


def _accelerator(place: Place, wanted: Any, rendered: Any) -> bool:
    return place.path[-1] == ACCELERATOR_LABEL and wanted is None and rendered is not None


EXPLANATIONS = (
    Explanation(
        "pull secret", "The pods of server and scheduler also get the pull secret of the platform.", _pull_secret
    ),
    Explanation("GPU taint", "Pods with GPUs also tolerate the taint of GPU nodes.", _gpu_toleration),
    Explanation(
        "parallelism",
        "On one node KServe's presets hand no parallel size to vLLM, so `parallelism` there has no effect and all GPUs "
        "but one stay idle. The entry gives the sizes as arguments.",
        _parallelism,
    ),
    Explanation(
        "probe",
        "Port and scheme of a probe follow from the topology. The object names others: port 8000 of decode pods, which "
        "is that of the routing sidecar, or HTTP where the servers speak HTTPS.",
        _probe,
    ),
    Explanation(
        "side channel",
        "Servers that move KV cache announce the address of their pod; here it was missing.",
        _side_channel,
    ),
    Explanation(
        "adapters",
        "The release ignores `model.lora`; the entry hands the adapters to vLLM as arguments and mounts.",
        _adapters,
    ),
    Explanation(
        "criticality",
        "v1alpha2 has no `criticality`. Objectives (`scheduler.objectives`) take its place.",
        _criticality,
    ),
    Explanation("route", "A scheduler without a route never gets Ready, so the entry has a route.", _route),
    Explanation("accelerator", "Pods that are scaled say which GPU they have, for the autoscaler.", _accelerator),
)


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)[:200]
