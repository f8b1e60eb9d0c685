"""A cluster that has everything and nothing wrong, for tests to spoil."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inference_platform import platform
from inference_platform.findings import Finding
from inference_platform.preflight import Snapshot, data, outcome
from inference_platform.preflight.examine import decide
from inference_platform.preflight.registry import Scene

Object = dict[str, Any]
RED_HATS_ISTIO = "registry.redhat.io/openshift-service-mesh/istio-pilot-rhel9"
ISTIO = "docker.io/istio/pilot"
CERT_MANAGER = "quay.io/jetstack/cert-manager-controller"


@dataclass
class World:
    """Settings, what a cluster shows, and rendered models."""

    settings: dict[str, Any] = field(default_factory=lambda: {"platform_release": "3.4", "provider": "azure"})
    seen: Snapshot = field(default_factory=lambda: good_cluster())
    models: list[Object] = field(default_factory=list)
    layers: frozenset[str] | None = None

    def outcome(self) -> outcome.Outcome:
        """All checks on it."""
        entries = data.load()
        first = platform.resolve(self.settings).to_dict()
        decisions = decide(self.settings, first, entries["dependencies"], self.seen)
        ownership = {item.name: item.resolved for item in decisions}
        plan = platform.resolve({**self.settings, "ownership": ownership}).to_dict()
        let_go = frozenset(self.settings.get("ownership_let_go", []))
        scales = bool(self.settings.get("node_autoscaling"))
        scene = Scene(self.seen, plan, entries, decisions, let_go, self.models, scales=scales, layers=self.layers)
        return outcome.run(scene, "1.34", [], self.settings.get("preflight_accept", ()))

    def findings(self) -> list[Finding]:
        """What the checks found."""
        return self.outcome().findings

    def codes(self) -> list[tuple[str, str]]:
        """Code and severity of each finding."""
        return [(finding.code, finding.severity) for finding in self.findings()]

    def own(self, **ownership: str) -> None:
        """What the inventory says about ownership."""
        self.settings["ownership"] = ownership

    def add(self, part: str, *objects: Object) -> None:
        """Objects that the cluster has besides."""
        self.seen.parts.setdefault(part, []).extend(objects)

    def decisions(self) -> dict[str, str]:
        """What each dependency became."""
        return {item.name: item.resolved for item in self.outcome().decisions}


def good_cluster() -> Snapshot:
    """Kubernetes 1.34 with a plain node and one with GPUs, and nothing installed."""
    return Snapshot(
        server="https://cluster",
        access="context admin of kubeconfig",
        version={"major": "1", "minor": "34", "gitVersion": "v1.34.4"},
        parts={"nodes": [node("cpu"), node("gpu", gpus=1)]},
    )


def named(kind: str, name: str, namespace: str = "", **more: Any) -> Object:
    """An object with metadata; ``labels`` and ``annotations`` and other metadata go there, other keys on top."""
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {})}
    for key in ("labels", "annotations", "ownerReferences", "managedFields", "deletionTimestamp", "finalizers"):
        if key in more:
            metadata[key] = more.pop(key)
    return {"kind": kind, "metadata": metadata, **more}


def node(name: str, *, gpus: int = 0, ready: bool = True, **more: Any) -> Object:
    """A node; one with GPUs has the driver's label and a taint."""
    found = {"nvidia.com/gpu.product": "NVIDIA-L4"} if gpus else {}
    taints = [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}] if gpus else []
    return {
        **named("Node", name, labels=found),
        "spec": {"taints": taints, **more.get("spec", {})},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "allocatable": {"nvidia.com/gpu": str(gpus)} if gpus else {},
            "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux", **more.get("info", {})},
        },
    }


def deployment(name: str, namespace: str, container: str, image: str, **more: Any) -> Object:
    """A Deployment with one container; ``args`` and ``env`` go to that, the rest to metadata."""
    pod = {"name": container, "image": image, **{key: more.pop(key) for key in ("args", "env") if key in more}}
    return {
        **named("Deployment", name, namespace, **more),
        "spec": {"template": {"spec": {"containers": [pod]}}},
    }


def crds(dependency: str, **more: Any) -> list[Object]:
    """The CRDs by which a dependency is known."""
    names = data.load()["dependencies"][dependency]["crds"]
    return [named("CustomResourceDefinition", name, **more) for name in names]


def gateway_api(version: str, channel: str = "standard", **more: Any) -> list[Object]:
    """CRDs of the Gateway API as its bundles mark them."""
    prefix = "gateway.networking.k8s.io"
    marks = {f"{prefix}/bundle-version": version, f"{prefix}/channel": channel}
    return crds("gateway_api", annotations=marks, **more)


def cert_manager(version: str = "v1.18.4", namespace: str = "cert-manager", **more: Any) -> Object:
    """The controller of a cert-manager from the community's chart."""
    marks = {"meta.helm.sh/release-name": "cert-manager", "meta.helm.sh/release-namespace": namespace}
    return deployment(
        "cert-manager", namespace, "cert-manager-controller", f"{CERT_MANAGER}:{version}", annotations=marks, **more
    )


def istiod(version: str = "1.27.3", *, image: str = RED_HATS_ISTIO, inference: bool = True) -> Object:
    """istiod that somebody else installed."""
    env = [{"name": "ENABLE_GATEWAY_API_INFERENCE_EXTENSION", "value": "true"}] if inference else []
    return deployment("istiod", "istio-system", "discovery", f"{image}:{version}",
                      labels={"app": "istiod"}, env=env)  # fmt: skip


def engine(kind: str = "AzureKubernetesEngine", **policies: str) -> Object:
    """An engine object; dependencies that are not named are Unmanaged."""
    every = ("certManager", "gatewayAPI", "lws", "sailOperator")
    wanted = {name: {"managementPolicy": policies.get(name, "Unmanaged")} for name in every}
    return named(kind, f"default-{kind.lower()}", spec={"dependencies": wanted})


def service(name: str, **spec: Any) -> Object:
    """A rendered model."""
    return named("LLMInferenceService", name, "models", spec={"model": {"uri": "hf://a/b"}, "replicas": 1, **spec})


def asking_for(gpus: int) -> Object:
    """The part of a spec that asks for GPUs."""
    limits = {"nvidia.com/gpu": str(gpus)}
    return {"containers": [{"name": "main", "resources": {"limits": limits}}]}
