"""An embedded cluster with an InferencePool, for endpoint pickers that serve it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from inference_platform.models.routes import pool_of
from tests.support.clusters import EmbeddedCluster, running_cluster, wait_for, wait_for_crds
from tests.support.endpoint_picker import EndpointPicker, endpoint_picker

MODEL = {"name": "qwen", "namespace": "models"}

Start = Callable[..., AbstractContextManager[EndpointPicker]]


@pytest.fixture(scope="session")
def pool_cluster(tools_folder: Path) -> Iterator[EmbeddedCluster]:
    """A cluster with the CRDs of the inference extension, a namespace, and the pool that KServe would make."""
    with running_cluster(f"epp-{os.getpid()}", tools_folder) as cluster:
        for path in sorted((tools_folder / "crds" / "inference-extension").glob("*.json")):
            cluster.do("apply", "--server-side", "--filename", str(path))
        wait_for_crds(cluster, "--all")
        kinds = "inferencepools.inference.networking.k8s.io,inferenceobjectives,inferencemodelrewrites"
        wait_for("the kinds to be served", lambda: cluster.kubectl("get", kinds, "--all-namespaces").returncode == 0)
        cluster.do("create", "namespace", MODEL["namespace"])
        cluster.do("apply", "--filename", "-", stdin=json.dumps(_pool()))
        yield cluster


@pytest.fixture
def start(pool_cluster: EmbeddedCluster, tmp_path: Path) -> Start:
    """Starts the real endpoint picker for the pool with a configuration."""

    def with_config(config: Mapping[str, Any], *flags: str) -> AbstractContextManager[EndpointPicker]:
        return endpoint_picker(
            pool_cluster.tools,
            pool_cluster.paths.kubeconfig,
            config,
            tmp_path,
            pool=pool_of(MODEL),
            namespace=MODEL["namespace"],
            flags=flags,
        )

    return with_config


def _pool() -> dict[str, Any]:
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": pool_of(MODEL), "namespace": MODEL["namespace"]},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": MODEL["name"]}},
            "targetPorts": [{"number": 8000}],
            "endpointPickerRef": {
                "kind": "Service",
                "name": f"{MODEL['name']}-epp-service",
                "port": {"number": 9002},
                "failureMode": "FailOpen",
            },
        },
    }
