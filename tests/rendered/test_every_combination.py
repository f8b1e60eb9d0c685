"""Every (release x distribution x provider) that the catalogue allows: charts, engine, gates and models.

Each chart is rendered with the values that its role gives it for that plan, and what comes out is checked against the
CRDs that the plan locks.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from inference_platform.catalog import load
from inference_platform.catalog.load import of_distribution
from inference_platform.cluster import rights
from inference_platform.models import render
from inference_platform.platform import resolve
from inference_platform.preflight import data as preflight_data
from tests.rendered.charts import CHARTS, IMAGE, REPOSITORY, Helm, label, merged, strings
from tests.support.crd_schema import UPSTREAM_VARIABLE, CrdIndex, locked_file, upstream_crds

ROLES = REPOSITORY / "roles"
CA = "-----BEGIN CERTIFICATE-----\nZm9yIHJlbmRlcmluZyBvbmx5\n-----END CERTIFICATE-----"
OF_OPENSHIFT = {
    "operators.coreos.com", "dscinitialization.opendatahub.io", "datasciencecluster.opendatahub.io",
}  # fmt: skip
#: Helm reads, makes, changes and, in a later release, removes objects.
VERBS_OF_HELM = ("get", "create", "patch", "delete")
BUILT_IN = {"v1", "apps/v1", "rbac.authorization.k8s.io/v1", "admissionregistration.k8s.io/v1"}
#: The LWS operator brings its CRD, so that is in no lock; the version is the one it is nearest to.
BROUGHT_ALONG = Path("lws/v0.8.0/leaderworkersets.leaderworkerset.x-k8s.io.yaml")


@dataclass(frozen=True)
class Combination:
    """One combination, with the provider's cloud manager or without one."""

    release: str
    distribution: str
    provider: str
    cloud_manager: str

    def __str__(self) -> str:
        without = "-alone" if self.cloud_manager == "none" else ""
        return f"{self.release}-{self.distribution}-{self.provider}{without}"

    @functools.cached_property
    def plan(self) -> dict[str, Any]:
        settings = {"distribution": self.distribution, "provider": self.provider, "cloud_manager": self.cloud_manager}
        return resolve({"platform_release": self.release, **settings}).to_dict()


def combinations() -> Iterator[Combination]:
    for name, release in load().releases.items():
        for distribution in release["distributions"]:
            for provider, choice in of_distribution(release, distribution)["providers"].items():
                yield Combination(name, distribution, provider, "auto")
                if "dependencies" in release["engine_lines"][choice["engine_line"]]:
                    yield Combination(name, distribution, provider, "none")


EVERY = list(combinations())


@pytest.fixture(params=EVERY, ids=str)
def combination(request: pytest.FixtureRequest) -> Combination:
    chosen: Combination = request.param
    return chosen


@pytest.fixture
def objects(helm: Helm, tmp_path: Path, combination: Combination) -> list[dict[str, Any]]:
    """What all Helm releases of the combination render, with the namespace of their release."""
    found = []
    for layer in combination.plan["layers"]:
        found += subscription_objects(helm, tmp_path, layer, combination.plan)
        own_charts = [release for release in layer["releases"] if not release["published"]]
        values = role_values(layer["name"], combination.plan) if own_charts else {}
        for release in own_charts:
            own = merged(
                values.get(release["name"], {}), {"caBundle": CA} if release["name"] == "inference-gateway" else {}
            )
            found += rendered(helm, release["chart"], release["namespace"], json.dumps(own, sort_keys=True), tmp_path)
    return found


def subscription_objects(
    helm: Helm, folder: Path, layer: Mapping[str, Any], plan: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What brings the operator of a layer by way of OLM, as the role ``platform`` renders it."""
    if layer["operator"] is None:
        return []
    loader = DataLoader()
    variables: dict[str, Any] = {"platform": plan, "platform_olm_layer": layer, "platform_olm_source": ""}
    variables |= loader.load_from_file(str(ROLES / "platform" / "vars" / "main.yml"), trusted_as_template=True)
    values = json.dumps(Templar(loader=loader, variables=variables).template(variables["_platform_olm_values"]))
    namespace = plan["operators"][layer["operator"]]["namespace"]
    return rendered(helm, "operator-subscription", namespace, values, folder)


def role_values(role: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The chart values that a role makes of a plan, by release."""
    loader = DataLoader()
    variables: dict[str, Any] = {"platform": plan}
    for part in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLES / role / part / "main.yml"), trusted_as_template=True) or {}
    values = Templar(loader=loader, variables=variables).template(variables.get(f"_{role}_values", {}))
    return json.loads(json.dumps(values))  # built-in types only


_RENDERED: dict[tuple[str, str, str], list[dict[str, Any]]] = {}


def rendered(helm: Helm, chart: str, namespace: str, values: str, folder: Path) -> list[dict[str, Any]]:
    """The objects of a chart with these values (JSON); each is rendered once."""
    key = (chart, namespace, values)
    if key not in _RENDERED:
        file = folder / "values.json"
        file.write_text(values, encoding="utf-8")
        arguments = ("template", chart, str(CHARTS / chart), "--namespace", namespace, "--values", str(file))
        result = helm.run(*arguments)
        assert result.returncode == 0, f"{' '.join(arguments)}: {result.stderr}"
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _RENDERED[key] = [obj for obj in yaml.load_all(result.stdout, Loader=loader) if obj]
    return _RENDERED[key]


@dataclass(frozen=True)
class LockedCrds:
    """The CRDs that a plan locks, as far as they are at hand, by name; read when they are asked for."""

    files: Mapping[str, Path]

    def violations(self, obj: Mapping[str, Any]) -> list[str]:
        """Why the object would not be stored as it is."""
        file = self.files.get(f"{obj['kind'].lower()}s.{obj['apiVersion'].partition('/')[0]}")
        return [str(item) for item in index_of(file).violations(obj)] if file else [f"{label(obj)}: no CRD is locked"]


def crds_of(plan: Mapping[str, Any]) -> LockedCrds:
    """The CRDs of a plan; skips the test when no real CRDs are at hand."""
    folder = upstream_crds()
    if folder is None:
        pytest.skip(f"the real CRDs are not here: put them in ../shared/upstream/crds or set {UPSTREAM_VARIABLE}")
    locked = [file for entry in plan["crds"].values() for file in entry["files"]]
    files = {file["name"]: locked_file(folder, file["name"], file["url"]) for file in locked}
    files[BROUGHT_ALONG.stem] = folder / BROUGHT_ALONG
    return LockedCrds({name: path for name, path in files.items() if path})


@functools.cache
def index_of(file: Path) -> CrdIndex:
    return CrdIndex.from_files([file])


def test_there_are_releases_3_4_and_3_5_on_five_providers_and_3_4_on_openshift_and_of_the_community() -> None:
    found = {(entry.release, entry.distribution, entry.provider) for entry in EVERY}
    kinds = (("3.4", "redhat"), ("3.5", "redhat"), ("3.4", "community"))
    five = {
        (*kind, provider)
        for kind, provider in itertools.product(kinds, ("aws", "azure", "coreweave", "gcp", "generic"))
    }
    assert found == five | {("3.4", "redhat", "openshift")}


def test_custom_resources_are_accepted_by_the_locked_crds(
    combination: Combination, objects: list[dict[str, Any]]
) -> None:
    index = crds_of(combination.plan)
    custom = [obj for obj in objects if obj["apiVersion"] not in BUILT_IN and not of_openshift(obj)]
    assert {obj["kind"] for obj in custom} >= {"Gateway"}
    assert [violation for obj in custom for violation in index.violations(obj)] == []


def of_openshift(obj: Mapping[str, Any]) -> bool:
    """Whether the object's CRD comes with OpenShift or with an operator from there, so that no plan locks it."""
    return obj["apiVersion"].partition("/")[0] in OF_OPENSHIFT or obj["kind"] == "GatewayClass"


def test_preflight_asks_for_the_rights_to_every_kind_that_is_rendered(
    combination: Combination, objects: list[dict[str, Any]]
) -> None:
    asked = set(rights.needed(combination.plan, [], preflight_data.load()["rights"]))
    kinds = {(obj["apiVersion"].rpartition("/")[0], obj["kind"]) for obj in objects}
    wanted = {(group, rights.resource_of(kind), verb) for group, kind in kinds for verb in VERBS_OF_HELM}
    assert wanted - asked == set()


def test_resources_are_called_as_in_the_locked_crds(combination: Combination, objects: list[dict[str, Any]]) -> None:
    locked = {file["name"] for entry in combination.plan["crds"].values() for file in entry["files"]}
    groups = {name.partition(".")[2] for name in locked}
    named = {f"{rights.resource_of(obj['kind'])}.{obj['apiVersion'].partition('/')[0]}" for obj in objects}
    ours = {name for name in named if name.partition(".")[2] in groups}
    assert ours >= {"gateways.gateway.networking.k8s.io"}
    assert ours - locked == set()


def test_objects_of_gates_are_accepted_by_the_locked_crds(combination: Combination) -> None:
    index = crds_of(combination.plan)
    checks = [check for gate in combination.plan["gates"].values() for check in gate if check["check"] == "dry_run"]
    kinds = {"ClusterIssuer", "LeaderWorkerSet", "LLMInferenceService"}
    community = {"LLMInferenceServiceConfig"} if combination.distribution == "community" else set()
    assert {check["object"]["kind"] for check in checks} == kinds | community
    assert [violation for check in checks for violation in index.violations(check["object"])] == []


def test_models_are_accepted_by_the_locked_crds(combination: Combination) -> None:
    model = {
        "name": "qwen",
        "namespace": "models",
        "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
        "replicas": 2,
        "gpu": {"product": "NVIDIA-L4", "count": 1},
        "scheduler": {"strategy": "load_aware"},
    }
    result = render([model], {}, combination.plan)
    assert [str(finding) for finding in result.findings if finding.severity == "error"] == []
    services = [obj for obj in result.objects if obj["kind"] == "LLMInferenceService"]
    index = crds_of(combination.plan)
    assert [violation for obj in services for violation in index.violations(obj)] == []
    assert len(services) == 1


def test_every_image_is_one_of_the_plan_by_digest(combination: Combination, objects: list[dict[str, Any]]) -> None:
    images = {text for obj in objects for text in strings(obj) if IMAGE.fullmatch(text)}
    assert bool(images) == (combination.plan["route"] == "helm" and combination.distribution == "redhat")
    assert images <= set(combination.plan["images"].values())
    pods = [obj for obj in objects if obj["kind"] == "Deployment"]
    for obj in pods:
        spec = obj["spec"]["template"]["spec"]
        used = {container["image"] for container in [*spec["containers"], *spec.get("initContainers", [])]}
        assert used <= images, label(obj)


def test_the_objects_carry_the_version_of_the_release(combination: Combination, objects: list[dict[str, Any]]) -> None:
    own = {"rhai-operator", "kserve-instance", "inference-gateway", "pki", "platform", "kubernetes-engine"}
    own |= {"openshift-gateway", "openshift-gateway-class", "data-science-cluster"}
    versions = {
        obj["metadata"]["labels"]["app.kubernetes.io/version"]
        for obj in objects
        if obj["metadata"].get("labels", {}).get("app.kubernetes.io/name") in own
    }
    assert versions == {combination.plan["version"]}


def test_the_platform_resource_is_there_only_in_3_5(combination: Combination, objects: list[dict[str, Any]]) -> None:
    platforms = [obj["spec"] for obj in objects if obj["kind"] == "Platform"]
    wanted = {"3.4": [], "3.5": [{"modules": {"kserve": {"managementState": "Managed"}}}]}
    assert platforms == wanted[combination.release]


def test_every_namespace_is_one_that_the_plan_makes(combination: Combination, objects: list[dict[str, Any]]) -> None:
    made = {*combination.plan["namespaces"].values(), "kube-system"}
    assert {obj["metadata"]["namespace"] for obj in objects if "namespace" in obj["metadata"]} <= made


def test_roles_ask_the_plan_only_for_images_and_versions_that_every_release_has() -> None:
    asked = {
        match
        for path in ROLES.glob("*/vars/main.yml")
        for match in re.findall(r"platform\.(images|versions)\.([a-z_]+)", path.read_text(encoding="utf-8"))
    }
    of_cloud_manager = {("images", "cloud_manager")}
    of_own_istio = {("versions", "istio"), ("versions", "sail_operator")}
    for entry in (entry for entry in EVERY if entry.distribution == "redhat"):
        missing = {(kind, name) for kind, name in asked if name not in entry.plan[kind]}
        allowed = (set() if entry.plan["engine"] else of_cloud_manager) | (
            of_own_istio if entry.plan["route"] == "olm" else set()
        )
        assert missing <= allowed, str(entry)


def test_on_openshift_every_operator_is_held_at_the_version_of_the_release(
    combination: Combination, objects: list[dict[str, Any]]
) -> None:
    subscriptions = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "Subscription"}
    groups = {obj["metadata"]["namespace"] for obj in objects if obj["kind"] == "OperatorGroup"}
    operators = {entry["package"]: entry for entry in combination.plan["operators"].values()}
    assert subscriptions.keys() == operators.keys()
    assert groups == {entry["namespace"] for entry in operators.values()}
    for package, obj in subscriptions.items():
        wanted = {"installPlanApproval": "Manual", "startingCSV": operators[package]["csv"], "name": package}
        assert wanted.items() <= obj["spec"].items()
        assert obj["metadata"]["namespace"] == operators[package]["namespace"]


def test_on_openshift_no_chart_brings_what_the_cluster_has(
    combination: Combination, objects: list[dict[str, Any]]
) -> None:
    if combination.plan["route"] == "helm":
        return
    kinds = {obj["kind"] for obj in objects}
    brought = {"Subscription", "OperatorGroup", "GatewayClass", "Gateway", "LeaderWorkerSetOperator"}
    assert kinds == brought | {"DSCInitialization", "DataScienceCluster"}
    assert [layer["crds"] for layer in combination.plan["layers"]] == [[]] * len(combination.plan["layers"])
