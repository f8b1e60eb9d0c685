"""Rules about parallelism, GPUs, replicas, memory and start of one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from inference_platform.catalog.instance_types import load_hardware
from inference_platform.findings import WARNING, show
from inference_platform.models.pods import PRESET_STARTUP_SECONDS, bytes_of, needed_startup_seconds
from inference_platform.models.rules.engine import Objection
from inference_platform.models.rules.registry import rule
from inference_platform.models.subjects import Subject
from inference_platform.models.topology import Workload
from inference_platform.schema import KeyPath, close_names, or_list

# Settings that both sides of a KV transfer must share (models.md 6.2).
_SHARED_BY_PREFILL_AND_DECODE = ("dtype", "quantization", "kv_cache_dtype", "block_size", "max_model_len")


@rule("IP-MOD-101", "data comes with data_local, and is a multiple of it.", catches=("mistake 1", "admission 10"))
def data_is_a_multiple_of_data_local(subject: Subject) -> Iterator[Objection]:
    """KServe rounds data / data_local down, and the missing ranks never come (models.md 6.1)."""
    for pod in subject.pods:
        given = pod.settings.get("parallelism", {})
        path = (*pod.path, "parallelism")
        if ("data" in given) != ("data_local" in given):
            there, missing = ("data", "data_local") if "data" in given else ("data_local", "data")
            yield Objection(
                (*path, there), f"{there} and {missing} together", f"{there} alone", f"Add parallelism.{missing}."
            )
        elif "data" in given and given["data"] % given["data_local"]:
            yield Objection(
                (*path, "data"),
                f"a multiple of data_local, which is {given['data_local']}",
                str(given["data"]),
                "Change one of the two.",
            )


@rule("IP-MOD-102", "The GPUs of a pod are those its parallelism uses.", catches=("mistake 2",))
def gpus_fit_the_parallelism(subject: Subject) -> Iterator[Objection]:
    """GPUs of a pod = tensor x data_local; leader and worker are the same pod here (models.md 6.2)."""
    for pod in subject.pods:
        if not pod.gpus:
            continue
        product = pod.tensor * pod.data_local
        if product != pod.gpus:
            uses = f"tensor {pod.tensor} x data_local {pod.data_local} = {product}"
            yield Objection(
                (*pod.path, "gpu", "count"),
                f"as many GPUs per pod as its parallelism uses: {uses}",
                str(pod.gpus),
                "Change gpu.count or parallelism; left out, each follows from the other.",
            )


@rule("IP-MOD-033", "Tolerations are such that pods may have them.")
def tolerations_are_whole(subject: Subject) -> Iterator[Objection]:
    """The API server refuses pods with others, long after the model was accepted."""
    for pod in subject.pods:
        for index, given in enumerate(pod.settings.get("tolerations", ())):
            path, operator = (*pod.path, "tolerations", index), given.get("operator", "Equal")
            if operator == "Exists" and given.get("value"):
                value = show(given["value"])
                yield Objection((*path, "value"), "no value beside operator Exists", value, "Remove value or operator.")
            if operator == "Equal" and not given.get("key"):
                found = f"no key, operator {operator}"
                yield Objection(path, "a key, or operator Exists for all taints", found, "Add key.")
            if "tolerationSeconds" in given and given.get("effect") != "NoExecute":
                effect = show(given["effect"]) if "effect" in given else "no effect"
                yield Objection(path, "effect NoExecute beside tolerationSeconds", effect, "Remove tolerationSeconds.")


@rule("IP-MOD-031", "The GPU is one that is known.", severity=WARNING)
def products_are_known(subject: Subject) -> Iterator[Objection]:
    """The product is a label of nodes; with a misspelled one pods wait for ever (catalog/instance_types.yml)."""
    for path, product, _ in _gpus(subject):
        if _known_product(product) is None:
            close = close_names(product, dict(load_hardware().gpus))
            meant = f"Did you mean {or_list(close)}? " if close else ""
            yield Objection(
                (*path, "gpu", "product"),
                f"a GPU that is known: {or_list(close or dict(load_hardware().gpus))}",
                show(product),
                f"{meant}Nothing to do if nodes have this label; memory is then not estimated.",
            )


@rule("IP-MOD-032", "Some machine has as many GPUs as a pod asks for.", severity=WARNING)
def some_machine_has_the_gpus(subject: Subject) -> Iterator[Objection]:
    """A pod gets its GPUs from one machine (catalog/instance_types.yml)."""
    for path, product, count in _gpus(subject):
        known = _known_product(product)
        most = _most_gpus().get(known) if known == product else None
        if most is not None and count > most:
            yield Objection(
                (*path, "gpu", "count"),
                f"at most {most} x {product}, as the largest machine that is known has",
                str(count),
                "Spread the model over nodes (parallelism.data and data_local), or take a GPU with more memory. "
                "Nothing to do if nodes have that many.",
            )


def _gpus(subject: Subject) -> Iterator[tuple[KeyPath, str, int]]:
    """Place, product and number per pod of the GPUs whose product is said; those that prefill takes over only once."""
    for pod in subject.pods:
        gpu = pod.settings["gpu"]
        if "product" in gpu and "resource" not in gpu and (not pod.path or gpu != subject.entry["gpu"]):
            yield pod.path, gpu["product"], pod.gpus


def _known_product(product: str) -> str | None:
    """The GPU of the catalogue that a label means; a slice or a shared one has a suffix."""
    if product in load_hardware().gpus:
        return product
    whole = product.partition("-MIG-")[0].removesuffix("-SHARED")
    return whole if whole in load_hardware().gpus else None


@cache
def _most_gpus() -> dict[str, int]:
    """Of each product the GPUs of the largest machine."""
    most: dict[str, int] = {}
    for machines in load_hardware().instance_types.values():
        for machine in machines:
            most[machine.product] = max(most.get(machine.product, 0), machine.gpus)
    return most


@rule("IP-MOD-104", "The release has the preset that the topology needs.", catches=("mistake 4",))
def presets_exist(subject: Subject) -> Iterator[Objection]:
    """A missing preset keeps a model from ever being reconciled (models.md 2.1)."""
    presets = subject.serving["presets"]
    own = subject.entry.get("own_presets", [])
    for pod in subject.pods:
        if pod.preset not in presets["names"] and f"{presets['prefix']}{pod.preset}" not in own:
            field = "pipeline" if pod.pipeline > 1 else "data"
            yield Objection(
                (*pod.path, "parallelism", field),
                f"a topology for which release {subject.serving['release']} has a preset",
                f"{field} parallelism over nodes, which needs {presets['prefix']}{pod.preset}",
                "Use data and data_local, or make this preset yourself and name it in own_presets.",
            )


@rule("IP-MOD-105", "pipeline and data exclude each other.", catches=("mistake 5", "admission 9"))
def pipeline_excludes_data(subject: Subject) -> Iterator[Objection]:
    """KServe refuses the pair."""
    for pod in subject.pods:
        given = pod.settings.get("parallelism", {})
        if "pipeline" in given and ("data" in given or "data_local" in given):
            yield Objection(
                (*pod.path, "parallelism", "pipeline"), "pipeline or data", "both", "Remove one of the two."
            )


@rule("IP-MOD-107", "replicas and scaling exclude each other.", catches=("mistake 7", "admission 1"))
def replicas_exclude_scaling(subject: Subject) -> Iterator[Objection]:
    """Given in different layers the stronger one counts; given side by side nobody can tell."""
    for pod in subject.pods:
        if "replicas" in pod.settings and "scaling" in pod.settings:
            yield Objection((*pod.path, "scaling"), "replicas or scaling", "both", "Remove one of the two.")


@rule("IP-MOD-116", "A model has GPUs, or an image that runs on CPUs.", catches=("mistake 16",))
def cpu_models_bring_an_image(subject: Subject) -> Iterator[Objection]:
    """Presets ask for no GPU, and the images of the release need one (models.md 2.4)."""
    for pod in subject.pods:
        if pod.gpus == 0 and "image" not in pod.settings:
            yield Objection(
                (*pod.path, "gpu", "count"),
                "at least 1, or an image that runs on CPUs",
                "0 with the image of the release",
                "Set gpu.count, or give an image.",
            )


@rule(
    "IP-MOD-119", "The server gets the time that loading its weights takes.", severity=WARNING, catches=("mistake 19",)
)
def startup_budget_is_enough(subject: Subject) -> Iterator[Objection]:
    """After the budget the kubelet kills the server, and it starts from nothing (models.md 2.4)."""
    size = subject.entry.get("weights_size")
    if size is None:
        return
    needed = needed_startup_seconds(size)
    for pod in subject.pods:
        budget = _startup_budget(pod)
        if budget is not None and budget < needed:
            yield Objection(
                (*pod.path, "startup_budget_seconds"),
                f"at least {needed} s for weights of {size}",
                f"{budget} s",
                "Raise it, or leave it out.",
            )


@rule("IP-MOD-022", "The start has one budget.")
def startup_budget_is_given_once(subject: Subject) -> Iterator[Objection]:
    """The budget becomes the failure threshold of the startup probe."""
    for pod in subject.pods:
        if "startup_budget_seconds" in pod.settings and "failure_threshold" in _startup(pod):
            yield Objection(
                (*pod.path, "startup_budget_seconds"),
                "startup_budget_seconds or probes.startup.failure_threshold",
                "both",
                "Remove one of the two.",
            )


@rule("IP-MOD-023", "Shared memory fits into the memory of the pod.")
def shared_memory_fits(subject: Subject) -> Iterator[Objection]:
    """/dev/shm counts as memory of the pod (models.md 7.1)."""
    for pod in subject.pods:
        memory = pod.settings.get("resources", {})
        limit = memory.get("memory_limit", memory.get("memory"))
        if "shm" in pod.settings and limit is not None and bytes_of(pod.settings["shm"]) >= bytes_of(limit):
            yield Objection(
                (*pod.path, "shm"),
                f"less than the memory of the pod, {limit}",
                pod.settings["shm"],
                "Lower shm or raise resources.memory.",
            )


@rule("IP-MOD-024", "Limits are not below what is asked for.")
def limits_cover_requests(subject: Subject) -> Iterator[Objection]:
    """The API server refuses such pods, long after the model was accepted."""
    for pod in subject.pods:
        given = pod.settings.get("resources", {})
        for name, amount in (("cpu", _cpus), ("memory", bytes_of)):
            limit = f"{name}_limit"
            if limit in given and name in given and amount(str(given[limit])) < amount(str(given[name])):
                yield Objection(
                    (*pod.path, "resources", limit),
                    f"at least resources.{name}, which is {given[name]}",
                    str(given[limit]),
                    "Change one of the two.",
                )


@rule("IP-MOD-025", "Prefill and decode share what the KV cache depends on.", catches=("mistake 23",))
def prefill_and_decode_agree(subject: Subject) -> Iterator[Objection]:
    """A cache of another type or block size cannot be read by the other side (models.md 6.2)."""
    if len(subject.pods) == 1:
        return
    decode, prefill = (pod.settings.get("vllm", {}) for pod in subject.pods)
    for name in _SHARED_BY_PREFILL_AND_DECODE:
        if decode.get(name) != prefill.get(name):
            yield Objection(
                ("prefill", "vllm", name),
                f"the same as vllm.{name}, {show(decode.get(name))}",
                show(prefill.get(name)),
                "Remove it from prefill.",
            )


@rule("IP-MOD-026", "Prefill and decode split the layers alike.", severity=WARNING)
def prefill_and_decode_run_alike(subject: Subject) -> Iterator[Objection]:
    """Different tensor parallel sizes work with some connectors only (models.md 6.2)."""
    if len(subject.pods) == 2 and subject.pods[0].tensor != subject.pods[1].tensor:
        yield Objection(
            ("prefill", "parallelism", "tensor"),
            f"the tensor parallel size of decode, {subject.pods[0].tensor}",
            str(subject.pods[1].tensor),
            "Test that the KV transfer works between the two sizes.",
        )


@rule("IP-MOD-027", "Fast expert exchange has the network it needs.", severity=WARNING, catches=("mistake 38",))
def deepep_has_rdma(subject: Subject) -> Iterator[Objection]:
    """The DeepEP kernels need RDMA devices between nodes."""
    for pod in subject.pods:
        backend = str(pod.settings.get("vllm", {}).get("all2all_backend", ""))
        if backend.startswith("deepep") and pod.multi_node and not _has_rdma(pod.settings):
            yield Objection(
                (*pod.path, "vllm", "all2all_backend"),
                "rdma.resource, or a backend that needs none",
                f"{backend} without RDMA devices",
                "Add rdma.resource, or use naive.",
            )


@rule("IP-MOD-028", "Experts are spread over more than one rank.", severity=WARNING)
def expert_parallelism_has_ranks(subject: Subject) -> Iterator[Objection]:
    """With one rank there is nothing to spread the experts over."""
    for pod in subject.pods:
        if pod.settings.get("parallelism", {}).get("expert") and pod.tensor * pod.data == 1:
            yield Objection(
                (*pod.path, "parallelism", "expert"),
                "more than one rank (tensor x data)",
                "one",
                "Remove expert, or raise tensor or data.",
            )


def _startup(pod: Workload) -> Mapping[str, Any]:
    startup: Mapping[str, Any] = pod.settings.get("probes", {}).get("startup", {})
    return startup


def _startup_budget(pod: Workload) -> int | None:
    """Seconds that the user allows; None when they follow from the size of the weights."""
    if "startup_budget_seconds" in pod.settings:
        return int(pod.settings["startup_budget_seconds"])
    probe = _startup(pod)
    if "failure_threshold" not in probe:
        return None
    period = probe.get("period_seconds", PRESET_STARTUP_SECONDS // 60)
    return int(probe.get("initial_delay_seconds", 0) + probe["failure_threshold"] * period)


def _cpus(quantity: str) -> float:
    return float(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def _has_rdma(settings: Mapping[str, Any]) -> bool:
    devices = settings.get("resources", {}).get("devices", {})
    return "resource" in settings.get("rdma", {}) or any("rdma" in name or "efa" in name for name in devices)
