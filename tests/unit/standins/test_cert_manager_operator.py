"""The cert-manager operator: its default resource, operand, conditions and deletion (operators.md 1)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from embedded_cluster.standins import cert_manager_operator, rules
from embedded_cluster.standins.cert_manager_operator import CertManagerOperator, operator_values

from tests.unit.standins.fake_api import Bench, FakeApi, conditions, pod

IMAGE = "registry.example/jetstack@sha256:1"
ENV = {
    "OPERATOR_NAME": "cert-manager-operator",
    "OPERATOR_IMAGE_VERSION": "1.18.1",
    "OPERAND_IMAGE_VERSION": "1.18.4",
    "RELATED_IMAGE_CERT_MANAGER_CONTROLLER": IMAGE,
    "RELATED_IMAGE_CERT_MANAGER_WEBHOOK": IMAGE,
    "RELATED_IMAGE_CERT_MANAGER_CA_INJECTOR": IMAGE,
    "RELATED_IMAGE_CERT_MANAGER_ACMESOLVER": "registry.example/acmesolver@sha256:2",
}
OPERANDS = ("cert-manager", "cert-manager-cainjector", "cert-manager-webhook")


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def bench_of(api: FakeApi, env: dict[str, str] = ENV) -> Bench:
    file = rules.load("cert_manager_operator")
    values = operator_values(env, file.settings)
    environment = pod(api, "cert-manager-operator", env=env)
    return Bench(api, CertManagerOperator(environment, file.rules["cluster"], values))


@pytest.fixture
def bench(api: FakeApi) -> Bench:
    return bench_of(api)


def custom_resource(api: FakeApi) -> None:
    body = {"apiVersion": "operator.openshift.io/v1alpha1", "kind": "CertManager", "metadata": {"name": "cluster"}}
    api.put({**body, "spec": {"managementState": "Managed"}})


def image_of(api: FakeApi, name: str) -> str:
    return str(api.find("Deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"])


def test_it_creates_its_resource_and_looks_again_every_minute(api: FakeApi, bench: Bench) -> None:
    assert asyncio.run(bench.step()) == 60
    assert api.find("CertManager", "cluster")["spec"] == {"managementState": "Managed"}
    asyncio.run(bench.run())
    assert {obj["metadata"]["name"] for obj in api.all("Deployment")} == set(OPERANDS)


def test_a_resource_that_is_there_is_used_as_it_is(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.run())
    assert "create" not in api.verbs("CertManager")


def test_images_come_from_the_environment_and_else_from_upstream(api: FakeApi) -> None:
    custom_resource(api)
    asyncio.run(bench_of(api, {key: ENV[key] for key in ENV if key != "RELATED_IMAGE_CERT_MANAGER_WEBHOOK"}).run())
    assert image_of(api, "cert-manager") == IMAGE
    assert image_of(api, "cert-manager-webhook") == "quay.io/jetstack/cert-manager-webhook:v1.18.4"
    arguments = api.find("Deployment", "cert-manager")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--acme-http01-solver-image=registry.example/acmesolver@sha256:2" in arguments


def test_there_is_no_plain_ready_or_available_condition(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.run())
    found = conditions(api.find("CertManager"))
    assert not {"Ready", "Available", "Progressing", "Degraded"} & set(found)
    assert found["cert-manager-webhook-deploymentAvailable"][0] == "False"
    assert found["cert-manager-webhook-static-resources-Degraded"][0] == "False"
    assert len(found) == 12


def test_conditions_follow_each_deployment_for_itself(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.run())
    api.ready("cert-manager")
    asyncio.run(bench.run())
    found = conditions(api.find("CertManager"))
    assert found["cert-manager-controller-deploymentAvailable"] == ("True", "AsExpected")
    assert found["cert-manager-controller-deploymentProgressing"] == ("False", "AsExpected")
    assert found["cert-manager-cainjector-deploymentAvailable"][0] == "False"


def test_pull_secrets_of_service_accounts_that_were_there_are_kept(api: FakeApi, bench: Bench) -> None:
    metadata = {"name": "cert-manager", "namespace": "cert-manager", "labels": {"ours": "1"}}
    api.put(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "imagePullSecrets": [{"name": "pull"}]}
    )
    custom_resource(api)
    asyncio.run(bench.run())
    account = api.find("ServiceAccount", "cert-manager")
    assert account["imagePullSecrets"] == [{"name": "pull"}]
    assert account["metadata"]["labels"]["ours"] == "1"
    assert account["metadata"]["labels"]["app.kubernetes.io/instance"] == "cert-manager"


def test_webhook_configurations_take_their_ca_from_the_secret(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.run())
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        annotations = api.find(kind)["metadata"]["annotations"]
        assert annotations == {"cert-manager.io/inject-ca-from-secret": "cert-manager/cert-manager-webhook-ca"}


def test_deleting_the_resource_removes_three_deployments_and_leaves_the_rest(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.run())
    assert len(api.find("CertManager")["metadata"]["finalizers"]) == 3
    api.find("CertManager")["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    asyncio.run(bench.step())
    assert not api.all("CertManager")
    assert not api.all("Deployment")
    assert len(api.all("Service")) == 3
    assert asyncio.run(bench.step()) == 60
    assert api.find("CertManager")


def test_a_deleted_service_and_a_changed_image_come_back(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.run())
    api.drop("Service", "cert-manager-webhook")
    api.find("Deployment", "cert-manager")["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    asyncio.run(bench.run())
    assert api.find("Service", "cert-manager-webhook")
    assert image_of(api, "cert-manager") == IMAGE


def test_idle_it_sends_nothing(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.run())
    api.forget()
    asyncio.run(bench.step())
    assert api.requests == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"args": ["start", "--no-such-flag"]}, "unknown flag: --no-such-flag"),
        ({"args": ["run"]}, 'unknown command "run"'),
        ({"command": ["/manager"]}, "expected /usr/bin/cert-manager-operator"),
        ({"env": {}}, "OPERATOR_NAME must be set"),
        ({"namespace": "elsewhere"}, "cert-manager-operator, but its pod is in elsewhere"),
    ],
)
def test_it_refuses_to_start_as_the_real_program_does(api: FakeApi, changes: dict[str, Any], text: str) -> None:
    settings = {
        "namespace": "cert-manager-operator",
        "command": ["/usr/bin/cert-manager-operator"],
        "args": ["start", "--v=2"],
        "env": ENV,
        **changes,
    }
    environment = pod(api, settings.pop("namespace"), **settings)
    with pytest.raises(SystemExit, match=text):
        asyncio.run(cert_manager_operator.main(environment))
