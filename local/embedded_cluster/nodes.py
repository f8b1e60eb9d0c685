"""Node objects from a flavour file (`nodes/<flavour>.yml`)."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from embedded_cluster.kube import Object
from embedded_cluster.network import KUBELET_PORT, Network

FLAVOURS = Path(__file__).resolve().parent / "nodes"
OBJECTS = FLAVOURS.parent / "objects"


@dataclass(frozen=True)
class Flavour:
    """The contents of one flavour file."""

    name: str
    data: dict[str, Any]

    @classmethod
    def load(cls, name: str) -> Flavour:
        """Read a flavour; raises ValueError naming the known ones."""
        path = FLAVOURS / f"{name}.yml"
        if not path.is_file():
            known = ", ".join(sorted(item.stem for item in FLAVOURS.glob("*.yml")))
            raise ValueError(f"node flavour: expected one of {known}, found {name!r}")
        return cls(name, yaml.safe_load(path.read_text()))

    @property
    def node_names(self) -> list[str]:
        return [node["name"] for node in self.data["nodes"]]

    @property
    def nodes_have_pull_secret(self) -> bool:
        """Whether the nodes pull from private registries without a pull secret of the pod."""
        return bool(self.data.get("nodes_have_pull_secret"))

    def crds(self, folder: Path) -> list[Object]:
        """The CRDs that the cluster has from the start, from the tools' folder with one subfolder per set."""
        annotations = self.data.get("crd_annotations", {})
        return [
            _annotated(json.loads(file.read_text()), annotations.get(name, {}))
            for name in self.data.get("crds", [])
            for file in sorted((folder / name).glob("*.json"))
        ]

    def objects(self) -> list[Object]:
        """The objects that the cluster has from the start, in order."""
        name = self.data.get("objects")
        own = list(yaml.safe_load_all((OBJECTS / f"{name}.yml").read_text())) if name else []
        return [*map(_storage_class, self.data["storage_classes"]), *own]

    @property
    def load_balancer(self) -> dict[str, Any]:
        """kind (none, ip or hostname), delay_seconds and the template of a hostname."""
        return dict(self.data["load_balancer"])


def _annotated(obj: Object, annotations: dict[str, str]) -> Object:
    metadata = {**obj["metadata"], "annotations": {**obj["metadata"].get("annotations", {}), **annotations}}
    return {**obj, "metadata": metadata}


def _storage_class(entry: dict[str, Any]) -> Object:
    """A StorageClass from its name, provisioner, binding mode and whether it is the default. Nothing makes volumes."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if entry.get("default") else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": entry["name"], "annotations": annotations},
        "provisioner": entry["provisioner"],
        "volumeBindingMode": entry["binding"],
    }


def node_objects(flavour: Flavour, network: Network, now: datetime.datetime) -> list[Object]:
    """Node objects, ready from the start, with addresses of `network`."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [_node_object(flavour, node, index, network, stamp) for index, node in enumerate(flavour.data["nodes"])]


def _node_object(flavour: Flavour, node: dict[str, Any], index: int, network: Network, stamp: str) -> Object:
    node_type = flavour.data["types"][node["type"]]
    labels = {
        **flavour.data["common_labels"],
        **node_type.get("labels", {}),
        "kubernetes.io/hostname": node["name"],
        "node.kubernetes.io/instance-type": node["type"],
        **({"topology.kubernetes.io/zone": node["zone"]} if "zone" in node else {}),
    }
    address = network.node_address(index)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node["name"], "labels": labels},
        "spec": {
            "podCIDR": network.node_pod_cidr(index),
            "podCIDRs": [network.node_pod_cidr(index)],
            **_provider_id(flavour, node),
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": node["name"]},
            ],
            "allocatable": node_type["allocatable"],
            "capacity": node_type["capacity"],
            "conditions": [_condition(*item, stamp=stamp) for item in _CONDITIONS],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            "nodeInfo": {
                "architecture": flavour.data["common_labels"]["kubernetes.io/arch"],
                "operatingSystem": flavour.data["common_labels"]["kubernetes.io/os"],
                "bootID": "",
                "containerRuntimeVersion": "embedded://0",
                "kernelVersion": "embedded",
                "kubeProxyVersion": "",
                "kubeletVersion": flavour.data["kubelet_version"],
                "machineID": node["name"],
                "osImage": "embedded cluster",
                "systemUUID": node["name"],
            },
        },
    }


def _provider_id(flavour: Flavour, node: dict[str, Any]) -> dict[str, str]:
    """spec.providerID, where the flavour's provider sets one."""
    template = flavour.data.get("provider_id")
    return {"providerID": template.format(name=node["name"], zone=node.get("zone", ""))} if template else {}


_CONDITIONS = (
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def _condition(kind: str, status: str, reason: str, message: str, *, stamp: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }
