"""The cluster under test, and one test for each thing that must be there.

Nothing here is collected unless this folder is named on the command line.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.errors import ClusterError, UnknownKind
from tests.platform.expectations import Expectations
from tests.platform.settings import Settings, SettingsError, from_environment

HERE = Path(__file__).resolve().parent
MODEL_KIND = ("serving.kserve.io/v1alpha2", "LLMInferenceService")
MODEL_LABEL = "inference-platform.io/model"
Object = dict[str, Any]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leaves the folder out of `pytest` and `pytest tests`: it needs a cluster to look at."""
    return None if _is_named(config) else True


def pytest_configure(config: pytest.Config) -> None:
    """Ends the session before collection when the environment does not say what to check."""
    if _is_named(config):
        connection()


def _is_named(config: pytest.Config) -> bool:
    paths = (Path(config.invocation_params.dir, argument.split("::")[0]) for argument in config.args)
    return any(path.resolve().is_relative_to(HERE) for path in paths)


@cache
def settings() -> Settings:
    """From the environment; ends the session with a message when it does not say enough."""
    try:
        return from_environment(os.environ)
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from error


@cache
def connection() -> Cluster:
    """One connection for the whole session; ends the session when the cluster cannot be used."""
    try:
        return Cluster.connect(settings().kubeconfig, settings().context)
    except ClusterError as error:
        raise pytest.UsageError(str(error)) from error


def wanted() -> Expectations:
    """What must be there, by the plan."""
    return settings().expected


def _models() -> list[tuple[str, str]]:
    """The models to check: those named in PLATFORM_MODELS, else those on the cluster."""
    named = settings().models
    if named is not None:
        return list(named)
    try:
        found = connection().list(*MODEL_KIND, label_selector=MODEL_LABEL)
    except UnknownKind:
        return []
    except ClusterError as error:
        raise pytest.UsageError(str(error)) from error
    return [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found]


PARAMETERS: dict[str, Any] = {
    "namespace": lambda: [(name, name) for name in wanted().namespaces],
    "secret_namespace": lambda: [(name, name) for name in wanted().with_secret],
    "deployment": lambda: [("/".join(key), key) for key in wanted().deployments],
    "service": lambda: [(f"{entry.namespace}/{entry.name}", entry) for entry in wanted().services],
    "crd": lambda: [(name, name) for name in wanted().crds],
    "gateway_class": lambda: [(name, name) for name in wanted().gateway_classes],
    "model_key": lambda: [("/".join(key), key) for key in _models()],
}
"""Fixture name -> (test id, value) pairs."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per namespace, Deployment, Service, CRD, class and model."""
    for name, entries in PARAMETERS.items():
        if name in metafunc.fixturenames:
            pairs = entries()
            metafunc.parametrize(name, [value for _, value in pairs], ids=[label for label, _ in pairs])


@pytest.fixture(scope="session")
def expected() -> Expectations:
    """What must be there, for values that are not one test each."""
    return wanted()


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster under test."""
    return connection()


@pytest.fixture(scope="session")
def report_folder() -> str:
    """Folder of the last run's report; skips when none was named."""
    folder = settings().report
    if folder is None:
        pytest.skip("PLATFORM_REPORT names no folder with a report.json to compare")
    return folder


@pytest.fixture(scope="session")
def objects(cluster: Cluster) -> Any:
    """Objects by (namespace, name), listed once per kind: objects("apps/v1", "Deployment")."""

    @cache
    def by_key(api_version: str, kind: str) -> dict[tuple[str, str], Object]:
        items = cluster.list(api_version, kind)
        return {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in items}

    return by_key


def condition(item: Object, kind: str) -> str:
    """A status condition as one line: "True", or "False (Reason: message)", or "not reported"."""
    for entry in item.get("status", {}).get("conditions") or []:
        if entry["type"] == kind:
            if entry["status"] == "True":
                return "True"
            return f"{entry['status']} ({entry.get('reason', '')}: {entry.get('message', '')})"
    return "not reported"
