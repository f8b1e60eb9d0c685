"""Whatever schema and rules accept, a real API server with the real CRDs accepts unchanged.

The same random entries as in tests/unit/models/test_properties.py, fewer of them. What only a server judges is judged
here: CEL rules, uniqueness of keys in lists, names and labels of objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embedded_cluster.standins.objects import contains
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from inference_platform.cluster.client import Cluster
from inference_platform.findings import errors
from inference_platform.models import render
from inference_platform.platform import resolve
from tests.support.clusters import running_cluster, wait_for
from tests.support.crd_schema import UPSTREAM_VARIABLE, CrdIndex, upstream_crds, upstream_files
from tests.support.model_values import NAMES, NAMESPACES, entries, groups, routes
from tests.unit.models.cases import MODEL_CASES, model

pytestmark = pytest.mark.cluster

PLATFORM = resolve({"platform_release": "3.4", "provider": "aws"}).to_dict()
KNOWN = [model(**case.good) for cases in MODEL_CASES.values() for case in cases]
GROUPS = ("serving.kserve.io", "gateway.networking.k8s.io", "inference.networking")

unhurried = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


class Server:
    """An API server with the real CRDs that models become."""

    def __init__(self, cluster: Cluster, index: CrdIndex) -> None:
        self.cluster = cluster
        self.index = index
        self.taken = 0

    def takes(self, objects: list[dict[str, Any]]) -> None:
        """Fails unless the server would store every object of its kinds as it is."""
        for obj in objects:
            if self.index.knows(obj):
                stored = self.cluster.apply(obj, dry_run=True)
                assert contains(stored, obj), f"{obj['kind']} {obj['metadata']['name']} was changed: {stored}"
                self.taken += 1


@pytest.fixture(scope="module")
def server(tools_folder: Path) -> Iterator[Server]:
    folder = upstream_crds()
    if folder is None:
        pytest.skip(f"no real CRDs to install: expected in ../shared/upstream/crds or ${UPSTREAM_VARIABLE}")
    files = {name: path for name, path in upstream_files(folder).items() if any(group in name for group in GROUPS)}
    with running_cluster(f"model-properties-{os.getpid()}", tools_folder) as running:
        for path in files.values():
            running.do("apply", "--server-side", "--filename", str(path))
        established = ("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in files))
        wait_for("CRDs to be established", lambda: running.kubectl(*established).returncode == 0)
        wait_for("their kinds to be served", lambda: running.kubectl("get", ",".join(files)).returncode == 0)
        for namespace in sorted({*NAMESPACES, *(entry["namespace"] for entry in KNOWN)}):
            running.do("create", "namespace", namespace)
        yield Server(Cluster.connect(str(running.paths.kubeconfig), None), CrdIndex.from_files(files.values()))


def test_the_server_takes_what_is_known_to_be_right(server: Server) -> None:
    for entry in KNOWN:
        server.takes(render([entry], {}, PLATFORM).objects)


def test_the_server_takes_every_entry_that_is_not_refused(server: Server) -> None:
    @settings(unhurried, max_examples=80)
    @given(entry=entries(KNOWN))
    def try_one(entry: dict[str, Any]) -> None:
        result = render([entry], {}, PLATFORM)
        if not errors(result.findings):
            server.takes(result.objects)

    before = server.taken
    try_one()
    assert server.taken - before > 20


def test_the_server_takes_every_route_and_group_that_is_not_refused(server: Server) -> None:
    @settings(unhurried, max_examples=80)
    @given(found=some.lists(routes(), max_size=1), described=some.lists(groups(), max_size=1))
    def try_one(found: list[Any], described: list[Any]) -> None:
        traffic = {"traffic": {"group": "chat", "weight": 50}} if described else {}
        models = [model(name=name, served_name="chat", **traffic) for name in NAMES]
        server.takes(render(models, {}, PLATFORM, routes=found, groups=described).objects)

    before = server.taken
    try_one()
    assert server.taken - before > 20
