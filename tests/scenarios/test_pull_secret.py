"""The credentials of the pull secret reach the Secrets made for them, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from tests.scenarios.conftest import Installation, pull_secret_words
from tests.support.clusters import Object
from tests.support.playbook import REPOSITORY, Run

pytestmark = pytest.mark.cluster

NAME = "rhai-pull-secret"
#: Files of a cluster's folder in which the credentials belong: its own copy of the file, and the database.
BELONGS = ("pull-secret.json", "etcd")


@pytest.fixture(scope="module")
def words(aws: Installation) -> list[str]:
    """What is searched for: it must be found where it belongs, or the searches below prove nothing."""
    found = pull_secret_words(aws.cluster)
    secret = aws.cluster.get("secret", NAME, "redhat-ods-applications")
    content = base64.b64decode(secret["data"][".dockerconfigjson"]).decode()
    assert {word for word in found if word in content} == {found[1]}
    assert any(word in secret["data"][".dockerconfigjson"] for word in found[2:])
    return found


@pytest.fixture(scope="module")
def verbose(aws: Installation) -> Run:
    """A run that shows all it can: every difference, and arguments and results of all tasks."""
    return aws.again("--check", "--diff", "-vvvv")


def test_the_secret_holds_the_file_as_it_is(aws: Installation) -> None:
    secret = aws.cluster.get("secret", NAME, "redhat-ods-applications")
    stored = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert stored == json.loads(aws.cluster.paths.pull_secret.read_text(encoding="utf-8"))


def test_no_output_shows_it(aws: Installation, verbose: Run, words: list[str]) -> None:
    assert found_in(aws.run.output, words) == []
    assert found_in(verbose.output, words) == []


def test_no_report_shows_it(aws: Installation, words: list[str]) -> None:
    assert found_in_files(aws.report_folder, words) == []


@pytest.mark.usefixtures("verbose")
def test_nothing_in_the_build_folder_shows_it(words: list[str]) -> None:
    assert found_in_files(REPOSITORY / "build", words) == []


def test_no_command_line_and_no_environment_showed_it_while_the_run_went_on(
    aws: Installation, words: list[str]
) -> None:
    assert any("helm upgrade --install" in text for text in aws.watch.seen), "the watch must have seen helm"
    assert [pid for text, pid in aws.watch.seen.items() if found_in(text, words)] == []


def test_no_log_and_no_file_of_the_cluster_shows_it(aws: Installation, words: list[str]) -> None:
    shown = found_in_files(aws.cluster.paths.root, words)
    assert [path for path in shown if path.relative_to(aws.cluster.paths.root).parts[0] not in BELONGS] == []


def test_no_helm_release_holds_it(aws: Installation, words: list[str]) -> None:
    releases = aws.cluster.objects("secrets", "--selector", "owner=helm")
    assert {item["metadata"]["labels"]["name"] for item in releases} >= {"cert-manager-operator", "rhai-operator"}
    assert [item["metadata"]["name"] for item in releases if found_in(release_text(item), words)] == []


def test_no_other_object_holds_it(aws: Installation, words: list[str]) -> None:
    kinds = aws.cluster.do("api-resources", "--verbs", "list", "--output", "name").split()
    items = aws.cluster.objects(",".join(sorted(kinds)))
    holders = {(item["kind"], item["metadata"]["name"]) for item in items if found_in(json.dumps(item), words)}
    assert holders == {("Secret", NAME)}


# ---- searching --------------------------------------------------------------------------------------------


def found_in(text: str, words: list[str]) -> list[str]:
    return [word for word in words if word in text]


def found_in_files(folder: Path, words: list[str]) -> list[Path]:
    """Files below a folder that hold one of the words."""
    encoded = [word.encode() for word in words]
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in files if any(word in path.read_bytes() for word in encoded)]


def release_text(secret: Object) -> str:
    """What Helm keeps of a release, unpacked: base64 of base64 of gzip of JSON."""
    return gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))).decode()
