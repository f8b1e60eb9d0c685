"""What ``namespace_quotas`` say: names that Kubernetes counts, room for models, namespaces that have models."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from inference_platform.findings import Finding, show
from inference_platform.models.capacity.resources import CPU, MEMORY, PODS, STORAGE, amount
from inference_platform.models.pipeline import ModelSummary
from inference_platform.problems import Reporter
from inference_platform.schema import close_names, or_list

SETTING = "namespace_quotas"

#: The names without a domain that the API server takes (standardQuotaResources of Kubernetes).
_STANDARD = (
    *(f"{prefix}{resource}" for resource in (CPU, MEMORY, STORAGE) for prefix in ("", "requests.", "limits.")),
    "requests.storage",
    PODS,
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
)
_DOMAIN = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
#: Further names that are counted. Of resources under a domain, only the requests are.
_FORMS = re.compile(
    rf"(requests\.)?hugepages-[0-9]+[A-Za-z]*|count/{_DOMAIN}|requests\.{_DOMAIN}/[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?"
    rf"|{_DOMAIN}\.storageclass\.storage\.k8s\.io/(requests\.storage|persistentvolumeclaims)"
    rf"|{_DOMAIN}\.deviceclass\.resource\.k8s\.io/devices",
    re.ASCII,
)
_PREFIX = re.compile(r"(requests?|limits?)\.")


def check_names(settings: Mapping[str, Any], gpu: str, report: Reporter) -> Iterator[Finding]:
    """Names that the API server refuses, or takes and never counts; ``gpu`` is the resource of GPUs."""
    for index, item in enumerate(settings.get(SETTING) or []):
        for name in item["hard"]:
            if not _is_counted(name):
                meant = _meant(name, gpu) or "requests.DOMAIN/NAME for devices, count/KIND.GROUP for objects"
                yield report.error(
                    "IP-PLT-035",
                    (SETTING, index, "hard", name),
                    f"a name that quotas count, such as requests.{gpu}, requests.cpu, pods or count/jobs.batch",
                    show(name),
                    f"Write {meant}.",
                )


def _is_counted(name: str) -> bool:
    return name in _STANDARD or _FORMS.fullmatch(name) is not None


def _meant(name: str, gpu: str) -> str:
    """The name that somebody meant; empty if none is like it."""
    bare = _PREFIX.sub("", name, count=1)
    unsure = bare in _STANDARD or ("/" in bare and "." not in bare.partition("/")[0])
    if _is_counted(f"requests.{bare}") and not unsure:
        return f"requests.{bare}"
    last = gpu.rpartition("/")[2]
    known = {
        **{standard: standard for standard in (*_STANDARD, f"count/{PODS}")},
        **dict.fromkeys((last, f"requests.{last}", f"limits.{last}"), f"requests.{gpu}"),
    }
    close = close_names(name.lower(), [other for other in known if ("/" in other) == ("/" in name)])
    return known[close[0]] if close else ""


def check_room(
    settings: Mapping[str, Any], models: Iterable[ModelSummary], gpu: str, report: Reporter
) -> Iterator[Finding]:
    """Quotas of the inventory with less room than its models need; ``gpu`` is the resource of GPUs.

    A warning: the models of other inventories, or of nobody's, may need room there too, and an autoscaler may ask for
    more, so that a quota without this finding can still be too small.
    """
    wanted: dict[str, Counter[str]] = {}
    for model in models:
        wanted.setdefault(model.namespace, Counter()).update({f"requests.{gpu}": model.gpus, PODS: model.pods})
    for index, item in enumerate(settings.get(SETTING) or []):
        for name, hard in item["hard"].items():
            needed = wanted.get(item["namespace"], Counter())[name]
            if amount(name, hard) < needed:
                yield report.warning(
                    "IP-PLT-027",
                    (SETTING, index, "hard", name),
                    f"room for the models of {item['namespace']}, which need {needed}",
                    show(hard),
                    "Raise the quota, or lower replicas; the pods beyond it are not created.",
                )


def check_use(
    settings: Mapping[str, Any], namespaces: Collection[str], devices: Collection[str], report: Reporter
) -> Iterator[Finding]:
    """Quotas that nothing of the inventory comes under: for want of a model, or of one that asks for the device.

    ``namespaces`` are those of the models, ``devices`` the resources under a domain that the provider or a model names.
    A quota of 0 forbids, which is of use where nobody asks.
    """
    for index, item in enumerate(settings.get(SETTING) or []):
        if item["namespace"] not in namespaces:
            yield report.warning(
                "IP-PLT-037",
                (SETTING, index, "namespace"),
                f"a namespace of the models: {or_list(sorted(namespaces))}",
                show(item["namespace"]),
                "Correct the name, or leave it if models of another inventory are there.",
            )
        for name, hard in item["hard"].items():
            device = name.removeprefix("requests.")
            if _is_device(name) and device not in devices and amount(device, hard):
                close = close_names(device, sorted(devices))
                yield report.warning(
                    "IP-PLT-036",
                    (SETTING, index, "hard", name),
                    f"a device that the models ask for: {or_list(sorted(devices))}",
                    show(device),
                    f"Write requests.{close[0]}." if close else "Correct the name, or take it out.",
                )


def _is_device(name: str) -> bool:
    return name.startswith("requests.") and "/" in name


def devices_of(objects: Iterable[Mapping[str, Any]]) -> set[str]:
    """The resources under a domain that containers in ``objects`` ask for, stopped models included."""
    return {name for item in objects for name in _asked(item) if "/" in name}


def _asked(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield from value if key in ("requests", "limits") and isinstance(value, Mapping) else _asked(value)
    elif isinstance(part, list):
        for value in part:
            yield from _asked(value)
