"""Volumes: contents, links, and following changes."""

import base64
import stat

import pytest
from embedded_cluster.volumes import MountError, PodFiles, Sources, referenced_objects


def encoded(**items):
    return {"data": {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in items.items()}}


@pytest.fixture
def world():
    """Secrets, ConfigMaps and the pod under test; tests change them."""
    return {
        "secrets": {"cert": encoded(tls_crt="CERT", tls_key="KEY")},
        "configs": {"conf": {"data": {"config.yaml": "a: 1", "other": "x"}}},
        "pod": {
            "metadata": {"namespace": "ns", "name": "p", "uid": "u", "annotations": {"image": "x"}},
            "spec": {
                "containers": [{"name": "c"}],
                "volumes": [
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "cert", "secret": {"secretName": "cert"}},
                    {
                        "name": "conf",
                        "configMap": {"name": "conf", "items": [{"key": "config.yaml", "path": "c.yaml"}]},
                    },
                    {
                        "name": "token",
                        "projected": {
                            "sources": [
                                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                                {
                                    "downwardAPI": {
                                        "items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                                    }
                                },
                            ]
                        },
                    },
                ],
            },
        },
    }


def files(world, root):
    sources = Sources(
        lambda _, name: world["secrets"].get(name),
        lambda _, name: world["configs"].get(name),
        lambda *_: "TOKEN",
    )
    return PodFiles(root, world["pod"], sources)


MOUNTS = [
    {"name": "cert", "mountPath": "/tmp/k8s-webhook-server/serving-certs"},
    {"name": "tmp", "mountPath": "/tmp"},
    {"name": "conf", "mountPath": "/config.yaml", "subPath": "c.yaml"},
    {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
]


def test_mounts_are_found_below_the_pods_folder(world, tmp_path):
    pod_files = files(world, tmp_path)
    pod_files.write({"volumeMounts": MOUNTS})
    certificate = tmp_path / "tmp/k8s-webhook-server/serving-certs/tls.crt"
    assert certificate.read_text() == "CERT"
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o600
    assert (tmp_path / "config.yaml").read_text() == "a: 1"
    account = pod_files.mounts["/var/run/secrets/kubernetes.io/serviceaccount"]
    assert [(account / name).read_text() for name in ("token", "ns")] == ["TOKEN", "ns"]


def test_a_changed_secret_reaches_the_mount(world, tmp_path):
    pod_files = files(world, tmp_path)
    pod_files.write({"volumeMounts": MOUNTS})
    assert not pod_files.refresh()
    world["secrets"]["cert"] = encoded(tls_crt="NEW")
    assert pod_files.refresh()
    folder = pod_files.mounts["/tmp/k8s-webhook-server/serving-certs"]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"tls.crt": "NEW"}


def test_a_deleted_secret_stays_mounted_in_a_running_pod(world, tmp_path):
    pod_files = files(world, tmp_path)
    pod_files.write({"volumeMounts": MOUNTS})
    world["secrets"].clear()
    assert not pod_files.refresh()
    assert (tmp_path / "tmp/k8s-webhook-server/serving-certs/tls.key").read_text() == "KEY"


def test_a_second_container_start_finds_the_same_files(world, tmp_path):
    pod_files = files(world, tmp_path)
    pod_files.write({"volumeMounts": MOUNTS})
    pod_files.write({"volumeMounts": MOUNTS})
    assert (tmp_path / "config.yaml").read_text() == "a: 1"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("secrets", 'MountVolume.SetUp failed for volume "cert" : secret "cert" not found'),
        ("configs", 'MountVolume.SetUp failed for volume "conf" : configmap "conf" not found'),
    ],
)
def test_a_missing_object_keeps_the_pod_waiting(world, tmp_path, kind, message):
    world[kind].clear()
    with pytest.raises(MountError, match=message):
        files(world, tmp_path).check()


def test_a_missing_key_keeps_the_pod_waiting(world, tmp_path):
    world["configs"]["conf"] = {"data": {"other": "x"}}
    with pytest.raises(MountError, match="references non-existent configmap key: config"):
        files(world, tmp_path).check()


def test_optional_volumes_may_be_missing(world, tmp_path):
    for volume in world["pod"]["spec"]["volumes"]:
        for source in ("secret", "configMap"):
            if source in volume:
                volume[source]["optional"] = True
    world["secrets"].clear()
    world["configs"].clear()
    files(world, tmp_path).check()


def test_references_of_volumes_and_env_are_found(world):
    world["pod"]["spec"]["containers"][0] |= {
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "pw", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "env"}}],
    }
    assert referenced_objects(world["pod"]) == {
        ("Secret", "cert"),
        ("ConfigMap", "conf"),
        ("Secret", "pw"),
        ("ConfigMap", "env"),
    }
