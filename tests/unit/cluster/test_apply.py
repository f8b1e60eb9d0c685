"""Applying a set of objects: only what differs, nothing in check mode, errors per object."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster.apply import apply, prune, summary
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.errors import ClusterError
from inference_platform.cluster.objects import STAMP, Ref
from tests.unit.cluster.fake_api import FakeApi

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}}
WIDGET = {
    "apiVersion": "example.org/v1",
    "kind": "Widget",
    "metadata": {"name": "w", "namespace": "space"},
    "spec": {"size": 1, "router": {}},
}


def config(name: str = "c", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "space"},
        "data": data or {"a": "b"},
    }


def test_a_first_run_creates_namespaces_first_and_a_second_writes_nothing(api: FakeApi, cluster: Cluster) -> None:
    wanted = [config(), WIDGET, NAMESPACE]
    first = apply(cluster, wanted)
    assert [str(change) for change in first.changes] == [
        "create Namespace space",
        "create ConfigMap space/c",
        "create Widget space/w",
    ]
    assert first.errors == []
    api.requests.clear()
    second = apply(cluster, wanted)
    assert not second.changed
    assert api.writes() == []
    assert all(request.method == "GET" for request in api.requests)


def test_check_mode_predicts_the_run_and_writes_nothing(api: FakeApi, cluster: Cluster) -> None:
    apply(cluster, [NAMESPACE, config("old")])
    api.requests.clear()
    wanted = [NAMESPACE, config("old", a="changed"), config("new")]
    predicted = apply(cluster, wanted, check=True)
    assert api.writes() == []
    done = apply(cluster, wanted)
    assert [str(c) for c in predicted.changes] == [str(c) for c in done.changes]
    assert summary(done.changes) == {"create": 1, "update": 1}
    assert "-  a: b" in predicted.diff()
    assert "+  a: changed" in predicted.diff()


def test_check_mode_works_without_namespace_and_without_crd(api: FakeApi, cluster: Cluster) -> None:
    api.kinds = [kind for kind in api.kinds if kind[1] != "Widget"]
    result = apply(cluster, [NAMESPACE, config(), WIDGET], check=True)
    assert result.errors == []
    assert [str(change) for change in result.changes] == [
        "create Namespace space",
        "create ConfigMap space/c (namespace space does not exist yet)",
        "create Widget space/w (Widget is not served yet)",
    ]
    assert api.writes() == []


def test_without_its_crd_an_object_is_an_error_in_a_real_run(api: FakeApi, cluster: Cluster) -> None:
    api.kinds = [kind for kind in api.kinds if kind[1] != "Widget"]
    result = apply(cluster, [NAMESPACE, WIDGET])
    assert [str(e.ref) for e in result.errors] == ["Widget space/w"]
    assert "Apply the CRD first" in str(result.errors[0])
    assert summary(result.changes) == {"create": 1}


def test_an_edit_by_somebody_is_put_back(api: FakeApi, cluster: Cluster) -> None:
    apply(cluster, [NAMESPACE, config()])
    api.stored("ConfigMap", "c", "space")["data"]["a"] = "edited"
    result = apply(cluster, [NAMESPACE, config()])
    assert [str(c) for c in result.changes] == ["update ConfigMap space/c"]
    assert api.stored("ConfigMap", "c", "space")["data"] == {"a": "b"}


def test_what_others_add_is_left_alone(api: FakeApi, cluster: Cluster) -> None:
    apply(cluster, [NAMESPACE, config()])
    api.stored("ConfigMap", "c", "space")["data"]["theirs"] = "x"
    assert not apply(cluster, [NAMESPACE, config()]).changed


def test_a_field_that_a_webhook_always_sets_back_is_no_change(api: FakeApi, cluster: Cluster) -> None:
    def webhook(obj: dict[str, Any]) -> None:
        if obj["kind"] == "Widget":
            obj["spec"]["size"] = 9

    api.mutate = webhook
    apply(cluster, [NAMESPACE, WIDGET])
    api.requests.clear()
    assert not apply(cluster, [NAMESPACE, WIDGET]).changed
    assert api.writes() == []


def test_an_equal_object_of_another_manager_is_adopted(api: FakeApi, cluster: Cluster) -> None:
    api.put(NAMESPACE)
    api.put(config())
    result = apply(cluster, [config()])
    assert [str(c) for c in result.changes] == ["update ConfigMap space/c"]
    assert STAMP in api.stored("ConfigMap", "c", "space")["metadata"]["annotations"]
    assert not apply(cluster, [config()]).changed


def test_many_objects_of_a_kind_are_read_by_one_list(api: FakeApi, cluster: Cluster) -> None:
    widgets = [{**WIDGET, "metadata": {"name": f"w{n}", "namespace": "space"}} for n in range(20)]
    apply(cluster, [NAMESPACE, *widgets])
    api.requests.clear()
    assert not apply(cluster, [NAMESPACE, *widgets]).changed
    assert [r.path for r in api.requests] == [
        "/api/v1/namespaces/space",
        "/apis/example.org/v1/namespaces/space/widgets",
    ]


def test_secrets_are_never_listed(api: FakeApi, cluster: Cluster) -> None:
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"s{n}", "namespace": "space"},
            "data": {"a": "eA=="},
        }
        for n in range(6)
    ]
    apply(cluster, [NAMESPACE, *secrets])
    assert not [r for r in api.requests if r.method == "GET" and r.path.endswith("/secrets")]


def test_a_rotated_secret_is_a_change_whose_diff_shows_no_value(cluster: Cluster) -> None:
    secret = {**config(), "kind": "Secret", "data": {"token": "b2xk"}}
    apply(cluster, [NAMESPACE, secret])
    result = apply(cluster, [NAMESPACE, {**secret, "data": {"token": "bmV3"}}])
    assert [str(c) for c in result.changes] == ["update Secret space/c"]
    assert "b2xk" not in result.diff()
    assert "bmV3" not in result.diff()
    assert "<hidden, new value>" in result.diff()


def test_a_conflict_is_an_error_of_its_object_and_the_others_go_on(api: FakeApi, cluster: Cluster) -> None:
    causes = [{"reason": "FieldManagerConflict", "message": 'conflict with "argocd" using v1', "field": ".data.a"}]
    api.fail("PATCH", "/configmaps/c$", 409, "Apply failed with 1 conflict", details={"causes": causes})
    result = apply(cluster, [NAMESPACE, config(), config("other")])
    assert [str(e.ref) for e in result.errors] == ["ConfigMap space/c"]
    assert "belong to argocd" in str(result.errors[0])
    assert "create ConfigMap space/other" in [str(c) for c in result.changes]
    assert [r.query["force"] for r in api.writes()] == ["false"] * 3
    with pytest.raises(ClusterError, match="1 object could not be applied:\n- apply v1 ConfigMap space/c"):
        result.raise_errors()


def test_force_is_passed_on_only_when_asked_for(api: FakeApi, cluster: Cluster) -> None:
    apply(cluster, [NAMESPACE], force=True)
    assert [r.query["force"] for r in api.writes()] == ["true"]


def test_a_dead_webhook_is_tried_for_one_object_not_for_all(
    api: FakeApi, cluster: Cluster, pauses: list[float]
) -> None:
    api.put(NAMESPACE)
    api.fail("PATCH", "/configmaps/", 500, 'failed calling webhook "v.example.org": no endpoints', times=500)
    result = apply(cluster, [config(f"c{n}") for n in range(30)], workers=1)
    assert len(result.errors) == 30
    assert "look at the Deployment behind the Service" in str(result.errors[-1])
    assert len(pauses) == 5
    assert len(api.writes()) == 6 + 29


def test_in_check_mode_a_webhook_that_does_not_answer_is_a_note(api: FakeApi, cluster: Cluster) -> None:
    api.put(NAMESPACE)
    api.fail("PATCH", "/configmaps/c$", 500, 'failed calling webhook "v.example.org": connection refused')
    result = apply(cluster, [config()], check=True)
    assert result.errors == []
    assert "not checked by the server: failed calling webhook" in result.changes[0].note


def test_in_check_mode_a_denial_is_an_error(api: FakeApi, cluster: Cluster) -> None:
    api.put(NAMESPACE)
    api.fail("PATCH", "/configmaps/c$", 403, 'admission webhook "v.example.org" denied the request: no')
    result = apply(cluster, [config()], check=True)
    assert "denied the request: no" in str(result.errors[0])
    assert not result.changed


def test_an_object_named_twice_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="ConfigMap space/c: expected once in the list, found twice"):
        apply(cluster, [config(), config(a="c")])


def test_prune_deletes_only_what_we_applied_and_is_not_kept(api: FakeApi, cluster: Cluster) -> None:
    labelled = [
        {**config(name), "metadata": {"name": name, "namespace": "space", "labels": {"m": "x"}}} for name in "abc"
    ]
    apply(cluster, [NAMESPACE, *labelled[:2]])
    api.put(labelled[2])  # the label, but not ours
    keep = [Ref.of(labelled[0])]
    kinds = [("v1", "ConfigMap"), ("example.org/v1", "Unserved")]
    predicted = prune(cluster, kinds, "m=x", keep, check=True)
    assert [str(c) for c in predicted.changes] == ["delete ConfigMap space/b"]
    assert [r for r in api.requests if r.method == "DELETE"] == []
    assert [str(c) for c in prune(cluster, kinds, "m=x", keep).changes] == ["delete ConfigMap space/b"]
    assert {name for _, kind, _, name in api.objects if kind == "ConfigMap"} == {"a", "c"}


def test_prune_refuses_an_empty_selector(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="expected a label selector"):
        prune(cluster, [("v1", "ConfigMap")], "", [])
