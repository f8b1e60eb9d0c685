"""Programs that copy get one image at a time, digests kept, credentials by file; stand-ins record what they got."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from inference_platform.cluster.errors import ClusterError
from inference_platform.mirror import copying, files
from inference_platform.mirror.needs import Chart, File, Image
from tests.support import published_charts
from tests.support.oci_registry import running_registry

DIGEST = "sha256:" + "0" * 64
SECRET = "not-to-be-seen"
IMAGES = [
    Image(f"registry.redhat.io/a/{name}@{DIGEST}", f"mirror.example.com/x/a/{name}@{DIGEST}", ("sail",), True)
    for name in ("one", "two")
]


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    path = tmp_path / "auth.json"
    path.write_text(SECRET)
    return path


def stand_in(folder: Path, name: str, fails: str = "nothing") -> Path:
    """A program that writes its arguments, and the credentials that crane would read, and fails for one image."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/calls\ncat "$DOCKER_CONFIG/config.json" >> {folder}/read 2>/dev/null\n'
        f'case "$*" in *{fails}*) echo "unauthorized" >&2; exit 1;; esac\n'
    )
    path.chmod(0o755)
    return path


def test_skopeo_copies_every_image_with_its_digest(tmp_path: Path, auth: Path) -> None:
    stand_in(tmp_path / "bin", "skopeo")
    program = copying.find_program(str(tmp_path / "bin"))
    assert copying.copy(IMAGES, program, str(auth)) == [image.target for image in IMAGES]
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert calls == [
        f"copy --all --preserve-digests --authfile {auth} docker://{image.source} docker://{image.target}"
        for image in IMAGES
    ]


def test_crane_finds_the_credentials_in_a_folder_and_not_in_its_arguments(tmp_path: Path, auth: Path) -> None:
    stand_in(tmp_path / "bin", "crane")
    copying.copy(IMAGES, copying.find_program(str(tmp_path / "bin")), str(auth))
    assert (tmp_path / "bin" / "read").read_text() == SECRET * len(IMAGES)
    calls = (tmp_path / "bin" / "calls").read_text()
    assert calls.splitlines() == [f"copy {image.source} {image.target}" for image in IMAGES]
    assert SECRET not in calls


def test_one_failure_does_not_stop_the_others_and_is_named(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "skopeo", fails="a/one")
    with pytest.raises(copying.CopyError) as raised:
        copying.copy(IMAGES, copying.find_program(str(tmp_path / "bin")))
    assert len((tmp_path / "bin" / "calls").read_text().splitlines()) == len(IMAGES)
    assert "copied 1 images, and could not copy 1" in str(raised.value)
    assert f"{IMAGES[0].source} -> {IMAGES[0].target}: unauthorized" in str(raised.value)


def test_credentials_that_are_not_there_stop_before_the_first_image(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "crane")
    with pytest.raises(copying.CopyError, match=r"expected a readable file .* pull_secret_file"):
        copying.copy(IMAGES, copying.find_program(str(tmp_path / "bin")), str(tmp_path / "none.json"))
    assert not (tmp_path / "bin" / "calls").exists()


def test_credentials_in_the_place_of_the_path_are_not_shown(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "crane")
    content = f'{{"auths": {{"quay.io": {{"auth": "{SECRET}"}}}}}}'
    with pytest.raises(copying.CopyError, match="the content of a file instead of its path") as raised:
        copying.copy(IMAGES, copying.find_program(str(tmp_path / "bin")), content)
    assert SECRET not in str(raised.value)


def test_without_a_program_it_is_said_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(copying.CopyError, match="expected skopeo or crane on PATH, found neither"):
        copying.find_program(str(tmp_path))


def test_charts_of_others_are_fetched_and_verified_and_those_without_a_pin_left_out(
    tmp_path: Path, tools_folder: Path
) -> None:
    helm = str(tools_folder / "bin" / "helm")
    with running_registry() as registry:
        pins = published_charts.push(
            {"lws": published_charts.write(tmp_path / "charts", tmp_path / "none")["lws"]}, helm, registry
        )
        pinned = Chart("lws", "0.8.0", "lws", registry.oci("charts"), pins["lws"])
        wanted = [pinned, replace(pinned, sha256=""), Chart("pki", "0.1.0", "pki")]
        found = files.download_charts(wanted, tmp_path / "out", helm, cache=str(tmp_path / "cache"))
        assert found == [tmp_path / "out" / "lws-0.8.0.tgz"]
        assert hashlib.sha256(found[0].read_bytes()).hexdigest() == pins["lws"]
        wrong = replace(pinned, sha256="0" * 64)
        with pytest.raises(ClusterError, match="expected an archive with sha256"):
            files.download_charts([wrong], tmp_path / "out", helm, cache=str(tmp_path / "cache"))


def test_crd_files_are_laid_out_for_a_mirror_and_verified(tmp_path: Path) -> None:
    content = b"kind: CustomResourceDefinition\n"
    path = "files.invalid/crds/a.yaml"
    (tmp_path / "web" / path).parent.mkdir(parents=True)
    (tmp_path / "web" / path).write_bytes(content)
    file = File(f"https://{path}", hashlib.sha256(content).hexdigest(), path, ("a.example.com",))
    web = (tmp_path / "web").as_uri()

    def fetch(target: str, wanted: File) -> int:
        return files.download([wanted], tmp_path / target, mirror=web, cache=str(tmp_path / f"cache-{target}"))

    assert (fetch("one", file), fetch("one", file)) == (1, 0)
    assert (tmp_path / "one" / path).read_bytes() == content
