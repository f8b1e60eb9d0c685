"""inventories/openshift on a cluster that looks like OpenShift, with stand-ins of OLM and of what OpenShift ships."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.scenarios.conftest import Installation, Start, install_sample, on_embedded_cluster
from tests.scenarios.test_install_on_aws import condition, model, place, readiness
from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.playbook import Project, Run
from tests.support.rights import settings_of, written_without_asking
from tests.support.values_files import upgrade_by_hand

pytestmark = pytest.mark.cluster

SUBSCRIPTIONS = "subscriptions.operators.coreos.com"
PLANS = "installplans.operators.coreos.com"
CSVS = "clusterserviceversions.operators.coreos.com"
WANTED = {
    "openshift-cert-manager-operator": "cert-manager-operator.v1.18.1",
    "leader-worker-set": "leader-worker-set.v1.0.0",
    "rhods-operator": "rhods-operator.3.4.4",
}
OF_OPENSHIFT = {"servicemeshoperator3": "servicemeshoperator3.v3.3.1"}
DEPLOYMENTS = {
    "cert-manager-operator/cert-manager-operator-controller-manager": 1,
    "cert-manager/cert-manager": 1,
    "cert-manager/cert-manager-cainjector": 1,
    "cert-manager/cert-manager-webhook": 1,
    "openshift-ingress-operator/ingress-operator": 1,
    "openshift-ingress/istiod-openshift-gateway": 1,
    "openshift-ingress/openshift-ai-inference-openshift-ai-inference": 1,
    "openshift-lws-operator/lws-controller-manager": 2,
    "openshift-lws-operator/openshift-lws-operator": 1,
    "openshift-operator-lifecycle-manager/olm-operator": 1,
    "openshift-operators/servicemesh-operator3": 1,
    "openshift-service-ca/service-ca": 1,
    "redhat-ods-applications/llmisvc-controller-manager": 1,
    "redhat-ods-operator/rhods-operator": 3,
}


@dataclass(frozen=True)
class Installed:
    """The installation, and what `--check --diff` said before it."""

    preview: Run
    preview_writes: list[str]
    installation: Installation

    @property
    def cluster(self) -> EmbeddedCluster:
        return self.installation.cluster


@pytest.fixture(scope="module")
def openshift(start_cluster: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with start_cluster("openshift", "openshift") as cluster:
        mark = AuditMark.now(cluster.paths.audit_log)
        preview = Project().play(
            "-i", "inventories/openshift", "site.yml", "--check", "--diff",
            cluster=cluster.paths.name, variables=on_embedded_cluster(cluster),
        )  # fmt: skip
        writes = mark.installer_writes()
        yield Installed(preview, writes, install_sample(cluster, "openshift", tmp_path_factory.mktemp("openshift")))


def test_check_mode_on_the_empty_cluster_tells_of_every_task_that_then_changed_something(openshift: Installed) -> None:
    assert openshift.preview.exit_code == 0, openshift.preview.output
    assert openshift.preview_writes == []
    told = openshift.preview.recap["changed"]
    assert told == openshift.installation.run.recap["changed"], openshift.preview.output


def test_exactly_these_deployments_are_ready(openshift: Installed) -> None:
    found = {
        place(item): readiness(item)
        for item in openshift.cluster.objects("deployments")
        if item["metadata"]["namespace"] != "models"
    }
    assert found == {name: (count, count) for name, count in DEPLOYMENTS.items()}


def test_operators_come_from_olm_at_the_versions_of_the_release(openshift: Installed) -> None:
    subscriptions = {item["spec"]["name"]: item for item in openshift.cluster.objects(SUBSCRIPTIONS)}
    assert {name: item["status"]["installedCSV"] for name, item in subscriptions.items()} == WANTED | OF_OPENSHIFT
    assert {item["spec"]["installPlanApproval"] for item in subscriptions.values()} == {"Manual"}
    csvs = {item["metadata"]["name"]: item["status"]["phase"] for item in openshift.cluster.objects(CSVS)}
    assert csvs == dict.fromkeys([*WANTED.values(), *OF_OPENSHIFT.values()], "Succeeded")


def test_nothing_was_written_without_a_right_that_preflight_asks_for(openshift: Installed) -> None:
    assert written_without_asking(openshift.installation.before, settings_of("openshift")) == []


def test_an_update_that_olm_offers_is_not_approved(openshift: Installed) -> None:
    plans = {
        name: plan["spec"]["approved"]
        for plan in openshift.cluster.objects(PLANS)
        for name in plan["spec"]["clusterServiceVersionNames"]
    }
    assert plans == dict.fromkeys((*WANTED.values(), *OF_OPENSHIFT.values()), True) | {
        "leader-worker-set.v1.0.1": False
    }


def test_what_openshift_ships_is_not_touched(openshift: Installed) -> None:
    ours = "inference-platform.io/layer"
    crds = openshift.cluster.objects("customresourcedefinitions")
    assert [item["metadata"]["name"] for item in crds if ours in item["metadata"].get("labels", {})] == []
    secrets = [item["metadata"]["name"] for item in openshift.cluster.objects("secrets")]
    assert "rhai-pull-secret" not in secrets
    writes = [
        str(request)
        for request in openshift.installation.before.installer_requests()
        if request.is_write and "/customresourcedefinitions" in request.uri
    ]
    assert writes == []


def test_the_platform_operator_made_kserve_of_the_cluster_resource(openshift: Installed) -> None:
    (cluster,) = openshift.cluster.objects("datascienceclusters.datasciencecluster.opendatahub.io")
    (kserve,) = openshift.cluster.objects("kserves.components.platform.opendatahub.io")
    assert (cluster["status"]["phase"], condition(kserve, "Ready")) == ("Ready", "True")
    assert [owner["kind"] for owner in kserve["metadata"]["ownerReferences"]] == ["DataScienceCluster"]


def test_the_model_is_served_by_the_gateway_of_openshift(openshift: Installed) -> None:
    served = model(openshift.installation)
    assert condition(served, "Ready") == "True"
    assert served["metadata"]["annotations"]["security.opendatahub.io/enable-auth"] == "false"
    gateway = openshift.cluster.get("gateway", "openshift-ai-inference", "openshift-ingress")
    address = gateway["status"]["addresses"][0]["value"]
    assert served["status"]["url"] == f"https://{address}/models/qwen-basic"
    assert "1 not reachable from here" in openshift.installation.run.output


def test_https_is_answered_with_a_certificate_of_the_service_ca(openshift: Installed) -> None:
    signing = openshift.cluster.get("secret", "signing-key", "openshift-service-ca")
    trust = ssl.create_default_context(cadata=base64.b64decode(signing["data"]["tls.crt"]).decode())
    trust.check_hostname = False  # the certificate is for the name of the Service, which only the cluster knows
    gateway = openshift.cluster.get("gateway", "openshift-ai-inference", "openshift-ingress")
    address = gateway["status"]["addresses"][0]["value"]
    url = f"https://{address}/models/qwen-basic/v1/completions"
    answer = ask(url, {"model": "qwen-basic", "prompt": "hello", "max_tokens": 1}, trust)
    assert answer["choices"][0]["text"]


def ask(url: str, body: dict[str, Any], trust: ssl.SSLContext) -> dict[str, Any]:
    """The answer to a completion."""
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60, context=trust) as answer:
        return dict(json.load(answer))


def test_the_report_has_no_problem_and_says_who_owns_what(openshift: Installed) -> None:
    report = json.loads((openshift.installation.report_folder / "report.json").read_text(encoding="utf-8"))
    assert report["problems"] == []
    owners = {layer["name"]: layer["ownership"] for layer in report["layers"]}
    assert (owners["gateway_api"], owners["sail"], owners["lws"]) == ("external", "delegated", "managed")
    assert report["gateway"]["namespace"] == "openshift-ingress"


def test_a_run_without_an_inventory_finds_openshift_and_changes_nothing(openshift: Installed) -> None:
    variables = on_embedded_cluster(openshift.cluster)
    environment = {"KUBECONFIG": str(variables.pop("kubeconfig"))}
    variables.pop("pull_secret_file")
    run = Project().play("site.yml", variables=variables, environment=environment)
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert "provider openshift," in run.output
    assert condition(model(openshift.installation), "Ready") == "True"


def test_helm_upgrade_with_the_written_values_changes_nothing(openshift: Installed) -> None:
    """Nor does the run after it."""
    done = upgrade_by_hand(openshift.cluster, openshift.installation.report_folder / "values")
    assert (done.failures, done.changes) == ([], [])
    assert {Path(chart).name for chart in done.charts.values()} == {
        *("operator-subscription", "lws", "data-science-cluster", "openshift-gateway-class", "openshift-gateway"),
    }
    assert len(done.charts) == 7


def test_a_second_run_and_a_check_of_it_change_nothing_and_send_no_write(openshift: Installed) -> None:
    mark = AuditMark.now(openshift.cluster.paths.audit_log)
    for arguments in ((), ("--check", "--diff")):
        run = openshift.installation.again(*arguments)
        assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []


def test_the_checks_from_outside_hold(openshift: Installed) -> None:
    run = openshift.installation.verify()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output


def test_a_pod_with_a_fixed_user_is_refused_as_by_openshift(openshift: Installed) -> None:
    """The policy that stands for SecurityContextConstraints was in force, so all pods above passed it."""
    context = '{"spec": {"securityContext": {"runAsUser": 1000}}}'
    run = "run", "fixed", "--namespace=models", "--image=example.com/x", "--dry-run=server"
    assert openshift.cluster.kubectl(*run).returncode == 0
    refused = openshift.cluster.kubectl(*run, f"--overrides={context}")
    assert "unable to validate against any security context constraint" in refused.stderr


def test_another_version_is_asked_for_by_name_and_nothing_goes_back(openshift: Installed) -> None:
    updated = {"olm_operators": {"lws": {"csv": "leader-worker-set.v1.0.1"}}}
    run = openshift.installation.again(variables=updated)
    assert run.exit_code == 0, run.output
    wait_for(
        "the version before to go",
        lambda: names_of(openshift.cluster, CSVS, "openshift-lws-operator") == ["leader-worker-set.v1.0.1"],
    )
    again = openshift.installation.again(variables=updated)
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    mark = AuditMark.now(openshift.cluster.paths.audit_log)
    back = openshift.installation.again()
    assert back.exit_code != 0
    assert "Set olm_operators.lws.csv to leader-worker-set.v1.0.1" in back.text
    assert mark.installer_writes() == []


def names_of(cluster: EmbeddedCluster, kind: str, namespace: str) -> list[str]:
    found = cluster.objects(kind, f"--field-selector=metadata.namespace={namespace}")
    return [item["metadata"]["name"] for item in found]


def test_an_update_by_somebody_else_is_told_before_anything_is_written(openshift: Installed) -> None:
    """Last: it leaves the operator at another version."""
    mark = AuditMark.now(openshift.cluster.paths.audit_log)
    status = '{"status": {"installedCSV": "rhods-operator.3.4.9", "currentCSV": "rhods-operator.3.4.9"}}'
    openshift.cluster.do(
        "patch", SUBSCRIPTIONS, "rhods-operator", "--namespace=redhat-ods-operator", "--subresource=status",
        "--type=merge", f"--patch={status}",
    )  # fmt: skip
    run = openshift.installation.again()
    assert run.exit_code != 0
    assert "IP-PRE-008" in run.output
    assert "rhods-operator.3.4.9" in run.output
    assert mark.installer_writes() == []
