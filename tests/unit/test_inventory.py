"""What a user can get wrong in an inventory, and what they are told."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from inference_platform.findings import Finding, InventoryError, errors, show
from inference_platform.inventory import Sources, examine, pull_secret_path, settings_of, validate
from inference_platform.inventory.role_inputs import role_inputs
from inference_platform.paths import ROOT
from inference_platform.schema import inlined_schema

SECRET = "s3cr3t-t0ken"


def docker_config(registry: str = "registry.redhat.io", **entry: str) -> str:
    if not entry:
        entry = {"auth": base64.b64encode(f"user:{SECRET}".encode()).decode()}
    return json.dumps({"auths": {registry: entry}})


@pytest.fixture
def pull_secret(tmp_path: Path) -> Path:
    path = tmp_path / "pull-secret.json"
    path.write_text(docker_config(), encoding="utf-8")
    return path


@pytest.fixture
def variables(pull_secret: Path) -> dict[str, Any]:
    """An inventory without a mistake."""
    return {
        "platform_release": "3.4",
        "distribution": "redhat",
        "provider": "aws",
        "pull_secret_file": str(pull_secret),
        "models": [
            {
                "name": "qwen-basic",
                "namespace": "models",
                "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
                "gpu": {"product": "NVIDIA-L4"},
            }
        ],
    }


def found(variables: dict[str, Any], sources: Sources | None = None) -> list[Finding]:
    return validate(variables, sources, environ={})


def only(variables: dict[str, Any]) -> Finding:
    (finding,) = found(variables)
    return finding


def test_an_inventory_without_a_mistake_has_no_finding(variables):
    assert found(variables) == []


# keys and types ----------------------------------------------------------------------


def test_an_unknown_key_is_refused_and_the_right_one_proposed(variables):
    finding = only({**variables, "kubeconfg": "x"})
    assert finding.code == "IP-INV-001"
    assert finding.found == '"kubeconfg"'
    assert finding.remedy.startswith("Did you mean kubeconfig")


def test_an_unknown_key_that_resembles_nothing_is_to_be_removed(variables):
    assert only({**variables, "zzzz": 1}).remedy == "Remove zzzz, or correct its name; docs/reference has all keys."


def test_an_unknown_key_of_an_inventory_file_is_found_where_it_is_written(variables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("---\nprovder: aws\n", encoding="utf-8")
    (finding,) = found(variables, Sources.load([tmp_path]))
    assert (finding.code, finding.where) == ("IP-INV-001", "group_vars/all.yml:2 provder")


def test_variables_of_ansible_and_inputs_of_roles_are_allowed(variables):
    assert "cert_manager_wait_seconds" in role_inputs()
    assert found({**variables, "ansible_connection": "local", "cert_manager_wait_seconds": 5}) == []


def test_an_unknown_key_below_a_known_one_is_refused(variables):
    finding = only({**variables, "ownership": {"istio": "managed"}})
    assert (finding.code, finding.where) == ("IP-INV-001", "ownership.istio")
    assert "cert_manager, gateway_api, lws or sail" in finding.expected


def test_a_name_from_elsewhere_is_told_its_name_here(variables):
    finding = only({**variables, "cloud_provider": "aws"})
    assert (finding.code, finding.expected) == ("IP-INV-002", '"provider"')


def test_a_hint_of_the_table_of_renamed_variables_is_passed_on(variables):
    finding = only({**variables, "pull_secret": "abc"})
    assert finding.remedy == "Write pull_secret_file (give the path of the file rather than its content)."


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("models_wait", "yes", "true or false"),
        ("models", {}, "a list"),
        ("ownership", "managed", "a mapping with the keys gateway_api, cert_manager, sail, lws"),
        ("model_defaults", [], "a mapping"),
        ("kubeconfig", 5, "a text or nothing"),
        ("platform_release", ["3.4"], "a release of the catalogue, such as 3.4"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(variables, name, value, expected):
    finding = only({**variables, name: value})
    assert (finding.code, finding.where, finding.expected) == ("IP-INV-003", name, expected)


def test_a_word_that_is_no_choice_is_refused(variables):
    finding = only({**variables, "ownership": {"lws": "mine"}})
    assert (finding.code, finding.expected) == ("IP-INV-004", "managed, delegated, external or auto")


@pytest.mark.parametrize("name", ["platform_release", "distribution", "provider"])
def test_what_decides_the_platform_must_be_said(variables, name):
    del variables[name]
    finding = only(variables)
    assert (finding.code, finding.where, finding.remedy) == ("IP-INV-005", name, f"Add {name}.")


def test_a_file_that_is_no_yaml_is_named_with_its_line(variables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("a: [1\nb: 2\n", encoding="utf-8")
    (finding,) = found(variables, Sources.load([tmp_path]))
    assert (finding.code, finding.where) == ("IP-INV-006", "group_vars/all.yml:2")


def test_an_unknown_release_is_refused_where_it_is_written(variables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("platform_release: '9.9'\n", encoding="utf-8")
    (finding,) = found({**variables, "platform_release": "9.9"}, Sources.load([tmp_path]))
    assert (finding.code, finding.where) == ("IP-PLT-001", "group_vars/all.yml:1 platform_release")


def test_all_mistakes_are_told_at_once(variables):
    variables.update(provider="mars", modls=[], models_wait="x", pull_secret_file="/nowhere")
    assert sorted(finding.code for finding in found(variables)) == [
        "IP-INV-001",
        "IP-INV-003",
        "IP-INV-011",
        "IP-PLT-003",
    ]


def test_mistakes_of_models_are_told_with_those_of_the_platform(variables):
    variables["models"][0]["gpu"]["cuont"] = 1
    variables["zzzz"] = 1
    assert [finding.code for finding in found(variables)] == ["IP-INV-001", "IP-INV-001"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"provider": "awz"},
        {"distribution": "x"},
        {"provider": 5},
        {"ownership": {"sail": "delegated"}, "provider": "gcp"},
    ],
    ids=str,
)
def test_a_wrong_setting_of_the_platform_hides_no_mistake_of_models(variables, wrong):
    model = {**variables["models"][0], "args": ["--port=80"], "zzz": 1}
    findings = found({**variables, **wrong, "models": [model]})
    assert findings[0].where.startswith(tuple(wrong))
    assert [finding.code for finding in findings if finding.where.startswith("models")] == ["IP-INV-001", "IP-MOD-004"]
    assert examine({**variables, **wrong}, environ={}).models is None


@pytest.mark.parametrize("release", ["9.9", 3, None, []], ids=str)
def test_an_unknown_release_leaves_what_the_schema_says_about_models(variables, release):
    """What a release has decides about the rest."""
    model = {**variables["models"][0], "args": ["--port=80"], "zzz": 1}
    others = {
        "models": [model],
        "model_defaults": {"zzz": 1},
        "model_profiles": {"big": {"zzz": 1}},
        "traffic_groups": [{"name": "chat", "namespace": "models", "zzz": 1}],
        "model_routes": [{"name": "r", "namespace": "models", "rules": [{"zzz": 1}]}],
    }
    findings = found({**variables, **others, "platform_release": release})
    assert [finding.where for finding in findings if finding.code == "IP-INV-001"] == [
        "model_profiles.big.zzz",
        "models[0].zzz (qwen-basic)",
        "traffic_groups[0].zzz",
        "model_routes[0].rules[0].zzz",
    ]
    assert findings[0].where == "platform_release"


def test_a_name_in_models_move_that_means_no_model_is_refused(variables):
    variables["models_move"] = ["qwen-basic", "models/qwen-basic"]
    assert found(variables) == []
    variables["models_move"].append("qwen-basci")
    finding = only(variables)
    assert (finding.code, finding.where, finding.found) == ("IP-INV-008", "models_move[2]", "'qwen-basci'")
    assert finding.remedy == "Did you mean qwen-basic? Correct the name, or take it out."
    variables["models_move"] = ["qwen-basic", "nobody"]
    variables["models"][0]["replicas"] = "two"
    assert [item.found for item in found(variables) if item.code == "IP-INV-008"] == ["'nobody'"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        pytest.param({"provider": "ams"}, "IP-PLT-003", id="the provider"),
        pytest.param({"platform_release": "0"}, "IP-PLT-001", id="the release"),
        pytest.param({"node_pools": [{"name": "spot", "capcity": "spot"}]}, "IP-INV-001", id="the pool"),
        pytest.param({"node_pools": [{"name": "spot", "preempts": True}]}, "IP-PLT-024", id="the pool, for the plan"),
    ],
)
def test_a_mistake_elsewhere_does_not_accuse_models_that_use_a_pool(variables, wrong, code):
    variables["node_pools"] = [{"name": "spot"}]
    variables["models"][0]["profiles"] = ["spot"]
    assert found(variables) == []
    assert [finding.code for finding in found(variables | wrong)] == [code]


def test_every_variable_of_the_schema_is_described():
    for name in ("inventory", "model"):
        for key, rule in inlined_schema(name)["properties"].items():
            assert len(rule.get("description", "")) > 10, f"{name} {key}"


def test_settings_are_picked_out_of_all_variables(variables):
    assert settings_of({**variables, "inventory_hostname": "cluster"}) == variables


# pull secret -------------------------------------------------------------------------


def test_a_missing_pull_secret_is_told_with_both_ways_to_give_it(variables):
    del variables["pull_secret_file"]
    finding = only(variables)
    assert finding.code == "IP-INV-010"
    assert "REGISTRY_AUTH_FILE" in finding.remedy


def test_an_empty_path_counts_as_no_path(variables):
    variables["pull_secret_file"] = ""
    assert only(variables).code == "IP-INV-010"


def test_the_environment_may_name_the_pull_secret(variables, pull_secret):
    del variables["pull_secret_file"]
    assert validate(variables, environ={"REGISTRY_AUTH_FILE": str(pull_secret)}) == []


def test_the_inventory_goes_before_the_environment(pull_secret):
    environ = {"REGISTRY_AUTH_FILE": "/elsewhere"}
    assert pull_secret_path({"pull_secret_file": str(pull_secret)}, environ) == pull_secret
    assert pull_secret_path({"pull_secret_file": ""}, environ) == Path("/elsewhere")
    assert pull_secret_path({}, {}) is None


def test_a_secret_of_the_cluster_takes_the_place_of_a_file(variables):
    del variables["pull_secret_file"]
    variables["pull_secret_from"] = {"namespace": "vault", "name": "registry"}
    assert validate(variables, environ={}) == []
    assert pull_secret_path(variables, {"REGISTRY_AUTH_FILE": "/elsewhere"}) is None


def test_a_file_and_a_secret_are_one_too_many(variables):
    variables["pull_secret_from"] = {"namespace": "vault", "name": "registry"}
    finding = only(variables)
    assert finding.code == "IP-INV-014"
    assert "Remove one of them" in finding.remedy


def test_the_environment_may_hold_the_pull_secret_itself(variables, pull_secret):
    del variables["pull_secret_file"]
    assert validate(variables, environ={"DOCKER_AUTH_CONFIG": pull_secret.read_text()}) == []
    (finding,) = validate(variables, environ={"DOCKER_AUTH_CONFIG": "hunter2"})
    assert finding.code == "IP-INV-012"
    assert "hunter2" not in str(finding)


def contents() -> dict[str, str]:
    """What people put where the path of a file belongs."""
    config = docker_config("vault.example.com")
    return {
        "one line": config,
        "several lines": json.dumps(json.loads(config), indent=2) + "\n",
        "YAML": f"auths:\n  vault.example.com:\n    auth: {SECRET}\n",
        "YAML on one line": f"auths: {{vault.example.com: {{auth: {SECRET}}}}}",
        "a list": f'["{SECRET}"]',
        "base64 of the file": base64.b64encode(config.encode()).decode(),
        "base64 of user:password": base64.b64encode(f"user:{SECRET}".encode()).decode(),
        "with a null byte": f"/{SECRET}\0",
        "too long a name": SECRET * 40,
        "too long a path": f"/{SECRET}" * 400,
        "a home folder": f"~{{{SECRET}}}/x",
    }


def no_part_of(text: str, findings: list[Finding]) -> None:
    """No eight letters of a text are in any finding."""
    told = str([finding.to_dict() for finding in findings])
    assert [text[at : at + 8] for at in range(len(text) - 7) if text[at : at + 8] in told] == []


@pytest.mark.parametrize("provider", ["aws", "openshift"])
@pytest.mark.parametrize("place", ["the inventory", "the environment"])
@pytest.mark.parametrize("kind", contents())
def test_a_pull_secret_in_the_place_of_its_path_is_refused_and_not_shown(variables, kind, place, provider):
    """Also where no pull secret is made: playbooks/mirror.yml uses the path on OpenShift, too."""
    variables |= {"provider": provider, "models": []}
    text, environ = contents()[kind], {}
    if place == "the inventory":
        variables["pull_secret_file"] = text
    else:
        del variables["pull_secret_file"]
        environ["REGISTRY_AUTH_FILE"] = text
    findings = validate(variables, environ=environ)
    no_part_of(text, findings)
    if kind.startswith("too long"):
        assert [finding.code for finding in findings] == (["IP-INV-011"] if provider == "aws" else [])
        return
    (finding,) = findings
    assert (finding.code, finding.severity) == ("IP-INV-022", "error")
    assert finding.found.startswith("the content of a file instead of its path, in ")
    assert finding.found.endswith("$REGISTRY_AUTH_FILE" if environ else "pull_secret_file")
    assert "$" not in finding.remedy
    assert "DOCKER_AUTH_CONFIG" in finding.remedy


@pytest.mark.parametrize(
    "name", ["123", "my secrets/pull-secret.json", "~/auth.json", "~nobody-here/auth.json", "schlüssel"]
)
def test_a_path_is_no_content_and_is_shown(variables, name):
    variables["pull_secret_file"] = name
    finding = only(variables)
    assert finding.code == "IP-INV-011"
    assert name.removeprefix("~") in finding.found


def test_a_folder_is_no_pull_secret(variables, tmp_path):
    variables["pull_secret_file"] = str(tmp_path)
    finding = only(variables)
    assert (finding.code, finding.found) == ("IP-INV-011", f'"{tmp_path}": Is a directory')


@pytest.mark.parametrize("kind", ["one line", "several lines", "base64 of the file", "base64 of user:password"])
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda text: {"pull_secret_from": text}, id="the Secret"),
        pytest.param(lambda text: {"pull_secret_from": {"namespace": "vault", "name": text}}, id="its name"),
        pytest.param(lambda text: {"platform_image_registry": text}, id="the mirror"),
        pytest.param(lambda text: {"pull_secret_file": [text]}, id="a list"),
        pytest.param(lambda text: {"pull_secret_file": {"auths": {"a": text}}}, id="a mapping"),
        pytest.param(lambda text: {"pull_secret": text}, id="another name"),
    ],
)
def test_credentials_in_another_wrong_place_are_not_shown_either(variables, wrong, kind):
    text = contents()[kind]
    findings = found(variables | wrong(text))
    assert findings
    no_part_of(text, findings)


@pytest.mark.parametrize("key", ["mirror.example.com:5000", "mirror.example.com:5000/a"])
def test_with_a_mirror_the_credentials_are_those_of_the_mirror(variables, pull_secret, key):
    variables |= {"platform_image_registry": "mirror.example.com:5000/a/b", "provider": "generic", "models": []}
    finding = only(variables)
    assert (finding.code, finding.severity) == ("IP-INV-013", "warning")
    assert "mirror.example.com:5000" in finding.expected
    pull_secret.write_text(json.dumps({"auths": {key: {"username": "u", "password": "p"}}}))
    assert validate(variables) == []


def test_images_that_anybody_may_pull_need_no_pull_secret_but_one_that_is_named_is_looked_at(variables, pull_secret):
    variables |= {"distribution": "community", "provider": "generic"}
    assert found(variables) == [], "credentials of any registry"
    variables["platform_image_registry"] = "mirror.example.com"

    def codes() -> list[str]:
        return [finding.code for finding in found(variables) if finding.code not in STILL_OUTSIDE]

    assert codes() == ["IP-INV-013"]
    pull_secret.write_text("none")
    assert codes() == ["IP-INV-012"]
    del variables["pull_secret_file"]
    assert codes() == []


# where files come from ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("platform_crd_mirror", "https://mirror.example.com/crds"),
        ("platform_crd_mirror", "http://127.0.0.1:8080"),
        ("platform_crd_mirror", "file:///srv/someone@home/files"),
        ("platform_crd_mirror", ""),
        ("platform_chart_mirror", "oci://[::1]:5000/charts"),
        ("platform_chart_mirror", "https://mirror.example.com/charts/"),
        ("platform_chart_mirror", None),
    ],
)
def test_a_mirror_that_can_be_asked_is_taken(variables, name, url):
    assert found({**variables, name: url}) == []


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("platform_crd_mirror", "mirror.example.com/crds"),
        ("platform_crd_mirror", "/srv/crds"),
        ("platform_crd_mirror", "file://srv/crds"),
        ("platform_crd_mirror", "https:///crds"),
        ("platform_crd_mirror", "oci://mirror.example.com/crds"),
        ("platform_crd_mirror", "https://mirror.example.com:port/crds"),
        ("platform_crd_mirror", "https://[::1/crds"),
        ("platform_chart_mirror", "mirror.example.com/charts"),
        ("platform_chart_mirror", "file:///srv/charts"),
        ("platform_chart_mirror", "OCI:/mirror.example.com"),
    ],
)
def test_a_mirror_that_cannot_be_asked_is_refused(variables, name, url):
    finding = only({**variables, name: url})
    assert (finding.code, finding.where, finding.found) == ("IP-INV-023", name, show(url))
    schemes = {
        "platform_crd_mirror": "https://, http:// or file:///",
        "platform_chart_mirror": "oci://, https:// or http://",
    }
    assert finding.expected == f"a URL that begins with {schemes[name]}"


@pytest.mark.parametrize("name", ["platform_crd_mirror", "platform_chart_mirror"])
@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@mirror.example.com/x",
        f"https://{SECRET}@mirror.example.com/x",
        f"https://user:a/{SECRET}@mirror.example.com/x",
        f"user:{SECRET}@mirror.example.com/x",
        f"file://user:{SECRET}@mirror.example.com/x",
        f"https://mirror.example.com/x?token={SECRET}",
    ],
)
def test_credentials_in_the_url_of_a_mirror_are_refused_and_not_shown(variables, name, url):
    finding = only({**variables, name: url})
    assert finding.code == "IP-INV-023"
    assert SECRET not in str(finding)


def test_crd_files_come_from_a_folder_that_is_there(variables, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert found({**variables, "crd_directory": "~"}) == []
    for path, word in (("~/none", "not there"), (variables["pull_secret_file"], "no folder")):
        finding = only({**variables, "crd_directory": path})
        assert (finding.code, finding.where) == ("IP-INV-024", "crd_directory")
        assert finding.found == f'"{path.replace("~", str(tmp_path))}", which is {word}'
    assert only({**variables, "crd_directory": "x" * 5000}).code == "IP-INV-024"
    openshift = {**variables, "provider": "openshift", "models": [], "crd_directory": "/none"}
    assert found(openshift) == [], "no layer there lays a CRD"


def test_crd_files_come_from_a_folder_or_a_mirror(variables, tmp_path):
    both = {"crd_directory": str(tmp_path), "platform_crd_mirror": "https://mirror.example.com"}
    finding = only(variables | both)
    assert (finding.code, finding.found) == ("IP-PLT-029", "both")


STILL_OUTSIDE = ("IP-INV-015", "IP-INV-016")


def still_outside(variables: dict[str, Any], **settings: object) -> dict[str, Finding]:
    """The warnings about what a mirror does not have."""
    given = {**variables, "platform_image_registry": "mirror.example.com", **settings}
    return {finding.code: finding for finding in found(given) if finding.code in STILL_OUTSIDE}


def test_what_a_mirror_does_not_have_is_told_at_its_setting(variables, tmp_path):
    written = tmp_path / "mine" / "group_vars" / "all" / "offline.yml"
    written.parent.mkdir(parents=True)
    written.write_text("---\nplatform_image_registry: mirror.example.com\n", encoding="utf-8")
    settings = {**variables, "platform_image_registry": "mirror.example.com"}
    told = [item for item in found(settings, Sources.load([tmp_path / "mine"])) if item.code in STILL_OUTSIDE]
    assert [(item.code, item.severity) for item in told] == [("IP-INV-015", "warning"), ("IP-INV-016", "warning")]
    assert all(item.where.endswith("offline.yml:2 platform_image_registry") for item in told)
    images, weights = told
    assert images.found.startswith("8 images of registry.redhat.io, which the cloud manager")
    assert images.found.endswith("for lws, sail")
    assert "certs.d/ (containerd) or registries.conf (CRI-O)" in images.remedy
    assert weights.found.startswith("hf://Qwen/Qwen2.5-0.5B-Instruct, which the pods fetch")
    assert "into an image or on a claim" in weights.remedy


def test_without_a_mirror_nothing_is_said_of_it(variables):
    assert still_outside(variables, platform_image_registry="") == {}


def test_a_mirror_that_has_everything_is_no_finding(variables):
    models = [{**variables["models"][0], "uri": "pvc://weights/qwen"}]
    assert still_outside(variables, provider="generic", models=models) == {}
    assert still_outside(variables, cloud_manager="none", models=models) == {}
    assert still_outside(variables, models=models).keys() == {"IP-INV-015"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"uri": "s3://bucket/folder", "credentials_secret": "keys"}, "s3://bucket/folder, which"),
        ({"revision": "main"}, "hf://Qwen/Qwen2.5-0.5B-Instruct:main, which"),
        ({"uri": "oci://quay.io/a/b:1"}, None),
        (
            {"uri": "pvc://claim/folder", "lora": {"adapters": [{"name": "sql", "uri": "hf://a/sql"}]}},
            "hf://a/sql, which",
        ),
        ({"storage_initializer": False}, None),
    ],
)
def test_weights_from_outside_are_told_with_their_adapters(variables, changes, told):
    model = {**variables["models"][0], **changes}
    finding = still_outside(variables, provider="generic", models=[model]).get("IP-INV-016")
    assert finding.found.startswith(told) if told else finding is None


def test_of_many_weights_some_are_named(variables):
    models = [{**variables["models"][0], "name": f"m{number}", "uri": f"hf://a/m{number}"} for number in range(5)]
    finding = still_outside(variables, provider="generic", models=models)["IP-INV-016"]
    assert finding.found.startswith("hf://a/m0, hf://a/m1, hf://a/m2 and 2 more, which")


@pytest.mark.parametrize("registry", ["https://mirror.example.com", "Mirror.example.com/a", "mirror.example.com/Team"])
def test_a_mirror_has_no_scheme_and_no_capital_letters(variables, registry):
    variables["platform_image_registry"] = registry
    found = [finding for finding in validate(variables) if "platform_image_registry" in finding.where]
    assert [finding.expected for finding in found] == ["host[:port][/path] in lower case, without a scheme"]


@pytest.mark.parametrize("name", ["missing.json", ""])
def test_a_pull_secret_that_is_no_file_is_refused(variables, tmp_path, name):
    variables["pull_secret_file"] = str(tmp_path / name)
    finding = only(variables)
    assert finding.code == "IP-INV-011"
    assert str(tmp_path) in finding.found


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{SECRET}",
        f'{{"auths": {{"registry.redhat.io": "{SECRET}"',
        f'["{SECRET}"]',
        f'{{"auths": "{SECRET}"}}',
        f'{{"credHelpers": {{"registry.redhat.io": "{SECRET}"}}}}',
    ],
)
def test_a_pull_secret_of_another_form_is_refused_without_showing_it(variables, pull_secret, text):
    pull_secret.write_text(text, encoding="utf-8")
    finding = only(variables)
    assert finding.code == "IP-INV-012"
    assert SECRET not in str(finding)


def test_a_pull_secret_that_is_no_text_is_refused(variables, pull_secret):
    pull_secret.write_bytes(b"\xff\xfe\x00")
    assert only(variables).code == "IP-INV-012"


@pytest.mark.parametrize(
    "text",
    [
        docker_config("quay.io"),
        docker_config(auth=""),
        docker_config(auth="%%%"),
        docker_config(auth=base64.b64encode(f"{SECRET}".encode()).decode()),
        docker_config(username="user"),
        '{"auths": {"registry.redhat.io": {}}}',
        f'{{"auths": {{"registry.redhat.io": "{SECRET}"}}}}',
    ],
)
def test_a_pull_secret_without_credentials_for_the_registry_is_refused_without_showing_it(variables, pull_secret, text):
    pull_secret.write_text(text, encoding="utf-8")
    finding = only(variables)
    assert finding.code == "IP-INV-013"
    assert SECRET not in str(finding)


def test_credentials_may_be_given_as_user_and_password(variables, pull_secret):
    pull_secret.write_text(docker_config(username="user", password=SECRET), encoding="utf-8")
    assert found(variables) == []


# messages ----------------------------------------------------------------------------


def test_a_finding_says_where_what_and_what_to_do():
    finding = Finding("IP-X-001", "error", "a.yml:3 provider", "aws", '"mars"', "Set provider to aws.")
    assert str(finding) == 'IP-X-001 error at a.yml:3 provider: expected aws, found "mars". Set provider to aws.'
    assert set(finding.to_dict()) == {"code", "severity", "where", "expected", "found", "remedy"}


def test_an_inventory_error_counts_mistakes_and_lists_everything():
    warning = Finding("W", "warning", "here", "x", "y", "Do z.")
    mistake = Finding("E", "error", "there", "x", "y", "Do z.")
    error = InventoryError([mistake, warning])
    assert str(error).startswith("1 mistake in the inventory:")
    assert "W warning" in str(error)
    assert errors(error.findings) == [mistake]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", '"a b"'),
        (True, "true"),
        (None, "nothing"),
        (3, "3"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "a mapping with the keys a"),
        ("x" * 100, '"' + "x" * 76 + "..."),
    ],
)
def test_values_are_quoted_short_and_on_one_line(value, text):
    assert show(value) == text


# sample inventories ------------------------------------------------------------------


@pytest.mark.parametrize("folder", sorted((ROOT / "inventories").iterdir()), ids=lambda folder: folder.name)
def test_the_sample_inventories_use_only_known_variables(folder):
    names = dict.fromkeys(Sources.load([folder]).variables)
    unknown = [finding for finding in found({}, Sources.load([folder])) if finding.code == "IP-INV-001"]
    assert names
    assert unknown == []
