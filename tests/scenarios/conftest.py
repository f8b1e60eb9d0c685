"""Installed clusters that the scenarios share, fresh ones for those that break something, evidence for failures."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import pytest

from tests.support import evidence
from tests.support.audit import AuditMark
from tests.support.clusters import RUNNING, EmbeddedCluster, running_cluster
from tests.support.playbook import REPOSITORY, Project, Run
from tests.support.processes import ProcessWatch

INVENTORIES = REPOSITORY / "inventories"
#: How the plan that a run shows begins.
PLAN = r"Platform +release \d"


@dataclass(frozen=True)
class Installation:
    """A cluster on which site.yml ran once: how the run went, what it wrote, and how to run it again.

    report_folder  where the run left report.json and report.html
    watch          the command lines and environments of all processes during the run
    before         the audit log before the run
    early          what the installer wrote before the run had shown its plan
    environment    variables of the process of every run
    project        the checkout that runs
    """

    cluster: EmbeddedCluster
    run: Run
    report_folder: Path
    watch: ProcessWatch
    before: AuditMark
    early: list[str]
    arguments: tuple[str, ...]
    variables: dict[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)
    project: Project = Project()  # noqa: RUF009 - immutable

    def again(
        self,
        *arguments: str,
        variables: dict[str, object] | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Run:
        """Runs site.yml once more, with more arguments, other variables, or more in the environment."""
        together = {**self.variables, **(variables or {})}
        return self.project.play(
            *self.arguments,
            *arguments,
            cluster=self.cluster.paths.name,
            variables=together,
            environment={**self.environment, **environment},
        )

    def verify(self) -> Run:
        """Runs playbooks/verify.yml as site.yml ran."""
        return self.project.play(
            *("playbooks/verify.yml" if word == "site.yml" else word for word in self.arguments),
            cluster=self.cluster.paths.name,
            variables=self.variables,
            environment=self.environment,
        )

    def audit_mark(self) -> AuditMark:
        """This moment in the audit log."""
        return AuditMark.now(self.cluster.paths.audit_log)


class Start(Protocol):
    """Starts a cluster whose name ends with the given word and the number of this process."""

    def __call__(self, word: str, flavour: str = "aws") -> AbstractContextManager[EmbeddedCluster]: ...


@pytest.fixture(scope="session")
def start_cluster(tools_folder: Path) -> Start:
    """See Start; the flavour says which provider's nodes the cluster shows."""
    return lambda word, flavour="aws": running_cluster(f"test-{word}-{os.getpid()}", tools_folder, flavour)


@pytest.fixture(scope="session")
def aws(start_cluster: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`ansible-playbook -i inventories/local site.yml` on a cluster of its own, with folders of its own."""
    with start_cluster("aws") as cluster:
        folder = tmp_path_factory.mktemp("aws")
        places = own_folders(folder / "files")
        yield _install(cluster, ("-i", "inventories/local", "site.yml"), {}, folder, places)


def own_folders(folder: Path) -> dict[str, str]:
    """Variables that put the temporary files and caches of a run, of Ansible and of helm, below a folder."""
    names = ("TMPDIR", "ANSIBLE_HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
    places = {name: folder / name.lower() for name in names}
    places["TMPDIR"].mkdir(parents=True)
    return {name: str(place) for name, place in places.items()} | {
        "ANSIBLE_LOCAL_TEMP": str(places["ANSIBLE_HOME"] / "local")
    }


@pytest.fixture(scope="module")
def azure(start_cluster: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`ansible-playbook -i inventories/aks site.yml` on a cluster of its own."""
    with start_cluster("azure", "azure") as cluster:
        yield install_sample(cluster, "aks", tmp_path_factory.mktemp("azure"))


@pytest.fixture(scope="session")
def empty(start_cluster: Start) -> Iterator[EmbeddedCluster]:
    """A cluster on which nothing is ever written."""
    with start_cluster("empty") as cluster:
        yield cluster


@pytest.fixture
def fresh(start_cluster: Start) -> Iterator[EmbeddedCluster]:
    """An empty cluster for this test alone."""
    with start_cluster("fresh") as cluster:
        yield cluster


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A copy of inventories/local for a test to change."""
    return Path(shutil.copytree(INVENTORIES / "local", tmp_path / "inventories" / "mine"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project for a test to change."""
    return Project.copy_to(tmp_path / "project")


def run_on(
    cluster: EmbeddedCluster,
    *arguments: str,
    playbook: str = "site.yml",
    inventory: Path | str = "inventories/local",
    project: Project = Project(),  # noqa: B008 - immutable
    variables: dict[str, object] | None = None,
) -> Run:
    """Runs a playbook of a project on a cluster, as inventories/local or a copy of it says."""
    return project.play("-i", str(inventory), playbook, *arguments, cluster=cluster.paths.name, variables=variables)


def on_embedded_cluster(cluster: EmbeddedCluster) -> dict[str, object]:
    """What inventories/local says about the machine it runs on, for inventories that say something else."""
    return {
        "kubeconfig": str(cluster.paths.kubeconfig),
        "pull_secret_file": str(cluster.paths.pull_secret),
        "crd_directory": str(cluster.tools / "crds"),
        "platform_helm": str(cluster.tools / "bin" / "helm"),
    }


def pull_secret_words(cluster: EmbeddedCluster) -> list[str]:
    """Every form in which the credentials of a cluster's pull secret could appear somewhere."""
    text = cluster.paths.pull_secret.read_text(encoding="utf-8")
    auth = next(iter(json.loads(text)["auths"].values()))["auth"]
    password = base64.b64decode(auth).decode().partition(":")[2]
    # The middle of each encoding: base64 of a longer text holds it whole only at one of three offsets.
    return [password, auth, *(_base64_core(auth, shift) for shift in range(3))]


def _base64_core(text: str, shift: int) -> str:
    """The part of base64(anything + text + anything) that only `text` decides, if it begins at this offset mod 3."""
    encoded = base64.b64encode(b"\0" * shift + text.encode()).decode()
    return encoded[4 if shift else 0 : len(encoded) - 4]


def install_sample(
    cluster: EmbeddedCluster,
    inventory: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    project: Project = Project(),  # noqa: B008 - immutable
    **settings: object,
) -> Installation:
    """Installs a sample inventory as it is, but for where its files are and the given settings."""
    variables = on_embedded_cluster(cluster) | settings
    arguments = ("-i", f"inventories/{inventory}", "site.yml")
    return _install(cluster, arguments, variables, folder, environment or {}, project)


def install_without_inventory(
    cluster: EmbeddedCluster,
    models: Path,
    folder: Path,
    environment: Mapping[str, str],
    **settings: object,
) -> Installation:
    """`ansible-playbook site.yml -e @MODELS` with what kubectl and podman would use; see inventories/current."""
    variables = on_embedded_cluster(cluster) | settings
    files = {"KUBECONFIG": "kubeconfig", "REGISTRY_AUTH_FILE": "pull_secret_file"}
    of_the_user = {name: str(variables.pop(setting)) for name, setting in files.items()}
    return _install(cluster, ("site.yml", "-e", f"@{models}"), variables, folder, {**environment, **of_the_user})


def _install(
    cluster: EmbeddedCluster,
    arguments: tuple[str, ...],
    variables: dict[str, object],
    folder: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
    project: Project = Project(),  # noqa: B008 - immutable
) -> Installation:
    folder.mkdir(parents=True, exist_ok=True)  # Ansible makes no folder for its log
    before = AuditMark.now(cluster.paths.audit_log)
    with ProcessWatch() as watch:
        run = project.play(
            *arguments,
            cluster=cluster.paths.name,
            variables=variables,
            environment={**environment, "ANSIBLE_LOG_PATH": str(folder / "ansible.log")},
        )
    assert run.exit_code == 0, str(run)
    # The next run on any cluster writes its report to the same place.
    inventory = arguments[arguments.index("-i") + 1] if "-i" in arguments else "current"
    written = project.root / "build" / Path(inventory).name
    report = Path(shutil.copytree(written, folder / "report"))
    planned = said_at(folder / "ansible.log", PLAN)
    early = [str(request) for request in before.installer_requests() if request.is_write and request.at < planned]
    return Installation(cluster, run, report, watch, before, early, arguments, variables, environment, project)


def said_at(log: Path, pattern: str) -> datetime:
    """When a run said something for the first time, by the log that it kept (ANSIBLE_LOG_PATH)."""
    text = log.read_text(encoding="utf-8")
    found = re.search(pattern, text)
    assert found, f"{log}: nothing like {pattern!r}"
    # A message of several lines has its time before the first.
    stamp = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3})", text[: found.start()], re.MULTILINE)[-1]
    return datetime.fromisoformat(".".join(stamp)).astimezone()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when in ("setup", "call"):
        folder = evidence.collect(item.name, _clusters_of(item), report.longreprtext)
        report.sections.append(("evidence", f"objects, events, logs and runs: {folder}"))
    return report


def _clusters_of(item: pytest.Item) -> list[EmbeddedCluster]:
    """The clusters a test works on; for a failed fixture, all that run."""
    values = [getattr(value, "cluster", value) for value in getattr(item, "funcargs", {}).values()]
    used = [value for value in values if isinstance(value, EmbeddedCluster)]
    return used or list(RUNNING.values())
