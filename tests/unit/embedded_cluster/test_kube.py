"""Pure parts of the Kubernetes client."""

from embedded_cluster.kube import Resource, _differences, owner_reference


def obj(name, version, uid="u"):
    return {"metadata": {"namespace": "n", "name": name, "resourceVersion": version, "uid": uid}}


def test_paths_of_core_and_named_groups():
    pods = Resource("v1", "Pod", "pods", True)
    roles = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False)
    assert pods.path("ns", "a", "status") == "/api/v1/namespaces/ns/pods/a/status"
    assert pods.path() == "/api/v1/pods"
    assert roles.path(None, "system:node") == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"


def test_a_new_list_is_told_as_differences():
    known = {("n", name): obj(name, "1") for name in ("same", "changed", "gone", "replaced")}
    listed = {"items": [obj("same", "1"), obj("changed", "2"), obj("replaced", "3", uid="v"), obj("new", "4")]}
    events = [(kind, item["metadata"]["name"]) for kind, item in _differences(known, listed, "v1", "Pod")]
    assert events == [
        ("DELETED", "gone"),
        ("MODIFIED", "changed"),
        ("DELETED", "replaced"),
        ("ADDED", "replaced"),
        ("ADDED", "new"),
    ]
    assert {key[1] for key in known} == {"same", "changed", "replaced", "new"}
    assert known[("n", "new")]["kind"] == "Pod"


def test_owner_references_control_unless_told_otherwise():
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}}
    assert owner_reference(owner)["controller"] is True
    assert "controller" not in owner_reference(owner, controller=False)
