"""The credentials of the pull secret reach the Secrets made for them, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
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


@pytest.mark.usefixtures("verbose")
def test_no_temporary_file_and_no_cache_holds_it(aws: Installation, words: list[str]) -> None:
    folder = of_the_runs(aws)
    assert Path(aws.environment["ANSIBLE_LOCAL_TEMP"]).is_dir(), "the runs must have used their folders"
    assert found_in_files(folder, words) == []


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


# ---- every pod, and other credentials ---------------------------------------------------------------------


def test_every_pod_of_the_platform_and_of_models_may_pull_with_it(aws: Installation) -> None:
    spaces = {
        item["metadata"]["namespace"] for item in aws.cluster.objects("secrets") if item["metadata"]["name"] == NAME
    }
    assert {"models", "redhat-ods-applications", "cert-manager"} <= spaces
    pods = [item for item in aws.cluster.objects("pods") if item["metadata"]["namespace"] in spaces]
    assert len(pods) > 10
    without = [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in pods
        if NAME not in [item["name"] for item in pod["spec"].get("imagePullSecrets", [])]
    ]
    assert without == []


@pytest.fixture(scope="module")
def restored(aws: Installation) -> Iterator[None]:
    """Ends with the credentials that the cluster had before."""
    yield
    assert aws.again("--tags", "namespaces,models").exit_code == 0


@pytest.mark.usefixtures("restored")
def test_changed_credentials_reach_every_copy_with_one_write_each(aws: Installation, tmp_path: Path) -> None:
    file, changed = tmp_path / "auth.json", other_credentials("first")
    file.write_text(changed, encoding="utf-8")
    copies = set(contents(aws))
    mark = aws.audit_mark()
    run = aws.again("--tags", "namespaces,models", "--diff", variables={"pull_secret_file": str(file)})
    assert run.exit_code == 0, run.output
    assert set(contents(aws).values()) == {changed}
    writes = [request for request in mark.installer_requests() if request.is_write and not request.is_of_the_lock]
    assert sorted(request.uri.split("?")[0] for request in writes) == sorted(
        f"/api/v1/namespaces/{space}/secrets/{NAME}" for space in copies
    )
    assert found_in(run.output, words_of(changed)) == []
    mark = aws.audit_mark()
    assert aws.again("--tags", "namespaces,models", variables={"pull_secret_file": str(file)}).recap["changed"] == 0
    assert mark.installer_writes() == []


@pytest.mark.usefixtures("restored")
def test_credentials_are_taken_from_a_secret_of_the_cluster_and_shown_nowhere(aws: Installation) -> None:
    content = other_credentials("second")
    put_source(aws, content)
    source = {"pull_secret_file": "", "pull_secret_from": {"namespace": "vault", "name": "registry"}}
    run = aws.again("--tags", "namespaces,models", "--diff", "-vvv", variables=source)
    assert run.exit_code == 0, run.output
    assert set(contents(aws).values()) == {content}
    put_source(aws, other_credentials("third"))
    run_of_rotation = aws.again("--tags", "namespaces,models", variables=source)
    assert run_of_rotation.recap["changed"] > 0
    assert set(contents(aws).values()) == {other_credentials("third")}
    words = [*words_of(content), *words_of(other_credentials("third"))]
    assert found_in(run.output + run_of_rotation.output, words) == []
    assert found_in_files(REPOSITORY / "build", words) == []


@pytest.mark.usefixtures("restored")
def test_credentials_of_the_environment_reach_every_copy_and_no_file(aws: Installation) -> None:
    content = other_credentials("fourth")
    run = aws.again(
        *("--tags", "namespaces,models", "--diff", "-vvvv"),
        variables={"pull_secret_file": ""},
        environment={"DOCKER_AUTH_CONFIG": content},
    )
    assert run.exit_code == 0, run.output
    assert set(contents(aws).values()) == {content}
    assert found_in(run.output, words_of(content)) == []
    for folder in (REPOSITORY / "build", of_the_runs(aws)):
        assert found_in_files(folder, words_of(content)) == [], folder


@pytest.mark.usefixtures("restored")
def test_a_secret_that_is_not_there_is_told_before_anything_is_written(aws: Installation) -> None:
    mark = aws.audit_mark()
    source = {"pull_secret_file": "", "pull_secret_from": {"namespace": "vault", "name": "other"}}
    run = aws.again(variables=source)
    assert run.exit_code != 0
    assert "IP-PRE-023" in run.output
    assert "Secret vault/other, found none" in run.text
    assert mark.installer_writes() == []


def of_the_runs(aws: Installation) -> Path:
    """The folder of all temporary files and caches of its runs."""
    return Path(aws.environment["TMPDIR"]).parent


def contents(aws: Installation) -> dict[str, str]:
    """The content of every copy, by namespace."""
    return {
        item["metadata"]["namespace"]: base64.b64decode(item["data"][".dockerconfigjson"]).decode()
        for item in aws.cluster.objects("secrets", "--field-selector", f"metadata.name={NAME}")
    }


def other_credentials(password: str) -> str:
    auth = base64.b64encode(f"somebody:{password}-of-a-scenario".encode()).decode()
    return json.dumps({"auths": {"registry.redhat.io": {"auth": auth}}})


def words_of(content: str) -> list[str]:
    """The password and its encoding; the encodings of the whole are those of `pull_secret_words`."""
    auth = str(json.loads(content)["auths"]["registry.redhat.io"]["auth"])
    return [base64.b64decode(auth).decode().partition(":")[2], auth, base64.b64encode(content.encode()).decode()]


def put_source(aws: Installation, content: str) -> None:
    """The Secret vault/registry, made or changed as its owner does."""
    encoded = base64.b64encode(content.encode()).decode()
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vault"}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "registry", "namespace": "vault"},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": encoded},
        },
    ]
    for obj in objects:
        aws.cluster.do("apply", "--server-side", "--filename", "-", stdin=json.dumps(obj))


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
