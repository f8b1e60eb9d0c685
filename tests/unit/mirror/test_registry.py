"""Copying to a registry that speaks the distribution API: every image of an inventory arrives, by its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference_platform import platform
from inference_platform.cluster import registry
from inference_platform.mirror import copying
from inference_platform.mirror.needs import Image, list_needs
from tests.support import copier
from tests.support.oci_registry import Registry, running_registry

INDEX, MANIFEST = (f"application/vnd.oci.image.{kind}.v1+json" for kind in ("index", "manifest"))


@pytest.fixture
def upstream() -> Iterator[Registry]:
    with running_registry() as running:
        yield running


@pytest.fixture
def mirror() -> Iterator[Registry]:
    with running_registry() as running:
        yield running


@pytest.fixture
def program(tmp_path: Path) -> copying.Program:
    copier.install(tmp_path / "bin")
    return copying.find_program(str(tmp_path / "bin"))


def publish(registry: Registry, path: str) -> str:
    """An image for two architectures; the digest of its index."""
    manifests = []
    for architecture in ("amd64", "arm64"):
        blobs = [registry.store_blob(f"{path} {architecture} {part}".encode()) for part in ("config", "layer")]
        content = {"schemaVersion": 2, "config": {"digest": blobs[0]}, "layers": [{"digest": blobs[1]}]}
        manifests.append({"digest": store(registry, path, content, MANIFEST)})
    return store(registry, path, {"schemaVersion": 2, "manifests": manifests}, INDEX)


def store(registry: Registry, path: str, content: object, media_type: str) -> str:
    body = json.dumps(content).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    registry.manifests[path, digest] = (media_type, body)
    return digest


def images_of_an_inventory(upstream: Registry, mirror: Registry) -> list[Image]:
    """What a plan needs, published upstream under the digests that it then has there."""
    plan = platform.resolve({"platform_release": "3.4", "provider": "generic"}).to_dict()
    found = []
    for image in list_needs(plan, [], registry=f"{mirror.address}/platform").images:
        path = image.source.partition("/")[2].partition("@")[0]
        digest = publish(upstream, path)
        target = f"{image.target.partition('@')[0]}@{digest}"
        found.append(replace(image, source=f"{upstream.address}/{path}@{digest}", target=target))
    return found


def test_every_image_of_an_inventory_arrives_with_all_architectures(
    upstream: Registry, mirror: Registry, program: copying.Program
) -> None:
    images = images_of_an_inventory(upstream, mirror)
    assert len(images) > 20
    assert copying.copy(images, program) == [image.target for image in images]
    for image in images:
        repository, _, digest = image.target.partition("@")
        assert registry.digest_of(repository, digest) == digest
    assert mirror.blobs == upstream.blobs
    assert {digest for _, digest in mirror.manifests} == {digest for _, digest in upstream.manifests}


def test_an_image_that_is_not_there_is_named_and_the_others_arrive(
    upstream: Registry, mirror: Registry, program: copying.Program
) -> None:
    first, second, *_ = images_of_an_inventory(upstream, mirror)
    gone = replace(first, source=first.source.replace("@sha256:", "@sha256:0")[:-1])
    with pytest.raises(copying.CopyError, match=r"copied 1 images, and could not copy 1") as failed:
        copying.copy([gone, second], program)
    assert f"{gone.source} -> {gone.target}" in str(failed.value)
    assert "404" in str(failed.value)
    assert {path for path, _ in mirror.manifests} == {second.target.partition("@")[0].partition("/")[2]}


def test_a_registry_that_changed_what_it_was_given_is_found_out(
    upstream: Registry, mirror: Registry, program: copying.Program
) -> None:
    image = images_of_an_inventory(upstream, mirror)[0]
    copying.copy([image], program)
    repository, _, digest = image.target.partition("@")
    mirror.manifests[repository.partition("/")[2], digest] = (INDEX, b"{}")
    with pytest.raises(registry.RegistryError, match=f"expected {digest}, found content with"):
        registry.digest_of(repository, digest)
