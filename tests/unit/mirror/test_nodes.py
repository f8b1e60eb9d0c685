"""What the nodes are told of the mirror: as CRI-O, containerd and OpenShift read it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import yaml

from inference_platform.mirror import nodes
from inference_platform.mirror.needs import Image, Needs

MIRROR = "mirror.example.com:5000/platform"
DIGEST = f"sha256:{'0' * 64}"
SOURCES = (f"registry.redhat.io/a/operator@{DIGEST}", "quay.io/team/vllm:v1", f"quay.io/team/weights:v2@{DIGEST}")


def needs(*sources: str, registry: str = MIRROR, route: str = "helm") -> Needs:
    """Needs with these images; one of the mirror itself stays where it is."""
    images = tuple(
        Image(source, source if source.startswith(registry) else f"{registry}/{source.partition('/')[2]}", (), False)
        for source in sources
    )
    return Needs(registry, route, images, (), (), ())


def tables(text: str) -> Any:
    return tomllib.loads(text)


def test_cri_o_is_told_of_every_registry() -> None:
    registries = tables(nodes.files(needs(*SOURCES))["registries.conf"])["registry"]
    assert registries == [
        {"location": name, "mirror": [{"location": MIRROR}]} for name in ("quay.io", "registry.redhat.io")
    ]


@pytest.mark.parametrize(
    ("registry", "address", "further"),
    [
        (MIRROR, "https://mirror.example.com:5000/v2/platform", {"override_path": True}),
        ("mirror.example.com/a/b", "https://mirror.example.com/v2/a/b", {"override_path": True}),
        ("mirror.example.com", "https://mirror.example.com", {}),
    ],
)
def test_containerd_gets_a_file_for_every_registry(registry: str, address: str, further: dict[str, bool]) -> None:
    """Below a path it is told the whole address, since it would add /v2 in front of the path."""
    made = nodes.files(needs(*SOURCES, registry=registry))
    wanted = {"host": {address: {"capabilities": ["pull", "resolve"], **further}}}
    assert {name: tables(text) for name, text in made.items() if name.startswith("certs.d/")} == {
        f"certs.d/{name}/hosts.toml": wanted for name in ("quay.io", "registry.redhat.io")
    }


def test_openshift_gets_the_repositories_of_digests_and_of_tags() -> None:
    made = nodes.files(needs(*SOURCES, route="olm"))
    assert made.keys() == {"mirror-set.yaml"}
    by_digest, by_tag = yaml.safe_load_all(made["mirror-set.yaml"])
    assert {item["apiVersion"] for item in (by_digest, by_tag)} == {"config.openshift.io/v1"}
    assert (by_digest["kind"], by_tag["kind"]) == ("ImageDigestMirrorSet", "ImageTagMirrorSet")
    assert by_digest["spec"] == {
        "imageDigestMirrors": [
            {"source": "quay.io/team/weights", "mirrors": [f"{MIRROR}/team/weights"]},
            {"source": "registry.redhat.io/a/operator", "mirrors": [f"{MIRROR}/a/operator"]},
        ]
    }
    assert by_tag["spec"] == {"imageTagMirrors": [{"source": "quay.io/team/vllm", "mirrors": [f"{MIRROR}/team/vllm"]}]}


def test_a_mirror_set_without_images_is_none() -> None:
    assert nodes.files(needs(route="olm")) == {}
    (only,) = yaml.safe_load_all(nodes.files(needs(SOURCES[1], route="olm"))["mirror-set.yaml"])
    assert only["kind"] == "ImageTagMirrorSet"


@pytest.mark.parametrize("route", ["helm", "olm"])
def test_what_is_in_the_mirror_already_is_not_sent_there(route: str) -> None:
    text = "".join(nodes.files(needs(f"{MIRROR}/own/image:v1", SOURCES[1], route=route)).values())
    assert "quay.io" in text
    assert "own/image" not in text
    assert 'location = "mirror.example.com:5000"' not in text


def test_without_a_mirror_there_is_nothing_to_tell() -> None:
    assert nodes.files(Needs("", "helm", needs(*SOURCES).images, (), (), ())) == {}
