"""Mistakes stop a run before its first write, with a message that says where, what, and what to do."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.scenarios.conftest import on_embedded_cluster, run_on
from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster
from tests.support.playbook import Project, Run, replace_once

pytestmark = pytest.mark.cluster

VARIABLES = Path("group_vars/all")
CLUSTER, LAYERS, MODELS = "10-cluster.yml", "20-layers.yml", "30-models.yml"


@dataclass(frozen=True)
class Mistake:
    """One edit of inventories/local, and what the message about it must say.

    file, old, new  `old` stands once in the file and becomes `new`
    at              the last line of `new` in which this stands is the one to be named; None: only the file's path
    where           path of the wrong value, as the message gives it
    """

    file: str
    old: str
    new: str
    where: str
    expected: str
    found: str
    remedy: str
    at: str | None = None

    def make(self, inventory: Path) -> None:
        replace_once(inventory / VARIABLES / self.file, self.old, self.new)

    def place(self, inventory: Path) -> str:
        """ "<file>:<line> <path>" of the wrong value."""
        file = inventory / VARIABLES / self.file
        lines = file.read_text(encoding="utf-8").splitlines()
        line = max(number for number, text in enumerate(lines, start=1) if (self.at or self.new) in text)
        return f"{VARIABLES / self.file}:{line} {self.where}"


MISTAKES = {
    "an unknown key": Mistake(
        CLUSTER,
        "provider: aws",
        "provider: aws\nprovidr: aws",
        "providr",
        expected="a variable of the platform",
        found='"providr"',
        remedy="Did you mean provider?",
        at="providr:",
    ),
    "an unknown key of a model": Mistake(
        MODELS,
        "      count: 1\n",
        "      cuont: 1\n",
        "models[0].gpu.cuont (qwen-basic)",
        expected="the key count",
        found='"cuont"',
        remedy="Did you mean count?",
        at="cuont:",
    ),
    "a value of the wrong type": Mistake(
        MODELS,
        "models_wait: true",
        "models_wait: 3",
        "models_wait",
        expected="true or false",
        found="3 (a whole number)",
        remedy="Set models_wait to true or false.",
    ),
    "a value of a model of the wrong type": Mistake(
        MODELS,
        "    replicas: 2",
        "    replicas: two",
        "models[0].replicas (qwen-basic)",
        expected="a whole number",
        found='"two" (a text)',
        remedy="Set replicas to a whole number",
    ),
    "an input of a role of the wrong type": Mistake(
        LAYERS,
        "sail_wait_seconds: 120",
        "sail_wait_seconds: soon",
        "sail_wait_seconds",
        expected="a whole number",
        found='"soon"',
        remedy="Correct sail_wait_seconds, or remove it to take the default (300).",
    ),
    "an unknown release": Mistake(
        CLUSTER,
        'platform_release: "3.4"',
        'platform_release: "9.9"',
        "platform_release",
        expected="a release of the catalogue: 3.4",
        found='"9.9"',
        remedy="Set platform_release to 3.4 or 3.5.",
    ),
    "an unknown provider": Mistake(
        CLUSTER,
        "provider: aws",
        "provider: awz",
        "provider",
        expected="aws",
        found='"awz"',
        remedy="aws",
    ),
    "a missing pull secret file": Mistake(
        CLUSTER,
        'pull_secret_file: "{{ kubeconfig | dirname }}/pull-secret.json"',
        "pull_secret_file: /nowhere/pull-secret.json",
        "pull_secret_file",
        expected="a readable file",
        found='"/nowhere/pull-secret.json": No such file or directory',
        remedy="Correct the path in pull_secret_file",
    ),
    "a model listed twice": Mistake(
        MODELS,
        "models:\n",
        "models:\n  - {name: qwen-basic, uri: hf://Qwen/Qwen2.5-0.5B-Instruct, gpu: {count: 1}}\n",
        "models[1].name (qwen-basic)",
        expected="a name that is used once in namespace models",
        found='"qwen-basic", also the name of models[0]',
        remedy="Rename one of the two",
        at="- name: qwen-basic",
    ),
    "a GPU that no node has": Mistake(
        MODELS,
        "product: NVIDIA-L4 ",
        "product: NVIDIA-H200 ",
        "models[0].gpu (qwen-basic)",
        expected="a node with 1 x NVIDIA-H200",
        found="nodes with 1 x NVIDIA-L4",
        remedy="choose a gpu.product that the nodes have",
        at="gpu:",
    ),
    "a Secret that does not exist": Mistake(
        MODELS,
        "    replicas: 2",
        "    replicas: 2\n    credentials_secret: hf-token",
        "models[0].credentials_secret (qwen-basic)",
        expected="a Secret of namespace models",
        found='"hf-token", which does not exist',
        remedy="Make the namespace models, and it in there.",
        at="credentials_secret:",
    ),
    "a gateway that does not exist": Mistake(
        MODELS,
        "    replicas: 2",
        "    replicas: 2\n    router: {gateways: [{name: mine, namespace: edge}]}",
        "models[0].router.gateways[0] (qwen-basic)",
        expected="a Gateway: ",
        found="edge/mine",
        remedy="Correct name and namespace, or make the Gateway.",
        at="router:",
    ),
    "more GPUs than any node has": Mistake(
        MODELS,
        "      count: 1\n",
        "      count: 3\n",
        "models[0].gpu (qwen-basic)",
        expected="a node with 3 x NVIDIA-L4",
        found="nodes with 1 x NVIDIA-L4",
        remedy="Lower gpu.count",
        at="gpu:",
    ),
}


@pytest.fixture(autouse=True)
def nothing_is_written(empty: EmbeddedCluster) -> Iterator[None]:
    """Whatever a test of this file runs: the installer writes nothing."""
    mark = AuditMark.now(empty.paths.audit_log)
    yield
    assert mark.installer_writes() == []


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_stops_the_run_with_place_expectation_finding_and_remedy(
    empty: EmbeddedCluster, inventory: Path, name: str
) -> None:
    mistake = MISTAKES[name]
    mistake.make(inventory)
    run = play(empty, inventory)
    assert stopped(run), run.output
    assert says(run, mistake, inventory) == [], run.output
    assert run.output.count("expected ") == 1, "one mistake, one finding:\n" + run.output


def test_mistakes_in_several_files_are_all_listed_at_once(empty: EmbeddedCluster, inventory: Path) -> None:
    names = (
        "an unknown key",
        "an input of a role of the wrong type",
        "a missing pull secret file",
        "an unknown key of a model",
        "a value of a model of the wrong type",
    )
    for name in names:
        MISTAKES[name].make(inventory)
    run = play(empty, inventory)
    assert stopped(run), run.output
    assert {name: says(run, MISTAKES[name], inventory) for name in names} == {name: [] for name in names}, run.output
    assert "5 mistakes in the inventory; nothing was written." in run.output


def test_models_before_the_platform_are_refused_with_what_is_missing(empty: EmbeddedCluster) -> None:
    run = run_on(empty, playbook="playbooks/models.yml")
    assert stopped(run), run.output
    for words in (
        f"{VARIABLES / MODELS}:",
        "expected    the CRDs inferencepools.inference.networking.k8s.io",
        "expected    a Gateway: none exists",
    ):
        assert words in run.output


def test_an_unknown_release_does_not_hide_the_mistakes_of_models(empty: EmbeddedCluster, inventory: Path) -> None:
    names = ("an unknown release", "an unknown key of a model")
    for name in names:
        MISTAKES[name].make(inventory)
    run = play(empty, inventory)
    assert stopped(run), run.output
    assert {name: says(run, MISTAKES[name], inventory) for name in names} == {name: [] for name in names}, run.output


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("not json at all", "with something else"),
        ('{"auths": []}', "with something else"),
        ('{"auths": {"quay.io": {"auth": "dXNlcjpwYXNzd29yZA=="}}}', "with credentials for quay.io"),
        ('{"auths": {"registry.redhat.io": {"auth": "@@@"}}}', "with credentials for registry.redhat.io"),
    ],
    ids=["text", "wrong-shape", "other-registry", "not-base64"],
)
def test_a_malformed_pull_secret_stops_the_run_and_its_content_is_not_shown(
    empty: EmbeddedCluster, inventory: Path, tmp_path: Path, content: str, found: str
) -> None:
    file = tmp_path / "pull-secret.json"
    file.write_text(content, encoding="utf-8")
    replace_once(
        inventory / VARIABLES / CLUSTER,
        'pull_secret_file: "{{ kubeconfig | dirname }}/pull-secret.json"',
        f"pull_secret_file: {file}",
    )
    run = play(empty, inventory)
    assert stopped(run), run.output
    for words in (f"{VARIABLES / CLUSTER}:", "pull_secret_file", f'found "{file}" {found}', "podman login --authfile"):
        assert words in run.text
    for secret in ("dXNlcjpwYXNzd29yZA==", "@@@", "not json at all"):
        assert secret not in run.output


def test_a_file_that_is_no_yaml_is_named_with_its_line(empty: EmbeddedCluster, inventory: Path) -> None:
    file = inventory / VARIABLES / MODELS
    replace_once(file, "    replicas: 2\n", "   replicas: 2\n")
    line = file.read_text(encoding="utf-8").splitlines().index("   replicas: 2") + 1
    run = play(empty, inventory)
    assert run.exit_code != 0
    assert f"{VARIABLES / MODELS}:{line}" in run.output


def test_a_server_that_does_not_answer_stops_the_run(empty: EmbeddedCluster, tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{closed.getsockname()[1]}"
        kubeconfig = changed_kubeconfig(empty, tmp_path, server=server)
        run = play_with(empty, kubeconfig)
    assert stopped(run), run.output
    for words in (
        server,
        "cannot be reached",
        "connection refused",
        str(kubeconfig),
        "Check that the cluster is running",
    ):
        assert words in run.text


def test_a_missing_kubeconfig_stops_the_run(empty: EmbeddedCluster, tmp_path: Path) -> None:
    run = play_with(empty, tmp_path / "nowhere")
    assert stopped(run), run.output
    for words in (str(tmp_path / "nowhere"), "No such file or directory", "Check the path"):
        assert words in run.text


@pytest.mark.parametrize(("kind", "advice"), [("made up", "log in again"), ("expired", "The token expired at 20")])
def test_a_token_that_is_not_accepted_stops_the_run(
    empty: EmbeddedCluster, tmp_path: Path, kind: str, advice: str
) -> None:
    token = "made-up-token" if kind == "made up" else expired_token(empty)
    run = play_with(empty, changed_kubeconfig(empty, tmp_path, user={"token": token}))
    assert stopped(run), run.output
    context = yaml.safe_load(empty.paths.kubeconfig.read_text(encoding="utf-8"))["current-context"]
    for words in ("rejected the credentials", "401", context, str(tmp_path / "kubeconfig"), advice):
        assert words in run.text
    assert token not in run.output


def test_a_user_without_the_rights_to_install_stops_the_run(empty: EmbeddedCluster, tmp_path: Path) -> None:
    token = empty.do("create", "token", "default", "--namespace", "default").strip()
    run = play_with(empty, changed_kubeconfig(empty, tmp_path, user={"token": token}))
    assert stopped(run), run.output
    for words in ("cluster-admin", "customresourcedefinitions", str(tmp_path / "kubeconfig")):
        assert words in run.text
    assert token not in run.output


# ---- running and reading ----------------------------------------------------------------------------------


def play(cluster: EmbeddedCluster, inventory: Path) -> Run:
    return Project().play("-i", str(inventory), "site.yml", cluster=cluster.paths.name, seconds=180)


def play_with(cluster: EmbeddedCluster, kubeconfig: Path) -> Run:
    """A run with the variables of inventories/local and another kubeconfig."""
    variables = {**on_embedded_cluster(cluster), "kubeconfig": str(kubeconfig)}
    return Project().play("-i", "inventories/local", "site.yml", variables=variables, seconds=180)


def stopped(run: Run) -> bool:
    """Whether the run failed by itself in its first section, which only looks."""
    return run.exit_code == 2 and run.recap["failed"] == 1 and run.recap["changed"] == 0 and "[1/" not in run.output


def says(run: Run, mistake: Mistake, inventory: Path) -> list[str]:
    """What the message about a mistake leaves out."""
    block = run.output.partition(mistake.place(inventory))[2]
    if not block:
        return [mistake.place(inventory)]
    finding = [" ".join(line.split()) for line in block.splitlines()[1:4]]
    wanted = [("expected", mistake.expected), ("found", mistake.found), ("what to do", mistake.remedy)]
    return [
        f"{label}: {text}"
        for line, (label, text) in zip(finding, wanted, strict=True)
        if not (line.startswith(label) and text in line)
    ]


def changed_kubeconfig(
    cluster: EmbeddedCluster, folder: Path, *, server: str | None = None, user: dict[str, Any] | None = None
) -> Path:
    """A copy of the cluster's kubeconfig with another server or another login."""
    content = yaml.safe_load(cluster.paths.kubeconfig.read_text(encoding="utf-8"))
    if server:
        content["clusters"][0]["cluster"]["server"] = server
    if user:
        content["users"][0]["user"] = user
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def expired_token(cluster: EmbeddedCluster) -> str:
    """A token of ServiceAccount default/default that the cluster signed and that ended a minute ago.

    The API server gives none shorter than ten minutes, so it is made as the API server makes them.
    """
    valid = cluster.do("create", "token", "default", "--namespace", "default").strip()
    header, claims, _ = valid.split(".")
    content = json.loads(base64.urlsafe_b64decode(claims + "=="))
    past = int(time.time()) - 60
    content |= {"iat": past - 600, "nbf": past - 600, "exp": past}
    signed = f"{header}.{_encoded(json.dumps(content).encode())}"
    return f"{signed}.{_encoded(_signature(cluster.paths.pki / 'service-account.key', signed.encode()))}"


def _signature(key_file: Path, text: bytes) -> bytes:
    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    first, second = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return first.to_bytes(32) + second.to_bytes(32)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
