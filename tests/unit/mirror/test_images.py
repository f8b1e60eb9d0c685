"""Images of models get the registry of the mirror; everything else of a reference stays."""

from __future__ import annotations

import pytest

from inference_platform.mirror import Rewriting, images_in, mirrored, with_registry

MIRROR = "mirror.example.com:5000/platform"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (f"registry.redhat.io/rhaii/vllm@{DIGEST}", f"{MIRROR}/rhaii/vllm@{DIGEST}"),
        ("quay.io/team/vllm:v1", f"{MIRROR}/team/vllm:v1"),
        ("localhost:5000/vllm", f"{MIRROR}/vllm"),
        ("vllm/vllm-openai:v1", f"{MIRROR}/vllm/vllm-openai:v1"),
        ("python:3", f"{MIRROR}/library/python:3"),
        (f"{MIRROR}/team/vllm:v1", f"{MIRROR}/team/vllm:v1"),
    ],
)
def test_only_the_registry_is_replaced(reference: str, expected: str) -> None:
    assert mirrored(reference, MIRROR) == expected
    assert mirrored(reference, f"{MIRROR}/") == expected
    assert mirrored(reference, "") == reference


def test_a_name_without_a_registry_is_that_of_docker() -> None:
    assert with_registry("python:3") == "docker.io/library/python:3"
    assert with_registry("vllm/vllm-openai:v1") == "docker.io/vllm/vllm-openai:v1"
    assert with_registry("localhost/a") == "localhost/a"


def service() -> dict[str, object]:
    pod = {
        "initContainers": [{"name": "a", "image": "quay.io/a/init:1"}],
        "containers": [{"name": "main", "image": "quay.io/a/server:1", "env": [{"name": "image", "value": "x"}]}],
        "volumes": [{"name": "v", "image": {"reference": "quay.io/a/weights:1", "pullPolicy": "Always"}}],
    }
    adapters = [{"name": "sql", "uri": "oci://quay.io/a/adapter:1"}, {"name": "b", "uri": "hf://a/b"}]
    return {
        "kind": "LLMInferenceService",
        "metadata": {"name": "m", "annotations": {"image": "quay.io/a/kept:1"}},
        "spec": {
            "model": {"uri": "oci://quay.io/a/model:1", "lora": {"adapters": adapters}},
            "template": pod,
            "prefill": {"template": {"containers": [{"name": "main", "image": "quay.io/a/prefill:1"}]}},
        },
    }


def test_every_place_of_an_image_is_found_and_moved() -> None:
    rewriting = Rewriting(MIRROR)
    moved = rewriting.of(service())
    names = ["model", "adapter", "init", "server", "weights", "prefill"]
    assert list(images_in(service())) == [f"quay.io/a/{name}:1" for name in names]
    assert list(images_in(moved)) == [f"{MIRROR}/a/{name}:1" for name in names]
    assert rewriting.sources == {f"{MIRROR}/a/{name}:1": f"quay.io/a/{name}:1" for name in names}
    assert moved["metadata"] == service()["metadata"]
    assert "hf://a/b" in str(moved)


def test_without_a_mirror_the_object_is_the_same() -> None:
    given = service()
    rewriting = Rewriting("")
    assert rewriting.of(given) is given
    assert rewriting.sources == {}
