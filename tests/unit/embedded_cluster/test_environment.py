"""Environment of containers, as a kubelet resolves it."""

import base64

import pytest
from embedded_cluster.environment import ConfigError, expand, field_value, parse_quantity, resolve_env

POD = {
    "metadata": {
        "namespace": "ns",
        "name": "web-1",
        "uid": "u",
        "labels": {"app": "web"},
        "annotations": {"b": 'say "hi"', "a": "1"},
    },
    "spec": {"nodeName": "gpu-1", "serviceAccountName": "web"},
    "status": {"podIP": "10.64.8.1", "podIPs": [{"ip": "10.64.8.1"}], "hostIP": "10.64.0.10"},
}
SECRET = {"data": {"password": base64.b64encode(b"secret").decode()}}
CONFIG = {"data": {"LEVEL": "2", "MODE": "fast"}}


def lookup(**objects):
    return lambda namespace, name: objects.get(name) if namespace == "ns" else None


def resolve(env=(), env_from=(), resources=None):
    container = {"name": "c", "env": list(env), "envFrom": list(env_from), "resources": resources or {}}
    return resolve_env(container, POD, lookup(creds=SECRET), lookup(settings=CONFIG))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("cost $5", "cost $5"),
    ],
)
def test_references_expand_as_in_a_pod_spec(text, expected):
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_later_variables_see_earlier_ones_only():
    values = resolve([{"name": "A", "value": "$(B)"}, {"name": "B", "value": "b"}, {"name": "C", "value": "$(B)"}])
    assert values == {"A": "$(B)", "B": "b", "C": "b"}


def test_env_overrides_env_from_and_prefixes_are_added():
    values = resolve([{"name": "P_LEVEL", "value": "9"}], [{"prefix": "P_", "configMapRef": {"name": "settings"}}])
    assert values == {"P_LEVEL": "9", "P_MODE": "fast"}


def test_secret_and_config_map_keys():
    values = resolve(
        [
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}},
            {"name": "L", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "LEVEL"}}},
            {"name": "X", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "k", "optional": True}}},
        ]
    )
    assert values == {"PW": "secret", "L": "2"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secretKeyRef": {"name": "absent", "key": "k"}}, 'secret "absent" not found'),
        ({"secretKeyRef": {"name": "creds", "key": "k"}}, "couldn't find key k in Secret ns/creds"),
        ({"configMapKeyRef": {"name": "settings", "key": "k"}}, "couldn't find key k in ConfigMap ns/settings"),
    ],
)
def test_what_is_missing_is_named(source, message):
    with pytest.raises(ConfigError, match=message):
        resolve([{"name": "X", "valueFrom": source}])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "ns"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations", 'a="1"\nb="say \\"hi\\""'),
        ("spec.nodeName", "gpu-1"),
        ("spec.serviceAccountName", "web"),
        ("status.podIP", "10.64.8.1"),
        ("status.hostIP", "10.64.0.10"),
    ],
)
def test_downward_fields(path, expected):
    assert field_value(POD, path) == expected


def test_resource_fields_are_divided_and_rounded_up():
    env = [
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    assert resolve(env, resources={"limits": {"cpu": "1500m", "memory": "1Gi"}}) == {"CPU": "2", "MEM": "1024"}


def test_quantities():
    assert [parse_quantity(text) for text in ("100m", "2", "1Ki", "1e3")] == [0.1, 2, 1024, 1000]
    with pytest.raises(ConfigError, match="quantity"):
        parse_quantity("many")
