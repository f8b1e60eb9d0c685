"""The sample inventories of further providers, each on nodes that look like the provider's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from inference_platform.catalog import load
from inference_platform.cluster.objects import STAMP
from tests.scenarios.conftest import (
    INVENTORIES,
    Installation,
    Start,
    install_sample,
    install_without_inventory,
    on_embedded_cluster,
)
from tests.scenarios.test_install_on_aws import DEPLOYMENTS, condition, deployments, model
from tests.support import crd_mirror, guides
from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.playbook import Project
from tests.support.rights import settings_of, written_without_asking
from tests.support.values_files import upgrade_by_hand

pytestmark = pytest.mark.cluster


@dataclass(frozen=True)
class Target:
    """An inventory, the nodes it runs on, a release, and what differs there.

    engine           provider whose cloud manager runs; None: there is none, and the certificates are the installer's
    delegated        dependencies that the cloud manager brings
    asked            those of them that it brings because the inventory says so
    load_balancer    whether the cluster gives addresses
    mirror           registry that all images come from; no run then reaches anything but the cluster and the mirror's
                     folder with CRD files
    inventoried      whether its inventory is given; without, the run finds out what it would say
    alone            without the cloud manager that the provider has
    further          not what a sample says by itself, so that only `make test-every` installs it
    """

    inventory: str
    flavour: str
    release: str
    engine: str | None = None
    delegated: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    load_balancer: bool = True
    mirror: str = ""
    inventoried: bool = True
    alone: bool = False
    further: bool = False

    @property
    def settings(self) -> dict[str, object]:
        """What its inventory says besides."""
        return {
            "platform_release": self.release,
            **({"platform_image_registry": self.mirror} if self.mirror else {}),
            **({"ownership": dict.fromkeys(sorted(self.asked), "delegated")} if self.asked else {}),
            **({"cloud_manager": "none"} if self.alone else {}),
        }

    @property
    def environment(self) -> dict[str, str]:
        """Without internet, a proxy that nothing listens on is all that leads out of this machine."""
        return dict(CLOSED) if self.mirror else {}

    def __str__(self) -> str:
        return f"{self.inventory}-{self.release}{'-alone' if self.alone else ''}"

    @property
    def deployments(self) -> dict[str, int]:
        """Namespace/name of each Deployment of the platform, and its replicas."""
        wanted = {name: count for name, count in DEPLOYMENTS.items() if "cloud-manager" not in name}
        if self.engine:
            wanted[f"rhai-cloudmanager-system/{self.engine}-cloud-manager-operator"] = 1
        return wanted | OF_RELEASE.get(self.release, {})


#: Deployments in which a release differs from 3.4.
OF_RELEASE = {
    "3.5": {"redhat-ods-operator/rhai-operator": 1, "redhat-ods-applications/kserve-module-controller-manager": 1}
}
VERSIONS = {"3.4": "3.4.4", "3.5": "3.5.0"}
_PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:1")
CLOSED = {**_PROXIES, **{name.upper(): url for name, url in _PROXIES.items()}}
CLOSED |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
DEPENDENCIES = frozenset({"gateway_api", "cert_manager", "sail", "lws"})

TARGETS = (
    Target("coreweave", "coreweave", "3.4", engine="coreweave"),
    Target("coreweave", "coreweave", "3.5", engine="coreweave", delegated=DEPENDENCIES, asked=DEPENDENCIES),
    Target("gke", "gcp", "3.4", mirror="mirror.example.com:5000/platform"),
    Target("gke", "gcp", "3.5"),
    Target("generic", "generic", "3.4", load_balancer=False, inventoried=False),
    Target("generic", "generic", "3.5", load_balancer=False),
    Target("eks", "aws", "3.5", engine="aws", delegated=frozenset({"sail", "lws"})),
    Target("eks", "aws", "3.5", alone=True, further=True),
)
#: Where releases are carried on with helm alone: with and without a cloud manager, in the newer release.
BY_HAND = tuple(target for target in TARGETS if str(target) in ("eks-3.5", "gke-3.5"))
#: Release and provider of installations that have a test module of their own.
OF_OTHER_MODULES = {("3.4", "aws"), ("3.4", "azure"), ("3.5", "azure"), ("3.4", "openshift")}


@dataclass(frozen=True)
class Installed:
    """A target and what installing it came to."""

    target: Target
    installation: Installation


def test_every_release_is_installed_on_every_provider_that_it_is_for() -> None:
    releases = load().releases
    wanted = {(name, provider) for name, release in releases.items() for provider in release["providers"]}
    assert {(target.release, target.flavour) for target in TARGETS} | OF_OTHER_MODULES == wanted


@pytest.fixture(
    scope="module",
    params=[pytest.param(target, marks=pytest.mark.combination) if target.further else target for target in TARGETS],
    ids=str,
)
def installed(
    request: pytest.FixtureRequest, start_cluster: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    target: Target = request.param
    with start_cluster(target.inventory, target.flavour) as cluster:
        folder = tmp_path_factory.mktemp(target.inventory)
        if target.mirror:
            made = install_from_mirror(cluster, target, folder)
        elif target.inventoried:
            made = install_sample(cluster, target.inventory, folder, target.environment, **target.settings)
        else:
            models = INVENTORIES / target.inventory / "group_vars" / "all" / "30-models.yml"
            made = install_without_inventory(cluster, models, folder, target.environment, **target.settings)
        yield Installed(target, made)


def install_from_mirror(cluster: EmbeddedCluster, target: Target, folder: Path) -> Installation:
    """Installs with CRD files by platform_crd_mirror; the lock has those of the embedded cluster."""
    project = Project.copy_to(folder / "project")
    settings = settings_of(target.inventory) | target.settings
    crds = crd_mirror.fill(project, settings, cluster.tools / "crds", folder / "mirror")
    given = crds | target.settings
    return install_sample(cluster, target.inventory, folder, target.environment, project, **given)


def test_cluster_context_and_plan_are_shown_before_the_first_write(installed: Installed) -> None:
    made = installed.installation
    (entry,) = json.loads(made.cluster.do("config", "view", "--minify", "--output", "json"))["contexts"]
    plan = made.run.output.index(f"Platform   release {installed.target.release}")
    (line,) = [line for line in made.run.output[:plan].splitlines() if line.strip().startswith("Cluster  ")]
    assert entry["name"] in line
    assert f"provider {installed.target.flavour}," in made.run.output[plan:]
    assert made.early == []
    assert made.before.installer_writes() != []


def test_exactly_the_deployments_of_the_provider_are_ready(installed: Installed) -> None:
    wanted = {name: (count, count) for name, count in installed.target.deployments.items()}
    assert deployments(installed.installation) == wanted


def test_dependencies_are_delegated_as_the_release_says_and_the_report_has_no_problem(installed: Installed) -> None:
    report = json.loads((installed.installation.report_folder / "report.json").read_text(encoding="utf-8"))
    owners = {layer["name"]: layer["ownership"] for layer in report["layers"] if layer["name"] in DEPENDENCIES}
    assert {name for name, owner in owners.items() if owner == "delegated"} == installed.target.delegated
    assert {name for name, owner in owners.items() if owner == "managed"} == DEPENDENCIES - installed.target.delegated
    assert report["problems"] == []


def test_nothing_was_written_without_a_right_that_preflight_asks_for(installed: Installed) -> None:
    settings = settings_of(installed.target.inventory) | installed.target.settings
    assert written_without_asking(installed.installation.before, settings) == []


def test_the_controller_of_kserve_is_of_the_release(installed: Installed) -> None:
    cluster, version = installed.installation.cluster, VERSIONS[installed.target.release]
    presets = cluster.objects("llminferenceserviceconfigs.serving.kserve.io", "--namespace=redhat-ods-applications")
    assert {item["metadata"]["name"].partition("-kserve-")[0] for item in presets} == {f"v{version.replace('.', '-')}"}
    (kserve,) = cluster.objects("kserves.components.platform.opendatahub.io")
    assert condition(kserve, "Ready") == "True"
    assert kserve["metadata"]["labels"]["app.kubernetes.io/version"] == version


def test_the_certificates_come_from_the_cloud_manager_or_from_our_chart(installed: Installed) -> None:
    cluster = installed.installation.cluster
    issuers = {item["metadata"]["name"]: item for item in cluster.objects("clusterissuers.cert-manager.io")}
    assert issuers.keys() == {"opendatahub-selfsigned-issuer", "rhai-ca-issuer"}
    assert {condition(item, "Ready") for item in issuers.values()} == {"True"}
    by_helm = {
        item["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "Helm" for item in issuers.values()
    }
    assert by_helm == {installed.target.engine is None}


def test_the_gateway_is_as_ready_as_the_provider_lets_it_be(installed: Installed) -> None:
    gateway = installed.installation.cluster.get("gateway", "inference-gateway", "redhat-ods-applications")
    assert condition(gateway, "Accepted") == "True"
    addresses = gateway["status"].get("addresses", [])
    assert bool(addresses) == installed.target.load_balancer


def test_the_model_is_ready(installed: Installed) -> None:
    assert condition(model(installed.installation), "Ready") == "True"


@pytest.mark.parametrize(
    "installed", [target for target in TARGETS if str(target) == "generic-3.5"], ids=str, indirect=True
)
def test_without_load_balancers_the_checks_from_outside_hold(installed: Installed) -> None:
    run = installed.installation.verify()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output


WITHOUT_INTERNET = pytest.mark.parametrize(
    "installed", [target for target in TARGETS if target.mirror], ids=str, indirect=True
)


@WITHOUT_INTERNET
def test_without_internet_every_pod_runs_an_image_of_the_mirror(installed: Installed) -> None:
    """That the installation got here at all shows that it needed nothing from outside."""
    pods = [item["spec"] for item in installed.installation.cluster.objects("pods")]
    images = {part["image"] for spec in pods for part in [*spec.get("initContainers", []), *spec["containers"]]}
    assert len(images) > 10
    assert {image for image in images if not image.startswith(f"{installed.target.mirror}/")} == set()


@WITHOUT_INTERNET
def test_without_internet_the_crd_files_come_from_the_mirror(installed: Installed) -> None:
    mirror = urlsplit(str(installed.installation.variables["platform_crd_mirror"])).path
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(mirror).rglob("*") if path.is_file()}
    crds = installed.installation.cluster.objects("customresourcedefinitions")
    stamps = {item["metadata"].get("annotations", {}).get(STAMP) for item in crds} - {None}
    assert stamps == files


@WITHOUT_INTERNET
def test_without_internet_a_run_that_needs_something_from_there_says_what(installed: Installed, tmp_path: Path) -> None:
    """The control: here the way out is closed indeed. The lock of the repository asks for other CRD files."""
    variables: dict[str, object] = {"platform_crd_mirror": "", "platform_crd_cache": str(tmp_path)}
    made = replace(installed.installation, project=Project())
    run = made.again("--tags", "validate", variables=variables)
    assert run.exit_code == 2, run.output
    assert "could not be had: https://raw.githubusercontent.com/" in run.text
    assert "set `crd_directory` to a folder with the files" in run.text


def test_a_run_without_an_inventory_names_the_cluster_finds_the_provider_and_changes_nothing(
    installed: Installed,
) -> None:
    made, cluster = installed.installation, installed.installation.cluster
    variables = on_embedded_cluster(cluster) | made.variables
    environment = installed.target.environment | {
        "KUBECONFIG": str(variables.pop("kubeconfig")),
        "REGISTRY_AUTH_FILE": str(variables.pop("pull_secret_file")),
    }
    run = made.project.play("site.yml", variables=variables, environment=environment)
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    (entry,) = json.loads(cluster.do("config", "view", "--minify", "--output", "json"))["clusters"]
    plan = run.output.index(f"Platform   release {installed.target.release}")
    assert f"Cluster    {entry['cluster']['server']} (context " in run.output[:plan]
    assert f"provider {installed.target.flavour}," in run.output[plan:]
    assert "Versions   cert_manager 1.18.4" in run.output[plan:]
    assert plan < run.output.index("Namespaces and pull secrets", plan)
    assert condition(model(installed.installation), "Ready") == "True"


@pytest.mark.parametrize("installed", BY_HAND, ids=str, indirect=True)
def test_helm_upgrade_with_the_written_values_changes_nothing(installed: Installed) -> None:
    """Nor does the run after it."""
    done = upgrade_by_hand(installed.installation.cluster, installed.installation.report_folder / "values")
    assert (done.failures, done.changes) == ([], [])
    assert len(done.charts) > 5


def test_a_second_run_changes_nothing_and_sends_no_write(installed: Installed) -> None:
    mark = AuditMark.now(installed.installation.cluster.paths.audit_log)
    run = installed.installation.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []


REMOVED = pytest.mark.parametrize(
    "installed",
    [
        *(target for target in TARGETS if str(target) == "generic-3.4"),
        *(pytest.param(item, marks=pytest.mark.combination) for item in TARGETS if str(item) == "coreweave-3.5"),
    ],
    ids=str,
    indirect=True,
)


@REMOVED
def test_the_guide_removes_everything_in_its_order_and_it_can_be_installed_again(installed: Installed) -> None:
    """The last one: it leaves a new installation behind."""
    made = installed.installation
    cluster, release_names = made.cluster, {name for name, _ in guides.releases(made.cluster)}
    gone: dict[str, object] = {"models": [], "models_delete": True, "models_prune": True}
    run = made.again("--tags", "models", variables=gone)
    assert run.exit_code == 0, run.output
    wait_for("the model to be deleted", lambda: not cluster.objects("llminferenceservices.serving.kserve.io"))

    removed = guides.follow(cluster, guides.commands("remove.md", "Everything"))
    assert set(removed) == release_names
    assert guides.releases(cluster) == []
    assert [item["metadata"]["name"] for item in cluster.objects("deployments")] == []
    guides.follow(cluster, guides.commands("remove.md", "What stays"))
    left = {item["metadata"]["name"] for item in cluster.objects("namespaces")}
    assert left == {"default", "kube-node-lease", "kube-public", "kube-system", "models"}

    again = made.again()
    assert again.exit_code == 0, again.output
    assert condition(model(made), "Ready") == "True"
