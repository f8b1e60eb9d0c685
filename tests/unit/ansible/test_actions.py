"""The actions: what their documentation says, how they merge, and what they tell."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.inference.platform.plugins.action import gate, mirror, plan, release, report
from ansible_collections.inference.platform.plugins.plugin_utils import findings, plan_table, platform_action
from ansible_collections.inference.platform.plugins.plugin_utils.role_inputs import (
    check_chart_values,
    check_role_inputs,
)
from ansible_collections.inference.platform.plugins.plugin_utils.timeline import SECTIONS, Section

from inference_platform import platform
from inference_platform.catalog import load as load_catalog
from inference_platform.cluster import trust
from inference_platform.cluster.gate import GateProgress, GateResult, Waiting
from inference_platform.cluster.helm import ReleaseError
from inference_platform.findings import Finding
from inference_platform.mirror import copying, files

ROOT = Path(__file__).resolve().parents[3]
ACTIONS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("*.py"))
COLLECTION = "ansible_collections.inference.platform.plugins"


@pytest.fixture(scope="module")
def shown() -> dict[str, dict[str, Any]]:
    """What ansible-doc shows of each module, doc fragments included."""
    names = [f"inference.platform.{name}" for name in ACTIONS]
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "--type", "module", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.rpartition(".")[2]: found for name, found in json.loads(done.stdout).items()}


@pytest.mark.parametrize("name", ACTIONS)
def test_documentation_and_arguments_of_an_action_agree(name: str, shown: dict[str, dict[str, Any]]) -> None:
    arguments = importlib.import_module(f"{COLLECTION}.action.{name}").ActionModule.ARGUMENTS
    documented = shown[name]["doc"].get("options", {})
    assert any("C(inference_platform)" in note for note in shown[name]["doc"]["notes"])
    keys = ("type", "elements", "required", "default")
    assert {option: {key: spec[key] for key in keys if key in spec} for option, spec in documented.items()} == {
        option: {key: spec[key] for key in keys if key in spec} for option, spec in arguments.items()
    }
    assert yaml.safe_load(shown[name]["examples"])


def test_every_action_that_connects_is_in_the_group_of_the_connection() -> None:
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["cluster"]
    connecting = [
        name
        for name in ACTIONS
        if "kubeconfig" in importlib.import_module(f"{COLLECTION}.action.{name}").ActionModule.ARGUMENTS
    ]
    assert sorted(group) == connecting


def test_values_are_merged_from_common_to_the_users() -> None:
    arguments = {
        "common_values": {"global": {"imagePullSecrets": ["a"], "imageRegistry": ""}},
        "values": {"pki": {"ca": {"secretName": "rhai-ca", "duration": "1h"}}},
        "extra_values": {"pki": {"ca": {"duration": "2h"}, "global": {"imagePullSecrets": ["b"]}}},
    }
    assert release.values_of({"name": "pki"}, arguments) == {
        "global": {"imagePullSecrets": ["b"], "imageRegistry": ""},
        "ca": {"secretName": "rhai-ca", "duration": "2h"},
    }
    assert arguments["common_values"]["global"]["imagePullSecrets"] == ["a"]


def test_a_wait_in_one_line_names_the_first_check_and_counts_the_others() -> None:
    first = Waiting("Deployment a/b", "0 of 1 replicas available", ("pod b-1 Pending: no node",))
    progress = GateProgress(12.0, 60.0, 3, 5, (first, Waiting("Secret a/c", "does not exist yet")))
    assert gate.in_one_line(progress) == (
        "3 of 5 hold; Deployment a/b: 0 of 1 replicas available (and 1 more); pod b-1 Pending: no node"
    )


def test_a_gate_in_check_mode_says_what_a_run_would_wait_for() -> None:
    result = gate.look(GateResult(False, 0.0, 2, (Waiting("Secret a/c", "does not exist yet"),)))
    assert result["waiting"] == ["Secret a/c: does not exist yet"]
    assert result["msg"].startswith("skipped in check mode; 1 of 2 checks do not hold yet")
    assert "failed" not in result
    assert gate.look(GateResult(True, 0.0, 1))["msg"] == "1 check holds"


def test_findings_name_file_expected_found_and_what_to_do() -> None:
    finding = Finding("IP-X-001", "error", "inv/all.yml:3 provider", "aws or azure", '"asw"', "Set provider to aws.")
    assert findings.as_table([finding]).splitlines() == [
        "inv/all.yml:3 provider  (error IP-X-001)",
        "  expected    aws or azure",
        '  found       "asw"',
        "  what to do  Set provider to aws.",
    ]


def test_role_inputs_of_the_wrong_type_are_found_before_anything_starts() -> None:
    given = {"sail_wait_seconds": "soon", "lws_values": {}, "provider": "aws"}
    found = list(check_role_inputs(ROOT / "roles", given, lambda path: f"inv/all.yml:7 {path[0]}"))
    assert [(item.where, item.found) for item in found] == [("inv/all.yml:7 sail_wait_seconds", '"soon"')]
    assert "a whole number" in found[0].expected


def test_chart_values_that_no_release_would_get_are_found_before_anything_starts() -> None:
    given = {
        "lws_values": {"lws": {}, "lws-operator": {}, "lws-opperator": {}, "leader-worker-set": {"env": {"A": "b"}}},
        "cert_manager_values": {"openshift-cert-manager-operator": {"startingCSV": "x.v1", "approval": "Automatic"}},
        "gateway_api_values": {"gateway-api": {}},
    }
    found = list(check_chart_values(load_catalog(), given, ".".join))
    assert sorted(item.where for item in found) == [
        "cert_manager_values.openshift-cert-manager-operator.approval",
        "cert_manager_values.openshift-cert-manager-operator.startingCSV",
        "gateway_api_values.gateway-api",
        "lws_values.lws-opperator",
    ]


def test_values_that_are_no_mapping_or_of_another_distribution_are_told() -> None:
    given = {
        "lws_values": {"lws": "text", 1: {}},
        "cert_manager_values": {"cert-manager": {}, "openshift-cert-manager-operator": "text"},
    }
    found = check_chart_values(load_catalog(), given, lambda path: ".".join(map(str, path)))
    assert sorted((item.where, item.code) for item in found) == [
        ("cert_manager_values.cert-manager", "IP-INV-021"),
        ("cert_manager_values.openshift-cert-manager-operator", "IP-INV-020"),
        ("lws_values.1", "IP-INV-021"),
        ("lws_values.lws", "IP-INV-020"),
    ]
    mine = {"distribution": "community", "cert_manager_values": {"cert-manager": {}}}
    assert list(check_chart_values(load_catalog(), mine, ".".join)) == []


@pytest.mark.parametrize(
    ("layer", "release", "values", "place", "instead"),
    [
        pytest.param(
            "cloud_manager",
            "kubernetes-engine",
            {"dependencies": {"lws": {"managementPolicy": "Unmanaged"}}},
            "dependencies",
            "Set ownership instead.",
            id="it would delete every LeaderWorkerSet",
        ),
        pytest.param(
            "cloud_manager", "cloud-manager", {"provider": "azure"}, "provider", "Set provider instead.", id="provider"
        ),
        pytest.param(
            "sail", "istio", {"updateStrategy": "RevisionBased"}, "updateStrategy", "go by the plan.", id="no istiod"
        ),
        pytest.param(
            "sail", "istio", {"version": "v1.26.0"}, "version", "go by the plan.", id="images that no mirror has"
        ),
        pytest.param(
            "inference_gateway",
            "openshift-gateway",
            {"allowedRoutes": {"label": {"name": "team", "value": "a"}}},
            "allowedRoutes",
            "go by the plan.",
            id="a label that no namespace of models has",
        ),
        pytest.param("pki", "pki", {"ca": {"secretName": "x"}}, "ca.secretName", "go by the plan.", id="authority"),
        pytest.param("pki", "pki", {"ca": None}, "ca", "", id="nothing in place of a mapping"),
        pytest.param(
            "platform_operator",
            "rhai-operator",
            {"applicationsNamespace": "mine"},
            "applicationsNamespace",
            "go by the plan.",
            id="namespace",
        ),
        pytest.param(
            "inference_gateway",
            "inference-gateway",
            {"https": {"certificate": {"issuerName": "mine"}}},
            "https.certificate.issuerName",
            "Set gateway instead.",
            id="issuer",
        ),
    ],
)
def test_chart_values_that_the_plan_decides_are_found_before_anything_starts(
    layer: str, release: str, values: dict[str, Any], place: str, instead: str
) -> None:
    given = {f"{layer}_values": {release: values}}
    (found,) = check_chart_values(load_catalog(), given, ".".join)
    assert (found.code, found.where) == ("IP-INV-021", f"{layer}_values.{release}.{place}")
    assert found.remedy.endswith(instead)


@pytest.mark.parametrize(
    ("layer", "release", "values", "place", "instead"),
    [
        pytest.param("sail", "istiod", {"revision": "canary"}, "revision", "go by the plan.", id="no istiod"),
        pytest.param(
            "sail",
            "istiod",
            {"pilot": {"env": {"PILOT_ENABLE_GATEWAY_API": "false"}}},
            "pilot.env.PILOT_ENABLE_GATEWAY_API",
            "go by the plan.",
            id="no gateways",
        ),
        pytest.param("cert_manager", "cert-manager", {"crds": {"enabled": False}}, "crds.enabled", "", id="no CRDs"),
        pytest.param("lws", "lws", {"fullnameOverride": "mine"}, "fullnameOverride", "", id="another name"),
        pytest.param(
            "kserve",
            "kserve-llmisvc-resources",
            {"kserve": {"controller": {"gateway": {"ingressGateway": {"kserveGateway": "a/b"}}}}},
            "kserve.controller.gateway.ingressGateway.kserveGateway",
            "Set gateway instead.",
            id="gateway",
        ),
    ],
)
def test_values_of_published_charts_that_the_plan_decides_are_found_too(
    layer: str, release: str, values: dict[str, Any], place: str, instead: str
) -> None:
    given = {"distribution": "community", f"{layer}_values": {release: values}}
    (found,) = check_chart_values(load_catalog(), given, ".".join)
    assert (found.code, found.where) == ("IP-INV-021", f"{layer}_values.{release}.{place}")
    assert found.remedy.endswith(instead)
    free = {"distribution": "community", "sail_values": {"istiod": {"pilot": {"env": {"PILOT_TRACE_SAMPLING": "1"}}}}}
    assert list(check_chart_values(load_catalog(), free, ".".join)) == []


def test_chart_values_that_the_plan_leaves_free_are_taken() -> None:
    given = {
        "cloud_manager_values": {"cloud-manager": {"nodeSelector": {"a": "b"}}, "kubernetes-engine": {}},
        "sail_values": {"istio": {"pilot": {"resources": {"requests": {"cpu": "500m"}}}}},
        "pki_values": {"pki": {"ca": {"duration": "8760h"}}},
        "inference_gateway_values": {
            "inference-gateway": {"https": {"certificate": {"extraDnsNames": ["a.example.com"]}}},
            "openshift-gateway": {"https": {"hostname": "models.example.com", "serviceCA": False}},
        },
    }
    assert list(check_chart_values(load_catalog(), given, ".".join)) == []


def with_dots(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


@pytest.mark.parametrize(
    ("layer", "release", "values", "place", "code", "told"),
    [
        pytest.param(
            "inference_gateway",
            "inference-gateway",
            {"drainSecond": 900},
            "drainSecond",
            "IP-INV-001",
            "Did you mean drainSeconds?",
            id="a misspelt value",
        ),
        pytest.param(
            "inference_gateway",
            "inference-gateway",
            {"service": {"anotations": {}}},
            "service.anotations",
            "IP-INV-001",
            "Did you mean annotations",
            id="a misspelt value further in",
        ),
        pytest.param(
            "inference_gateway",
            "inference-gateway",
            {"drainSeconds": 90000},
            "drainSeconds",
            "IP-INV-004",
            "at most 3600 (Seconds that requests have",
            id="beyond the limits",
        ),
        pytest.param(
            "kserve", "kserve", {"bogus": 1}, "bogus", "IP-INV-001", "charts/kserve/README.md", id="like no other value"
        ),
        pytest.param(
            "inference_gateway",
            "openshift-gateway",
            {"http": {"port": 15021}},
            "http.port",
            "IP-INV-004",
            "other than 15020, 15021 or 15090",
            id="a value taken out",
        ),
        pytest.param(
            "sail",
            "istio",
            {"pilot": {"extraEnv": {"PILOT_ENABLE_GATEWAY_API": "false"}}},
            "pilot.extraEnv.PILOT_ENABLE_GATEWAY_API",
            "IP-INV-004",
            "a value other than PILOT_ENABLE_GATEWAY_API",
            id="a name taken out",
        ),
        pytest.param("sail", "istio", {"pilot": 3}, "pilot", "IP-INV-003", "a mapping", id="of another type"),
        pytest.param(
            "platform_operator",
            "rhai-operator",
            {"relatedImages": [{"name": "RELATED_IMAGE_X"}]},
            "relatedImages.0.value",
            "IP-INV-005",
            "Add value.",
            id="a part of a list, which takes the place of the chart's",
        ),
        pytest.param(
            "lws", "lws-operator", {"resources": None}, "resources", "IP-INV-005", "null is none", id="null: needed"
        ),
        pytest.param(
            "lws", "leader-worker-set", {"envs": {}}, "envs", "IP-INV-001", "the key env", id="of a Subscription"
        ),
    ],
)
def test_values_that_the_schema_of_a_chart_refuses_are_found_before_anything_starts(
    layer: str, release: str, values: dict[str, Any], place: str, code: str, told: str
) -> None:
    (found,) = check_chart_values(load_catalog(), {f"{layer}_values": {release: values}}, with_dots)
    assert (found.code, found.where) == (code, f"{layer}_values.{release}.{place}")
    assert told in f"{found.expected}: {found.remedy}"


def test_values_of_the_plan_that_the_schema_refuses_too_are_told_once() -> None:
    given = {
        "inference_gateway_values": {"inference-gateway": {"https": {"port": "none"}, "allowedRoutes": {"x": 1}}},
        "lws_values": {"leader-worker-set": {"channel": 1}},
    }
    found = check_chart_values(load_catalog(), given, with_dots)
    assert sorted((item.code, item.where) for item in found) == [
        ("IP-INV-021", "inference_gateway_values.inference-gateway.allowedRoutes"),
        ("IP-INV-021", "inference_gateway_values.inference-gateway.https.port"),
        ("IP-INV-021", "lws_values.leader-worker-set.channel"),
    ]


def test_null_takes_away_what_a_chart_can_be_without() -> None:
    given = {"sail_values": {"sail-operator": {"resources": {"limits": None, "requests": {"cpu": None}}}}}
    assert list(check_chart_values(load_catalog(), given, with_dots)) == []


def test_charts_of_others_may_take_any_value() -> None:
    given = {"distribution": "community", "sail_values": {"istiod": {"pilot": {"bogus": 3}}}}
    assert list(check_chart_values(load_catalog(), given, with_dots)) == []


def test_annotations_of_the_gateway_are_texts() -> None:
    given = {"inference_gateway_service_annotations": {"a": ["ip"], "b": 3, "c": None, "d": True, "e": "true"}}
    found = check_chart_values(load_catalog(), given, with_dots)
    assert {item.where.rpartition(".")[2]: item.remedy for item in found} == {
        "a": "Set a to a text.",
        "b": "Put the value in quotes.",
        "c": "Set c to a text.",
        "d": "Put the value in quotes.",
    }


def test_the_gateway_of_openshift_takes_no_more_annotations_than_its_chart() -> None:
    given = {"inference_gateway_service_annotations": dict.fromkeys("abcdefg", "x")}
    assert list(check_chart_values(load_catalog(), {"provider": "aws", **given}, with_dots)) == []
    (found,) = check_chart_values(load_catalog(), {"provider": "openshift", **given}, with_dots)
    assert (found.where, found.expected) == (
        "inference_gateway_service_annotations",
        "a mapping with at most this many keys: 6",
    )


@pytest.mark.parametrize("path", sorted(ROOT.glob("inventories/*/group_vars/all/20-layers.yml")), ids=str)
def test_examples_of_chart_values_in_the_samples_are_right(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("# ") and line.endswith("_values:")]
    example = itertools.takewhile(lambda line: line.startswith("# "), lines[starts[0] :] if starts else [])
    given = yaml.safe_load("\n".join(line[2:] for line in example)) or {}
    assert list(check_chart_values(load_catalog(), given, with_dots)) == []


#: Values that a role gives from the plan and a user may have otherwise: nothing else goes by them.
FREE = {"images", "relatedImages", "service", "sail-operator.version"}


def releases_of_own_charts() -> dict[str, dict[str, Any]]:
    """The entries of layers.yml by name."""
    entries = [entry for layer in load_catalog().layers for entry in layer.get("releases", [])]
    return {entry["name"]: entry for entry in entries if "chart" in entry}


def values_of_roles() -> set[tuple[str, str]]:
    """(release, dotted path) of every value that a role gives."""
    found = set()
    for path in (ROOT / "roles").glob("*/vars/main.yml"):
        values = yaml.safe_load(path.read_text(encoding="utf-8")).get(f"_{path.parents[1].name}_values", {})
        found |= {(name, leaf) for name, content in values.items() for leaf in dotted_leaves(content)}
    return found


def dotted_leaves(content: dict[str, Any], above: str = "") -> list[str]:
    """Paths of all values that are no mappings."""
    leaves: list[str] = []
    for key, value in content.items():
        leaves += dotted_leaves(value, f"{above}{key}.") if isinstance(value, dict) else [f"{above}{key}"]
    return leaves


def test_values_that_a_role_gives_are_decided_by_the_plan_or_known_to_be_free() -> None:
    entries, given = releases_of_own_charts(), values_of_roles()
    assert ("kubernetes-engine", "dependencies") in given
    unsaid = {
        f"{name}.{value}"
        for name, value in given
        if not any(f"{value}.".startswith(f"{part}.") for part in entries[name].get("decided", {}))
    }
    assert {text for text in unsaid if not {text, text.split(".")[1]} & FREE} == set()


#: What the catalogue gives published charts and users may have otherwise: where images and credentials come from, and
#: how much Istio logs.
FREE_OF_PUBLISHED = ("image", "Secrets", "hub", "tag", "accessLogFile")


def test_values_that_the_catalogue_gives_published_charts_are_decided_by_the_plan_or_known_to_be_free() -> None:
    catalog = load_catalog()
    entries = [entry for layer in catalog.layers for entry in layer.get("releases", []) if "published" in entry]
    assert {entry["published"] for entry in entries} == set(catalog.charts)
    for entry in entries:
        given = set(dotted_leaves(catalog.charts[entry["published"]]["values"]))
        unsaid = given - set(entry.get("decided", {}))
        assert {value for value in unsaid if not any(part in value for part in FREE_OF_PUBLISHED)} == set(), entry


def test_decided_values_are_values_of_the_chart_and_follow_settings_that_exist() -> None:
    settings = json.loads((ROOT / "schemas" / "inventory.schema.json").read_text())["properties"]
    for name, entry in releases_of_own_charts().items():
        schema = json.loads((ROOT / "charts" / entry["chart"] / "values.schema.json").read_text())
        for value, followed in entry.get("decided", {}).items():
            part = schema
            for key in value.split("."):
                assert key in part["properties"], f"{name}: {value}"
                part = part["properties"][key]
            assert followed in {*settings, "platform"}, f"{name}: {value}"


def test_a_role_input_that_is_named_like_a_setting_is_told_with_it() -> None:
    given = {"models_profiles": {"large": {"gpu": {"count": 8}}}}
    (found,) = check_role_inputs(ROOT / "roles", given, lambda path: path[0])
    assert found.remedy.endswith("Or did you mean model_profiles?")


def test_pieces_of_a_pull_secret_behind_e_are_not_shown() -> None:
    assert 'found "v2". Write a list without spaces' in plan.about_stray("v2")
    for piece in ('{"vault.example.com": {"auth": "hunter2"}}}', "{hunter2:", "auth: 'hunter2'", "hunter2\n"):
        assert "hunter2" not in plan.about_stray(piece)


def test_settings_are_complete_with_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    settings = plan.complete({"provider": "aws"})
    assert settings["models"] == []
    assert settings["models_wait"] is True
    assert settings["kubeconfig"] is None
    assert settings["pull_secret_file"] == str(tmp_path / "auth.json")
    public = {"provider": "generic", "distribution": "community"}
    assert plan.complete(public)["pull_secret_file"] is None, "the environment alone makes no pull secret"
    assert plan.complete({**public, "pull_secret_file": "/a"})["pull_secret_file"] == "/a"
    openshift = {"provider": "openshift"}
    assert plan.complete(openshift)["pull_secret_file"] is None, "the nodes of OpenShift have the credentials"
    assert plan.complete({**openshift, "pull_secret_file": "/a"})["pull_secret_file"] == "/a", "mirror.yml uses it"


def test_the_plan_says_which_cluster_and_who_owns_what(aws: dict[str, Any]) -> None:
    model = SimpleNamespace(namespace="m", name="a", pods=2, gpus=4, gpu_product="NVIDIA-L4", uri="hf://x/y", state="")
    stopped = SimpleNamespace(namespace="m", name="b", state="stopped", uri="hf://x/y")
    on_cpus = SimpleNamespace(namespace="m", name="c", pods=1, gpus=0, gpu_product=None, uri="hf://x/y", state="")
    text = plan_table.as_text(aws, "https://c (context k)", [model, stopped, on_cpus])
    assert "Cluster    https://c (context k)" in text
    assert "cloud manager of the 3.5 line" in text
    assert "model m/a: 2 pods with 4 x NVIDIA-L4, hf://x/y" in text
    assert "model m/b: stopped, hf://x/y" in text
    assert "model m/c: 1 pod, hf://x/y" in text
    lines = {line.split()[1]: line for line in text.splitlines() if line[:2].strip().isdigit()}
    assert lines["sail"].endswith("the cloud manager")
    assert lines["cert_manager"].endswith("this installer")


def test_the_report_gets_the_times_of_layers_and_models_only(
    aws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sail", "models", "platform"):
        monkeypatch.setitem(SECTIONS, name, Section(name, name, seconds=2.5, changed=name == "models"))
    assert report.timings_of(aws) == {
        "sail": {"seconds": 2.5, "changed": False},
        "models": {"seconds": 2.5, "changed": True},
    }


def test_values_from_ansible_become_plain_data() -> None:
    class Text(str):
        """As Ansible tags values with where they come from."""

    value = platform_action.plain({Text("a"): [Text("b"), (1, True)], "c": None})
    assert value == {"a": ["b", [1, True]], "c": None}
    assert {type(key) for key in value} == {str}
    assert type(value["a"][0]) is str


def test_no_image_is_copied_before_the_charts_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {"platform_release": "3.4", "provider": "generic", "distribution": "community"}
    copied: list[Any] = []
    monkeypatch.setattr(mirror.handover, "take", lambda _: SimpleNamespace(objects=[], entries=[], mirrored={}))
    monkeypatch.setattr(copying, "find_program", lambda: tmp_path / "skopeo")
    monkeypatch.setattr(copying, "copy", lambda *given: copied.append(given))
    monkeypatch.setattr(files, "download", lambda *_, **__: 0)
    action = mirror.ActionModule.__new__(mirror.ActionModule)
    monkeypatch.setattr(action, "_task", SimpleNamespace(check_mode=False), raising=False)
    arguments = {name: option.get("default") for name, option in mirror.ActionModule.ARGUMENTS.items()}
    given = {"platform": platform.resolve(settings).to_dict(), "rendered": "", "directory": str(tmp_path / "mirror")}
    wanted = {"copy": True, "registry": "mirror.example.com", "helm": "/no/helm"}
    with pytest.raises(ReleaseError, match="Expected the helm program /no/helm"):
        action.perform({**arguments, **given, **wanted})
    assert copied == []


def test_a_release_warns_of_authorities_that_its_bundle_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "bundle", lambda *_, **__: trust.Bundle("THE BUNDLE", "It keeps an old one."))
    action, installed = release.ActionModule.__new__(release.ActionModule), list[Any]()
    monkeypatch.setattr(action, "_task", SimpleNamespace(check_mode=False), raising=False)
    monkeypatch.setattr(action, "connect", lambda _: None)

    def install(_: Any, wanted: Any, __: Any) -> tuple[Any, Any]:
        installed.append(wanted)
        outcome = SimpleNamespace(action="unchanged", changed=False, diff="", notes=[])
        return SimpleNamespace(changed=False, diff=lambda: ""), outcome

    monkeypatch.setattr(action, "install", install)
    arguments = {name: option.get("default") for name, option in release.ActionModule.ARGUMENTS.items()}
    source = {"release": "inference-gateway", "value": "caBundle", "namespace": "x", "secret": "y", "key": "ca.crt"}
    entries = [{"name": name, "chart": name, "namespace": "apps"} for name in ("inference-gateway", "pki")]
    done = action.perform({**arguments, "values": {}, "releases": entries, "certificates": [source]})
    assert done["warnings"] == ["It keeps an old one."]
    assert [item.values for item in installed] == [{"caBundle": "THE BUNDLE"}, {}]
