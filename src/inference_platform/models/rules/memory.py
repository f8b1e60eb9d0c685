"""Rules about GPU memory and number formats. What is not known raises no objection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from inference_platform.catalog.instance_types import Gpu, load_hardware
from inference_platform.findings import WARNING
from inference_platform.models.memory import (
    AUTO,
    LEAST_OVERHEAD,
    Estimate,
    computes_in_fp8,
    estimate,
    gib,
    of_workload,
)
from inference_platform.models.pods import bytes_of
from inference_platform.models.rules.engine import Objection
from inference_platform.models.rules.registry import rule
from inference_platform.models.server import EXTRA_ARGS
from inference_platform.models.subjects import Subject
from inference_platform.models.topology import Workload

# Local disk that fetched weights take, in relation to their size (models.md 7.2).
_DISK_FACTOR = 1.2
_FETCHED = ("hf://", "s3://")

_MOST_GPUS = 16

# What reading a config.json of the wrong kind raises.
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


@rule("IP-CAP-010", "The weights fit into the memory of the GPUs.", catches=("mistake 37",))
def weights_fit(subject: Subject) -> Iterator[Objection]:
    """With the least overhead ever seen; below that the server cannot start (models.md 7.2)."""
    for pod, found in _estimates(subject):
        room = found.room(LEAST_OVERHEAD)
        if room is not None and room <= 0:
            yield Objection(
                (*pod.path, "gpu"),
                f"at most {_available(found)} GiB of weights per GPU",
                f"{gib(found.weights or 0)} GiB ({found.format}, tensor {pod.tensor})",
                _how_to_fit(found, pod),
            )


@rule("IP-CAP-011", "The weights leave room for activations.", severity=WARNING)
def weights_leave_room(subject: Subject) -> Iterator[Objection]:
    """With the usual overhead; between the two the start is a matter of luck."""
    for pod, found in _estimates(subject):
        least, usual = found.room(LEAST_OVERHEAD), found.kv_room
        if least is not None and usual is not None and least > 0 >= usual:
            yield Objection(
                (*pod.path, "gpu"),
                f"{gib(found.usual_overhead)} GiB per GPU beside the weights",
                f"{gib((found.budget or 0) - (found.weights or 0))} GiB",
                f"Be ready for a server that runs out of memory. {_how_to_fit(found, pod)}",
            )


@rule("IP-CAP-012", "The KV cache holds a request of max_model_len.")
def context_fits(subject: Subject) -> Iterator[Objection]:
    """vLLM refuses to start otherwise. Without max_model_len the context of the model counts."""
    for pod, found in _estimates(subject):
        room, possible = found.room(LEAST_OVERHEAD), found.longest_possible
        if found.context is None or room is None or possible is None or room <= 0:
            continue
        if possible < found.context:
            surely = found.longest or possible
            given = found.server.max_model_len is not None
            yield Objection(
                (*pod.path, "vllm", "max_model_len"),
                f"at most {possible} tokens, for which {gib(room)} GiB are left",
                f"{found.context}" if given else f"nothing, so the {found.context} tokens of the model",
                f"Set vllm.max_model_len to {surely} or less, to {AUTO}, or spread the model over more GPUs.",
            )


@rule("IP-CAP-013", "The KV cache holds the expected requests.", severity=WARNING)
def concurrency_fits(subject: Subject) -> Iterator[Objection]:
    """More requests are put aside and computed again, which makes all of them slow."""
    for _, found in _estimates(subject):
        wanted, requests = found.server.concurrency, found.requests
        if wanted is not None and requests is not None and requests < wanted:
            yield Objection(
                ("expected_concurrency",),
                f"room for {wanted} requests of {found.context} tokens in each replica",
                f"room for {requests:.1f}",
                "Lower max_model_len, use an FP8 KV cache where the GPU computes FP8, or add GPUs or replicas.",
            )


@rule("IP-CAP-014", "FP8 runs on GPUs that compute FP8.", severity=WARNING, catches=("mistake 37",))
def fp8_is_computed(subject: Subject) -> Iterator[Objection]:
    """Ampere can read FP8 weights and computes in 16 bits: less memory, no more speed (models.md 7.2)."""
    for pod, gpu, found in _older(subject):
        if not gpu.computes_bfloat16:
            continue
        for field, is_fp8 in (
            ("quantization", computes_in_fp8(found)),
            ("kv_cache_dtype", found.server.kv_cache_dtype.startswith("fp8")),
        ):
            if is_fp8:
                yield Objection(
                    (*pod.path, "vllm", field),
                    "a GPU that computes FP8 (Ada, Hopper or newer)",
                    f"fp8 on {gpu.product}, an older one",
                    "Choose another gpu.product, or use int8, awq or 16 bits.",
                )


@rule("IP-CAP-015", "The GPU computes the number format.", catches=("mistake 37",))
def number_format_is_computed(subject: Subject) -> Iterator[Objection]:
    """GPUs before Ampere know neither bfloat16 nor FP8."""
    for pod, gpu, found in _older(subject):
        if gpu.computes_bfloat16:
            continue
        if found.server.dtype == "bfloat16":
            yield _not_computed(pod, "dtype", "bfloat16", gpu, "Use float16.")
        if computes_in_fp8(found):
            yield _not_computed(pod, "quantization", "fp8", gpu, "Use awq, gptq or float16.")
        if found.server.kv_cache_dtype.startswith("fp8"):
            yield _not_computed(pod, "kv_cache_dtype", "fp8", gpu, "Remove it.")


@rule("IP-CAP-016", "Tensor parallelism divides the attention heads.")
def heads_can_be_divided(subject: Subject) -> Iterator[Objection]:
    """vLLM refuses to start otherwise (models.md 6.2)."""
    for pod, found in _estimates(subject):
        heads = found.size.heads
        if heads and heads % pod.tensor:
            yield Objection(
                (*pod.path, "parallelism", "tensor"),
                f"a divisor of the {heads} attention heads",
                str(pod.tensor),
                f"Use {_nearest_divisor(heads, pod.tensor)}.",
            )


@rule("IP-CAP-017", "Fetched weights fit on the local disk.", severity=WARNING)
def weights_fit_on_the_disk(subject: Subject) -> Iterator[Objection]:
    """Each pod fetches its own copy; a pod that needs more than it asked for is evicted (models.md 3.7)."""
    if not subject.entry["uri"].startswith(_FETCHED):
        return
    for pod, found in _estimates(subject):
        disk = pod.settings.get("resources", {}).get("ephemeral_storage")
        weights = _whole_weights(found)
        if disk is not None and weights is not None and bytes_of(disk) < _DISK_FACTOR * weights:
            yield Objection(
                (*pod.path, "resources", "ephemeral_storage"),
                f"at least {_DISK_FACTOR} x the weights: {gib(_DISK_FACTOR * weights)} GiB",
                disk,
                "Raise it, or keep the weights on a claim (pvc://).",
            )


@rule("IP-CAP-018", "The size of the model can be read.")
def size_can_be_read(subject: Subject) -> Iterator[Objection]:
    """A config.json of an unknown kind is fine; one with texts for numbers is not."""
    if "size" not in subject.entry and not any(_has_free_arguments(pod) for pod in subject.pods):
        return
    for pod in subject.pods:
        try:
            of_workload(pod, subject.entry, {})
        except _UNREADABLE as error:
            yield Objection(
                ("size",),
                "numbers, and in config what a config.json holds",
                str(error) or type(error).__name__,
                "Correct size and the settings of vLLM that are numbers.",
            )
            return


def _has_free_arguments(pod: Workload) -> bool:
    return "args" in pod.settings or EXTRA_ARGS in pod.settings.get("env", {})


def _estimates(subject: Subject) -> Iterator[tuple[Workload, Estimate]]:
    """The estimate for each kind of pods with GPUs; none when nothing is said about the size, or it cannot be read."""
    if "size" in subject.entry or "weights_size" in subject.entry:
        for pod in subject.pods:
            found = _estimate(pod, subject.entry) if pod.gpus else None
            if found is not None:
                yield pod, found


def _older(subject: Subject) -> Iterator[tuple[Workload, Gpu, Estimate]]:
    """The pods on GPUs that do not compute FP8."""
    for pod in subject.pods:
        gpu = load_hardware().gpus.get(pod.settings["gpu"].get("product", ""))
        found = _estimate(pod, subject.entry) if gpu is not None and not gpu.computes_fp8 else None
        if gpu is not None and found is not None:
            yield pod, gpu, found


def _estimate(pod: Workload, entry: Mapping[str, Any]) -> Estimate | None:
    try:
        return of_workload(pod, entry, load_hardware().gpus)
    except _UNREADABLE:
        return None


def _available(found: Estimate) -> str:
    return gib(max((found.budget or 0) - LEAST_OVERHEAD, 0))


def _how_to_fit(found: Estimate, pod: Workload) -> str:
    """The smallest larger tensor parallel size that fits on one node, or what else helps."""
    tensor = pod.tensor * 2
    while tensor <= _MOST_GPUS:
        more = estimate(found.size, replace(found.split, tensor=tensor), found.server, found.gpu_memory)
        possible = not found.size.heads or found.size.heads % tensor == 0
        if possible and more.kv_room is not None and more.kv_room > 0:
            return f"Use {tensor * pod.data_local} GPUs per pod (tensor {tensor}), a larger GPU, or quantized weights."
        tensor *= 2
    return "Use a larger GPU, quantized weights, or several nodes."


def _not_computed(pod: Workload, field: str, name: str, gpu: Gpu, remedy: str) -> Objection:
    major, minor = gpu.compute_capability
    return Objection(
        (*pod.path, "vllm", field),
        "a number format that the GPU computes",
        f"{name} on {gpu.product} (compute capability {major}.{minor})",
        remedy,
    )


def _nearest_divisor(heads: int, tensor: int) -> int:
    """The largest divisor below the wanted size."""
    return max(number for number in range(1, tensor) if heads % number == 0)


def _whole_weights(found: Estimate) -> float | None:
    """The weights as they are fetched."""
    if found.server.weights_bytes is not None:
        return found.server.weights_bytes
    if found.size.weights is None:
        return None
    stored = replace(found.server, quantization=None, offload=0)
    whole = estimate(found.size, replace(found.split, tensor=1, pipeline=1, data=1), stored, None)
    return whole.weights
