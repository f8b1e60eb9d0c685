"""What the charts accept, refuse and say about their values."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import generate_docs
from tests.rendered.charts import CHARTS, RELEASE_NAMESPACES, Case, Helm, case, load_yaml

ALL_CHARTS = sorted(RELEASE_NAMESPACES)
NEEDED = {"inference-gateway": "http", "operator-subscription": "cert-manager"}
RENDERABLE = [case(chart, NEEDED.get(chart)) for chart in ALL_CHARTS]

TWICE = {"name": "RELATED_IMAGE_TWICE", "value": f"registry.example.com/image@sha256:{'0' * 64}"}

# Settings that contradict each other or the software, and what the chart must say.
CONTRADICTIONS = [
    (
        case("cloud-manager"),
        ["provider=aws"],
        "provider: expected one of azure, coreweave for engineLine 3.4, found aws",
    ),
    (
        case("kubernetes-engine"),
        ["provider=aws"],
        "provider: expected azure or coreweave for engineLine 3.4, found aws",
    ),
    (
        case("kubernetes-engine"),
        ["dependencies.lws.configuration.namespace=lws"],
        "dependencies.lws.configuration: expected nothing for engineLine 3.4",
    ),
    (case("inference-gateway", "http"), ["caBundle="], "caBundle: expected the platform's CA certificate in PEM form"),
    (
        case("inference-gateway", "http"),
        ["caBundle=BEGIN CERTIFICATE BEGIN PRIVATE KEY"],
        "caBundle: expected certificates only, found a private key",
    ),
    (
        case("inference-gateway", "http"),
        ["http.enabled=false"],
        "http.enabled and https.enabled: expected at least one listener",
    ),
    (
        case("inference-gateway", "http"),
        ["https.enabled=true", "https.port=80"],
        "http.port and https.port: expected different ports, found 80 for both",
    ),
    (
        case("inference-gateway", "http"),
        ["http.redirect=true"],
        "http.redirect: expected both listeners, found one",
    ),
    (
        case("inference-gateway", "http"),
        ["https.enabled=true", "https.certificate.internalNames=false"],
        "https.certificate: expected at least one name, found none",
    ),
    (
        case("openshift-gateway"),
        ["https.enabled=false"],
        "http.enabled and https.enabled: expected at least one listener",
    ),
    (
        case("openshift-gateway"),
        ["http.enabled=true", "http.port=443"],
        "http.port and https.port: expected different ports, found 443 for both",
    ),
    *(
        (case(chart), ["version=3.3.1"], "version: expected a version of one of the releases 3.4, 3.5, found 3.3.1")
        for chart in ("kserve", "rhai-operator")
    ),
    (
        case("rhai-operator"),
        [f"relatedImages[{i}].{key}={value}" for i in (0, 1) for key, value in TWICE.items()],
        "relatedImages: expected each name once, found RELATED_IMAGE_TWICE twice",
    ),
]

KSERVE = "components.kserve"

# Values of the wrong type or form, and what the schema must name.
REFUSED = [
    (case("rhai-operator"), "images.rhai_operator=registry.example.com/operator:latest", "images.rhai_operator"),
    (case("rhai-operator"), "replicas=-1", "replicas"),
    (case("cloud-manager"), "engineLine=3.6", "engineLine"),
    (case("cloud-manager"), "provider=gcp", "provider"),
    (case("istio"), "version=latest", "version"),
    (case("istio"), "pilot.extraEnv.PILOT_ENABLE_GATEWAY_API=false", "pilot.extraEnv"),
    (case("kubernetes-engine"), "dependencies.lws.managementPolicy=managed", "dependencies.lws.managementPolicy"),
    (case("inference-gateway", "http"), "http.port=70000", "http.port"),
    (case("kserve"), "global.imagePullSecrets=rhai-pull-secret", "global.imagePullSecrets"),
    # Each of these would delete the serving stack.
    (case("data-science-cluster"), f"{KSERVE}.managementState=Removed", f"{KSERVE}.managementState"),
    (case("data-science-cluster"), f"{KSERVE}.managementState=Unmanaged", f"{KSERVE}.managementState"),
    (case("data-science-cluster"), f"{KSERVE}=null", KSERVE.partition(".")[0]),
    (case("data-science-cluster"), "components.ray.managementState=Unmanaged", "components.ray.managementState"),
    (case("data-science-cluster"), "components.kueue.managementState=Managed", "components.kueue.managementState"),
    (case("pki"), "ca.duration=0h", "ca.duration"),
    (case("inference-gateway", "http"), "http.port=15021", "http.port"),
    (case("kserve-instance"), "spec.managementState=Removed", "spec"),
    (case("data-science-cluster"), f"{KSERVE}.managmentState=Managed", KSERVE),
    (case("data-science-cluster"), "components.ray.managmentState=Managed", "components.ray"),
]


@pytest.mark.parametrize("chosen", RENDERABLE, ids=str)
@pytest.mark.parametrize("key", ["imagePullSecret", "global.imagePullSecret"])
def test_a_misspelt_key_is_refused(helm: Helm, chosen: Case, key: str) -> None:
    result = helm.template(chosen, "--set", f"{key}=typo")
    assert result.returncode != 0
    assert "imagePullSecret' not allowed" in result.stderr


@pytest.mark.parametrize(("chosen", "setting", "place"), REFUSED, ids=lambda value: str(value))
def test_a_wrong_value_is_refused_by_its_place(helm: Helm, chosen: Case, setting: str, place: str) -> None:
    result = helm.template(chosen, "--set-string" if "engineLine" in setting else "--set", setting)
    assert result.returncode != 0
    assert f"at '/{place.replace('.', '/')}" in result.stderr or f"- {place}:" in result.stderr, result.stderr


@pytest.mark.parametrize(("chosen", "settings", "message"), CONTRADICTIONS, ids=lambda value: str(value)[:40])
def test_a_contradiction_is_refused_with_what_to_do(
    helm: Helm, chosen: Case, settings: list[str], message: str
) -> None:
    result = helm.template(chosen, *(argument for setting in settings for argument in ("--set", setting)))
    assert result.returncode != 0
    assert message in result.stderr


@pytest.mark.parametrize(
    ("chart", "namespace"),
    [
        ("cert-manager-operator", "cert-manager-operator"),
        ("openshift-gateway", "openshift-ingress"),
        ("pki", "cert-manager"),
    ],
)
def test_a_fixed_namespace_is_insisted_on(helm: Helm, chart: str, namespace: str) -> None:
    result = helm.template(case(chart), "--namespace", "elsewhere")
    assert result.returncode != 0
    assert f"chart {chart}: expected namespace {namespace}, found elsewhere" in result.stderr


def test_helm_lint_finds_nothing(helm: Helm, any_case: Case) -> None:
    files = ["--values", str(any_case.values_file)] if any_case.values_file else []
    result = helm.run("lint", "--strict", "--quiet", str(any_case.folder), "--namespace", any_case.namespace, *files)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("chart", ALL_CHARTS)
def test_the_schema_is_closed_and_describes_every_key(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text(encoding="utf-8"))
    problems = [
        f"{path}: {problem}" for path, node in _objects_of(schema, "values") for problem in _schema_problems(node)
    ]
    assert problems == []


@pytest.mark.parametrize("chart", ALL_CHARTS)
def test_every_key_of_the_values_has_a_comment(chart: str) -> None:
    lines = (CHARTS / chart / "values.yaml").read_text(encoding="utf-8").splitlines()
    values = load_yaml(CHARTS / chart / "values.yaml")
    commented = {_key(line) for above, line in itertools.pairwise(lines) if above.lstrip().startswith("#")}
    assert values.keys() - commented == set()
    images = values.get("images", {}).keys()
    assert images - commented == set()


def test_the_notes_give_the_next_three_commands(helm: Helm, any_case: Case, tmp_path: Path) -> None:
    commands = _notes(helm, any_case, tmp_path).split("Next:")[1].strip().splitlines()
    assert [line.split()[0] in ("kubectl", "helm") for line in commands] == [True, True, True], commands
    assert [line for line in commands if "  " in line.strip()] == [], "a name is missing"
    charts = re.findall(r" charts/(\S+) ", "\n".join(commands))
    assert set(charts) <= set(ALL_CHARTS)


@pytest.mark.parametrize(("values", "chart"), [(None, "kserve-instance"), ("release-3.5", "platform")])
def test_the_platform_operator_is_followed_by_the_chart_that_makes_it_install_kserve(
    helm: Helm, tmp_path: Path, values: str | None, chart: str
) -> None:
    notes = _notes(helm, case("rhai-operator", values), tmp_path)
    assert re.findall(r"--install (\S+)", notes) == [chart]


def test_the_helpers_are_the_same_file_in_every_chart() -> None:
    texts = {(CHARTS / chart / "templates" / "_platform.tpl").read_text(encoding="utf-8") for chart in ALL_CHARTS}
    assert len(texts) == 1


def test_every_chart_is_tested() -> None:
    assert {path.parent.name for path in CHARTS.glob("*/Chart.yaml")} == RELEASE_NAMESPACES.keys()


def test_the_readmes_fit_the_schemas_and_defaults() -> None:
    stale = sorted(path.parent.name for path in generate_docs.stale_readmes())
    assert stale == [], "run: python charts/generate_docs.py"


def test_the_table_of_values_shows_defaults_types_and_items_of_lists() -> None:
    schema = {
        "properties": {
            "port": {"type": "integer", "description": "Its port."},
            "mode": {"enum": ["a", "b"], "description": "Its mode."},
            "list": {
                "type": "array",
                "description": "Things.",
                "items": {"properties": {"name": {"type": "string", "description": "Name of a thing."}}},
            },
            "parts": {
                "type": "object",
                "properties": {"one": {"type": "string", "description": "The first."}},
                "additionalProperties": {"properties": {"on": {"type": "boolean", "description": "Whether."}}},
            },
        }
    }
    table = generate_docs.render_table(generate_docs.table_rows(schema, {"port": 80, "list": []}))
    assert table.splitlines()[2:] == [
        "| `port` | integer | `80` | Its port. |",
        "| `mode` | `a` or `b` |  | Its mode. |",
        "| `list` | array | `[]` | Things. |",
        "| `list[].name` | string |  | Name of a thing. |",
        "| `parts.one` | string |  | The first. |",
        "| `parts.<name>.on` | boolean |  | Whether. |",
    ]


def _notes(helm: Helm, chosen: Case, folder: Path) -> str:
    """The notes an installation would print. Without a cluster helm renders none, so a copy of the chart has them in
    an object."""
    chart = folder / chosen.chart
    shutil.copytree(chosen.folder, chart)
    notes = (chart / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    template = '{{ define "notes" }}' + notes + '{{ end }}\nkind: Notes\ntext: {{ include "notes" . | toJson }}\n'
    (chart / "templates" / "notes.yaml").write_text(template, encoding="utf-8")
    files = ["--values", str(chosen.values_file)] if chosen.values_file else []
    result = helm.run(
        "template", chosen.chart, str(chart), "--namespace", chosen.namespace,
        "--show-only", "templates/notes.yaml", *files,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return str(yaml.safe_load(result.stdout)["text"])


def _key(line: str) -> str:
    return line.strip().removeprefix("- ").partition(":")[0]


def _objects_of(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All object schemas with their place."""
    if schema.get("type") == "object":
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _objects_of(child, f"{path}.{name}")
    for keyword, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(schema.get(keyword), dict):
            yield from _objects_of(schema[keyword], f"{path}{suffix}")


def _schema_problems(schema: dict[str, Any]) -> Iterator[str]:
    closed = schema.get("additionalProperties") is False or isinstance(schema.get("additionalProperties"), dict)
    if not closed:
        yield "accepts unknown keys"
    for name, child in schema.get("properties", {}).items():
        if not child.get("description"):
            yield f"{name} has no description"
