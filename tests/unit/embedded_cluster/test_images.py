"""Pull secrets are checked as a kubelet and a registry would."""

import base64
import json

import pytest
from embedded_cluster.control_plane import throw_away_pull_secret
from embedded_cluster.images import ImagePullError, check_images, registry_of

PRIVATE = "registry.redhat.io/rhoai/odh-rhel9-operator@sha256:1"


def pull_secret(config=None, kind="kubernetes.io/dockerconfigjson"):
    content = json.dumps(throw_away_pull_secret() if config is None else config).encode()
    return {"type": kind, "data": {".dockerconfigjson": base64.b64encode(content).decode()}}


def check(secrets, pull_secrets=("ps",), image=PRIVATE, init_image=None):
    spec = {
        "containers": [{"name": "c", "image": image}],
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
    }
    if init_image:
        spec["initContainers"] = [{"name": "i", "image": init_image}]
    pod = {"metadata": {"namespace": "ns", "name": "p"}, "spec": spec}
    check_images(pod, lambda namespace, name: secrets.get(name) if namespace == "ns" else None, ["registry.redhat.io"])


def test_a_right_secret_lets_the_image_through():
    check({"ps": pull_secret()})


def test_one_right_secret_among_several_is_enough():
    check({"b": pull_secret()}, ["a", "b"])


def test_public_images_need_none():
    check({}, [], image="docker.io/library/nginx:1")


@pytest.mark.parametrize(
    ("secrets", "names", "because"),
    [
        ({}, [], "the pod has no imagePullSecrets"),
        ({}, ["ps"], "pull secret ns/ps not found"),
        ({"ps": pull_secret(kind="Opaque")}, ["ps"], "has type Opaque, expected kubernetes.io/dockerconfigjson"),
        (
            {"ps": pull_secret({"auths": {"quay.io": {"auth": "x"}}})},
            ["ps"],
            "has no credentials for registry.redhat.io",
        ),
        ({"ps": {"type": "kubernetes.io/dockerconfigjson", "data": {}}}, ["ps"], "has no readable .dockerconfigjson"),
    ],
)
def test_the_reason_of_a_refusal_is_named(secrets, names, because):
    with pytest.raises(ImagePullError, match=because):
        check(secrets, names)


def test_init_containers_count_too():
    with pytest.raises(ImagePullError):
        check({}, [], image="docker.io/library/nginx", init_image=PRIVATE)


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("nginx", "docker.io"),
        ("library/nginx", "docker.io"),
        ("quay.io/a/b:1", "quay.io"),
        ("localhost/a", "localhost"),
        ("host:5000/a", "host:5000"),
    ],
)
def test_registry_of_a_reference(image, registry):
    assert registry_of(image) == registry
