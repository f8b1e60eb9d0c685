"""Rules about names, source, arguments and environment of one model."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from inference_platform.catalog.load import load
from inference_platform.findings import WARNING, show
from inference_platform.models.rules.engine import INVENTORY, Objection
from inference_platform.models.rules.registry import rule
from inference_platform.models.server import EXTRA_ARGS, flags, shell_words
from inference_platform.models.services import SECRET_ANNOTATION, STOP_ANNOTATION
from inference_platform.models.subjects import Inventory, Subject
from inference_platform.schema import KeyPath

# What presets and platform set themselves (models.md 7.1), with the way to say it.
_RESERVED_ARGS = {
    "--api-server-count": "use vllm.api_server_count",
    "--data-parallel-": "use parallelism",
    "--enable-expert-parallel": "use parallelism.expert",
    "--enable-lora": "use lora",
    "--headless": "the platform sets it",
    "--host": "the platform sets it",
    "--lora-modules": "use lora.adapters",
    "--model": "use uri",
    "--port": "the platform sets it",
    "--served-model-name": "use served_name",
    "--ssl-": "the platform sets it",
    "--tensor-parallel-size": "use gpu.count",
    "-tp": "use gpu.count",
}
# Those that only presets give to vLLM; with a command of one's own there is no preset in between.
_GIVEN_BY_PRESETS = ("--api-server-count", "--headless", "--host", "--model", "--port", "--served-model-name", "--ssl-")

_NAME_OF_A_SECRET = r"(^|_)(TOKEN|PASSWORD|PASSWD|SECRET|SECRET_KEY|API_KEY|APIKEY)$"

# scheme -> (pattern of what follows, what it should be); models.md 3.7
_URI_FORMS = {
    "hf": (
        r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)?(:[A-Za-z0-9._/-]+)?",
        "hf://organisation/model or hf://organisation/model:revision",
    ),
    "oci": (r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+((:[\w.-]+)|(@sha256:[0-9a-f]{64}))?", "oci://registry/image"),
    "pvc": (r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?", "pvc://claim or pvc://claim/folder"),
    "s3": (r"[a-z0-9][a-z0-9.-]+(/.*)?", "s3://bucket/folder"),
}

# Labels that KServe gives the pods; pools and Services select by them (models.md 1.7).
_LABELS_OF_KSERVE = ("app.kubernetes.io/", "kserve.io/", "llm-d.ai/")
_VERSION_OF_SCHEDULER = "app.kubernetes.io/version"
_LABELS_OF_OURS = ("inference-platform.io/", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of")
_ANNOTATIONS_WITH_A_FIELD = {
    STOP_ANNOTATION: "state: stopped",
    SECRET_ANNOTATION: "credentials_secret",
}


@rule("IP-MOD-001", "The name is used once in its namespace.", INVENTORY)
def names_are_unique(inventory: Inventory) -> Iterator[Objection]:
    """Two entries with the same namespace and name are one object."""
    first: dict[tuple[str, str], int] = {}
    for subject in inventory.listed:
        if subject.key in first:
            namespace, name = subject.key
            yield Objection(
                ("name",),
                f"a name that is used once in namespace {namespace}",
                f"{show(name)}, also the name of models[{first[subject.key]}]",
                "Rename one of the two, or move it to another namespace.",
                subject.index,
            )
        first.setdefault(subject.key, subject.index)


@rule("IP-MOD-002", "The namespace belongs to users, not to the platform or the cluster.")
def namespaces_belong_to_users(subject: Subject) -> Iterator[Objection]:
    """The namespaces of platform and cluster are not for models."""
    namespace = subject.entry["namespace"]
    if namespace in subject.platform["namespaces"].values() or namespace.startswith(("kube-", "openshift-")):
        yield Objection(
            ("namespace",),
            "a namespace for models",
            f"{show(namespace)}, which belongs to the platform or the cluster",
            "Choose a namespace of your own.",
        )


@rule("IP-MOD-003", "What follows the scheme of the uri can be read by KServe.")
def uris_are_complete(subject: Subject) -> Iterator[Objection]:
    """What follows the scheme must be what the storage initializer can read."""
    scheme, _, rest = subject.entry["uri"].partition("://")
    pattern, form = _URI_FORMS[scheme]
    if not _compiled(pattern).fullmatch(rest):
        yield Objection(("uri",), form, show(subject.entry["uri"]), f"Write the URI as {form}.")


@rule("IP-MOD-034", "Secrets are in Secrets.", severity=WARNING)
def secrets_are_not_written_down(subject: Subject) -> Iterator[Objection]:
    """What is in env is in the inventory, in the model and in its pods, for everyone who may read one of them."""
    for path, settings in _written(subject):
        for name, value in settings.get("env", {}).items():
            if isinstance(value, str) and value and _compiled(_NAME_OF_A_SECRET).search(name):
                yield Objection(
                    (*path, "env", name),
                    "a reference to a Secret, as its name tells",
                    "a text",
                    f"Write {name}: {{secret: NAME, key: KEY}}; for the token of a model hub, credentials_secret.",
                )


@rule("IP-MOD-004", "No argument that the platform sets itself.", catches=("mistake 3",))
def args_leave_the_platform_alone(subject: Subject) -> Iterator[Objection]:
    """Arguments that the presets or the platform set must not be given again."""
    for path, word in _given_words(subject):
        side = subject.entry["prefill"] if path[0] == "prefill" else subject.entry
        hint = _reserved(word, own_command="command" in side)
        if hint:
            yield Objection(
                path,
                "arguments that the platform does not set itself",
                f"{show(word)} ({hint})",
                f"Remove {word.split('=')[0]}; {hint}.",
            )


@rule(
    "IP-MOD-005", "A claim of several pods can be mounted by several nodes.", severity=WARNING, catches=("mistake 28",)
)
def shared_claims_need_shared_access(subject: Subject) -> Iterator[Objection]:
    """Several pods on several nodes mount one claim (models.md 3.7)."""
    uri = subject.entry["uri"]
    if not uri.startswith("pvc://"):
        return
    most = [pod.settings.get("scaling", {}).get("max_replicas", pod.replicas) for pod in subject.pods]
    pods = sum(count * pod.size for count, pod in zip(most, subject.pods, strict=True))
    if pods > 1:
        claim = uri.removeprefix("pvc://").split("/")[0]
        plain = len(subject.pods) == 1 and not subject.pods[0].multi_node
        yield Objection(
            ("uri",),
            "a claim that several nodes may mount (ReadWriteMany or ReadOnlyMany)",
            f"claim {show(claim)} with {f'{pods} replicas' if plain else f'{pods} pods'}",
            "Check the access modes of the claim.",
        )


@rule("IP-MOD-006", "The quotes of VLLM_ADDITIONAL_ARGS are closed.", catches=("mistake 33",))
def extra_args_can_be_read(subject: Subject) -> Iterator[Objection]:
    """The serving preset evaluates VLLM_ADDITIONAL_ARGS in a shell."""
    for path, text in _extra_args(subject):
        if shell_words(text) is None:
            yield Objection(
                path,
                "arguments quoted as for a shell",
                "a quote that is not closed",
                "Close the quote, or give the arguments as a list under args.",
            )


@rule("IP-MOD-133", "JSON in VLLM_ADDITIONAL_ARGS survives the shell.", catches=("mistake 33",))
def json_in_extra_args_is_quoted(subject: Subject) -> Iterator[Objection]:
    """JSON needs quotes around it, or the shell takes its own away."""
    for path, text in _extra_args(subject):
        for word in shell_words(text) or []:
            value = word.partition("=")[2] if word.startswith("--") else word
            if value.startswith(("{", "[")) and not _is_json(value):
                yield Objection(
                    path,
                    "JSON in single quotes",
                    f"{show(word)} after the shell has read it",
                    "Put single quotes around the JSON, or give it as an item of args.",
                )


@rule("IP-MOD-008", "The release has the field.", catches=("mistake 11", "mistake 26"))
def release_has_the_field(subject: Subject) -> Iterator[Objection]:
    """The catalogue lists what a release lacks, and since which release it is there."""
    release = subject.serving["release"]
    for lacking in subject.serving["lacks"]:
        for path in _places(subject.entry, lacking["field"].replace("[]", ".[]").split(".")):
            instead = f"use {lacking['instead']}" if "instead" in lacking else "remove it"
            yield Objection(
                path,
                f"a field that release {release} has",
                f"{lacking['field'].replace('[]', '')}, which release {lacking['since']} brings",
                f"With release {release}, {instead}.",
            )


@rule("IP-MOD-009", "The revision is given once, and only for hf:// models.")
def revision_is_given_once(subject: Subject) -> Iterator[Objection]:
    """KServe reads the revision of a hub model behind the colon of its uri."""
    if "revision" not in subject.entry:
        return
    scheme, _, rest = subject.entry["uri"].partition("://")
    if scheme != "hf":
        yield Objection(
            ("revision",), "no revision", f"a revision of {show(subject.entry['uri'])}", "Remove it; hf:// has it."
        )
    elif ":" in rest:
        yield Objection(
            ("revision",),
            "the revision in one place",
            f"{show(subject.entry['revision'])} beside {show(subject.entry['uri'])}",
            "Remove revision, or what follows the colon of uri.",
        )


@rule("IP-MOD-010", "Labels and annotations of platform and KServe are left to their fields.")
def labels_of_others_are_left_alone(subject: Subject) -> Iterator[Objection]:
    """Objects are found and removed by our labels; some annotations have a field of their own."""
    for name in subject.entry.get("labels", {}):
        if name.startswith(_LABELS_OF_OURS):
            yield Objection(
                ("labels", name), "a label of your own", f"{name}, which the installer sets", f"Remove {name}."
            )
    for name in subject.entry.get("annotations", {}):
        if name in _ANNOTATIONS_WITH_A_FIELD:
            field = _ANNOTATIONS_WITH_A_FIELD[name]
            yield Objection(("annotations", name), "annotations without a field", name, f"Write {field} instead.")


@rule("IP-MOD-011", "A setting of vLLM is given by name or as an argument, not both.")
def arguments_do_not_repeat_settings(subject: Subject) -> Iterator[Objection]:
    """Of two values vLLM takes the last without a word."""
    if not any("vllm" in pod.settings for pod in subject.pods):
        return
    for path, word in _given_words(subject):
        prefix = path[:1] if path[0] == "prefill" else ()
        settings = subject.entry["prefill"] if prefix else subject.entry
        named = settings.get("vllm", {})
        field = next((name for name, flag in flags().items() if name in named and _is_flag(word, flag)), None)
        if field:
            yield Objection(
                path, f"vllm.{field} or the argument", f"{show(word)} and vllm.{field}", "Remove one of the two."
            )


@rule("IP-MOD-014", "An offline server finds its weights.", severity=WARNING)
def offline_models_are_fetched_somehow(subject: Subject) -> Iterator[Objection]:
    """``offline`` is about the server; the weights of hf:// are still downloaded before it starts."""
    if subject.entry["offline"] and subject.entry["uri"].startswith("hf://") and subject.entry["storage_initializer"]:
        yield Objection(
            ("offline",),
            "weights from oci://, pvc:// or s3:// in a cluster without internet",
            f"{show(subject.entry['uri'])}, which is downloaded before the server starts",
            "Nothing to do if the pods may reach the model hub, or a mirror of it.",
        )


@rule("IP-MOD-015", "Adapters can be fetched and told apart.", catches=("mistake 26",))
def adapters_can_be_served(subject: Subject) -> Iterator[Objection]:
    """Names are what clients send; vLLM itself fetches from the hub or a mounted claim (models.md 7.1)."""
    entry = subject.entry
    seen = {entry.get("served_name", entry["name"])}
    for index, adapter in enumerate(entry.get("lora", {}).get("adapters", [])):
        path: KeyPath = ("lora", "adapters", index)
        scheme, _, rest = adapter["uri"].partition("://")
        if adapter["name"] in seen:
            yield Objection(
                (*path, "name"),
                "a name that nothing else of this model has",
                show(adapter["name"]),
                "Rename the adapter.",
            )
        seen.add(adapter["name"])
        if subject.serving["lora"] == "arguments" and scheme not in ("hf", "pvc"):
            yield Objection(
                (*path, "uri"),
                f"hf:// or pvc:// with release {subject.serving['release']}",
                show(adapter["uri"]),
                "Put the adapter on a claim.",
            )
        elif not _compiled(_URI_FORMS[scheme][0]).fullmatch(rest):
            yield Objection((*path, "uri"), _URI_FORMS[scheme][1], show(adapter["uri"]), "Complete the URI.")
        elif entry["offline"] and scheme == "hf":
            yield Objection(
                (*path, "uri"), "an adapter on a claim, because offline is set", show(adapter["uri"]), "Use pvc://."
            )


@rule("IP-MOD-016", "Weights are mounted when KServe does not attach them.", severity=WARNING)
def weights_are_mounted(subject: Subject) -> Iterator[Objection]:
    """Without the storage initializer nothing is at /mnt/models (models.md 3.7)."""
    if not subject.entry["storage_initializer"] and "/mnt/models" not in json.dumps(subject.entry.get("override", {})):
        yield Objection(
            ("storage_initializer",),
            "a volume mounted at /mnt/models by override",
            "none",
            "Mount the weights, or remove storage_initializer.",
        )


@rule("IP-MOD-017", "Labels by which KServe finds its pods stay.", severity=WARNING)
def pods_keep_the_labels_of_kserve(subject: Subject) -> Iterator[Objection]:
    """Pools and Services select pods by them; the scheduler's version says how its configuration is written."""
    blocks: list[tuple[KeyPath, Mapping[str, Any]]] = [(pod.path, pod.settings) for pod in subject.pods]
    scheduler: Mapping[str, Any] = subject.entry.get("scheduler", {})
    for path, settings in [*blocks, (("scheduler",), scheduler)]:
        for name in settings.get("pod_labels", {}):
            if name.startswith(_LABELS_OF_KSERVE):
                yield Objection(
                    (*path, "pod_labels", name),
                    "a label that KServe does not set",
                    name,
                    "Expect the pods to belong to another pool; remove the label if that is not meant.",
                )
    if _VERSION_OF_SCHEDULER in scheduler.get("pod_annotations", {}):
        yield Objection(
            ("scheduler", "pod_annotations", _VERSION_OF_SCHEDULER),
            "the version that the preset of the scheduler says, by which KServe rewrites its configuration",
            _VERSION_OF_SCHEDULER,
            "Remove the annotation, or say the version in one of your own.",
        )


@rule("IP-MOD-029", "Weights of s3:// come with credentials.", severity=WARNING, catches=("mistake 28",))
def buckets_come_with_credentials(subject: Subject) -> Iterator[Objection]:
    """The storage initializer takes them from a Secret or a ServiceAccount (models.md 3.7)."""
    if subject.entry["uri"].startswith("s3://") and not _has_credentials(subject):
        yield Objection(
            ("uri",),
            "credentials_secret or service_account with the keys of the bucket",
            f"{show(subject.entry['uri'])} without either",
            "Set one of them. Nothing to do if anybody may read the bucket.",
        )


@rule("IP-MOD-030", "Models with a licence come with a token.", severity=WARNING, catches=("mistake 28",))
def gated_models_come_with_a_token(subject: Subject) -> Iterator[Objection]:
    """Of some models the hub gives the weights only to those who accepted the licence (catalog/gated_models.yml)."""
    scheme, _, rest = subject.entry["uri"].partition("://")
    if scheme == "hf" and _gated().fullmatch(rest.partition(":")[0]) and not _has_credentials(subject):
        yield Objection(
            ("uri",),
            "credentials_secret with the HF_TOKEN of somebody who accepted the licence",
            f"{show(subject.entry['uri'])} without it",
            "Set credentials_secret. Nothing to do where the hub is a mirror that asks for none.",
        )


def _has_credentials(subject: Subject) -> bool:
    return "credentials_secret" in subject.entry or any("service_account" in pod.settings for pod in subject.pods)


@cache
def _gated() -> re.Pattern[str]:
    """The names of models that are known to be gated."""
    return re.compile("|".join(fnmatch.translate(entry["models"]) for entry in load().gated), re.IGNORECASE)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _given_words(subject: Subject) -> Iterator[tuple[KeyPath, str]]:
    """Every argument the user wrote, with its place; those taken over by prefill only once."""
    for path, settings in _written(subject):
        for position, word in enumerate(settings.get("args", [])):
            yield (*path, "args", position), word
    for path, text in _extra_args(subject):
        for word in shell_words(text) or []:
            yield path, word


def _extra_args(subject: Subject) -> Iterator[tuple[KeyPath, str]]:
    for path, settings in _written(subject):
        text = settings.get("env", {}).get(EXTRA_ARGS)
        if isinstance(text, str):
            yield (*path, "env", EXTRA_ARGS), text


def _written(subject: Subject) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    yield (), subject.entry
    if "prefill" in subject.entry:
        prefill = subject.entry["prefill"]
        differing = {key: prefill.get(key) for key in ("args", "env") if prefill.get(key) != subject.entry.get(key)}
        yield ("prefill",), {key: value for key, value in differing.items() if value is not None}


def _reserved(word: str, own_command: bool) -> str | None:
    if not word.startswith("-"):
        return None
    flag = word.split("=")[0].replace("_", "-")
    for name, hint in _RESERVED_ARGS.items():
        if flag == name or (name.endswith("-") and flag.startswith(name)):
            return None if own_command and name in _GIVEN_BY_PRESETS else hint
    return None


def _is_flag(word: str, flag: str) -> bool:
    name = word.split("=")[0].replace("_", "-")
    return name in (flag, f"--no-{flag.removeprefix('--')}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _places(value: Any, parts: list[str]) -> Iterator[KeyPath]:
    """Paths in ``value`` that a field of the catalogue stands for."""
    if not parts:
        yield ()
    elif parts[0] == "[]" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from ((index, *rest) for rest in _places(item, parts[1:]))
    elif isinstance(value, Mapping) and parts[0] in value:
        yield from ((parts[0], *rest) for rest in _places(value[parts[0]], parts[1:]))
