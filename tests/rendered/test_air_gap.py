"""With one setting, platform_image_registry, no object of any inventory names an image outside of the mirror."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from inference_platform.catalog import load
from inference_platform.mirror import nodes, with_registry
from inference_platform.mirror.needs import list_needs
from inference_platform.models import RenderResult, render
from inference_platform.platform import resolve
from tests.rendered.charts import REPOSITORY, Case, Helm, load_yaml, pod_specs, strings
from tests.rendered.test_every_combination import subscription_objects
from tests.support.rendered_models import rendered_objects, rendered_samples

INVENTORIES = REPOSITORY / "inventories"
#: On OpenShift platform_image_registry is refused (tests/unit/test_plan.py); it has tests of its own below.
OPENSHIFT = "openshift"
EVERY = sorted({path.parent.name for path in INVENTORIES.glob("*/hosts.yml")} - {OPENSHIFT})
MIRROR = "mirror.example.com:5000/platform"
CA = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n"
#: Registry, path, and a tag or a digest.
REFERENCE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?(/[a-z0-9._-]+)+(:[\w.-]+|@sha256:[0-9a-f]{64})")
#: Where something is fetched from.
ADDRESS = re.compile(r"(https?|oci|hf|s3|gs)://")
#: What the cluster asks of a rendered object: an address in itself.
INSIDE = re.compile(r"https?://[a-z0-9.-]+\.svc(\.cluster\.local)?\b")


def variables_of(inventory: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in sorted((INVENTORIES / inventory / "group_vars" / "all").glob("*.yml")):
        merged |= load_yaml(path)
    if merged["provider"] == "auto":
        merged["provider"] = "generic"
    return merged


def plan_of(inventory: str, registry: str = MIRROR, **changes: Any) -> dict[str, Any]:
    variables = {**variables_of(inventory), "platform_image_registry": registry, **changes}
    return resolve(variables).to_dict()


def chart_values(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The values that the roles give each release of the plan, as Ansible fills them in."""
    environment = Environment()
    environment.filters["combine"] = lambda first, second: {**first, **second}
    facts = {"platform": plan, "inference_gateway_service_annotations": {}}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        if isinstance(value, str):
            return environment.compile_expression(value.removeprefix("{{").removesuffix("}}"))(**facts)
        return value

    common = filled(load_yaml(REPOSITORY / "roles/platform/vars/main.yml")["platform_chart_values"])
    values: dict[str, dict[str, Any]] = {}
    for layer in plan["layers"]:
        written = load_yaml(REPOSITORY / f"roles/{layer['name']}/vars/main.yml").get(f"_{layer['name']}_values", {})
        for release in layer["releases"]:
            values[release["chart"]] = {**filled(written.get(release["name"], {})), **common}
    return values


def outside(objects: list[dict[str, Any]]) -> set[str]:
    """Images and addresses of the objects, those of weights among them, that are not in the mirror."""
    found = {match.group() for text in strings(objects) for match in REFERENCE.finditer(text)}
    for _, spec in pod_specs(objects):
        found |= {container["image"] for container in [*spec.get("initContainers", []), *spec["containers"]]}
    addresses = {text for text in strings(objects) if ADDRESS.match(text) and not INSIDE.match(text)}
    return {text for text in found if not text.startswith(f"{MIRROR}/")} | {
        text for text in addresses if not text.startswith(f"oci://{MIRROR}/")
    }


@pytest.mark.parametrize("release", sorted(load().releases))
@pytest.mark.parametrize("inventory", EVERY)
def test_no_object_of_the_platform_is_from_outside_of_the_mirror(
    helm: Helm, tmp_path: Path, inventory: str, release: str
) -> None:
    plan = plan_of(inventory, platform_release=release)
    images: set[str] = set()
    for chart, values in chart_values(plan).items():
        given = {**values, **({"caBundle": CA} if chart == "inference-gateway" else {})}
        path = tmp_path / f"{chart}.json"
        path.write_text(json.dumps(given), encoding="utf-8")
        objects = helm.objects(Case(chart), "--values", str(path))
        assert outside(objects) == set(), chart
        images |= {match.group() for text in strings(objects) for match in REFERENCE.finditer(text)}
    used = {reference.partition("@")[2] for reference in images}
    related = [entry["value"] for entry in plan["related_images"]["operator"] if "@" in entry["value"]]
    assert {value.partition("@")[2] for value in related} <= used


def test_the_search_finds_what_is_outside(helm: Helm) -> None:
    found = outside(helm.objects(Case("rhai-operator")))
    assert any(reference.startswith("registry.redhat.io/rhaii/vllm-cuda-rhel9@") for reference in found)


@pytest.mark.parametrize("inventory", EVERY)
def test_no_model_of_an_inventory_is_from_outside_of_the_mirror_but_for_the_weights_that_are_told(
    inventory: str,
) -> None:
    variables, plan = variables_of(inventory), plan_of(inventory)
    result = render(variables["models"], variables["model_defaults"], plan)
    assert result.ok
    assert outside(result.objects) == weights_of(plan, result)


def weights_of(plan: dict[str, Any], result: RenderResult) -> set[str]:
    """The sources of weights that mirror.yml tells the site to provide."""
    listed = list_needs(plan, result.objects, entries=result.entries, sources=result.mirrored, registry=MIRROR)
    return {item.uri for item in listed.data}


def test_weights_from_outside_are_told_of_every_model_that_can_be_written() -> None:
    """No other address in a model leads outside, and nothing else is told but adapters, which 3.4 has in arguments."""
    plan = plan_of("generic")
    every: set[str] = set()
    for result in rendered_samples(plan):
        told = weights_of(plan, result)
        seen = {text for text in outside(attached(result.objects)) if ADDRESS.match(text)}
        adapters = {item["uri"] for entry in result.entries for item in entry.get("lora", {}).get("adapters", [])}
        assert told == seen | {uri for uri in adapters if uri.startswith("hf://")}
        every |= told
    assert {uri.partition("://")[0] for uri in every} == {"hf", "s3"}


def attached(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects without the sources of models that KServe does not attach."""
    found = []
    for obj in objects:
        spec = obj.get("spec", {})
        off = spec.get("storageInitializer", {}).get("enabled") is False
        left = {key: value for key, value in spec["model"].items() if key != "uri"} if off else None
        found.append({**obj, "spec": {**spec, "model": left}} if off else obj)
    return found


def test_on_openshift_no_object_of_the_platform_names_an_image(helm: Helm, tmp_path: Path) -> None:
    """They come with the operators of the mirrored catalogue."""
    plan = plan_of(OPENSHIFT, "")
    objects = [obj for layer in plan["layers"] for obj in subscription_objects(helm, tmp_path, layer, plan)]
    assert {obj["kind"] for obj in objects} >= {"Subscription"}
    for chart, values in chart_values(plan).items():
        path = tmp_path / f"{chart}.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        objects += helm.objects(Case(chart), "--values", str(path))
    assert outside(objects) == set()


def test_on_openshift_the_mirror_set_has_every_image_that_models_can_name() -> None:
    plan, objects = plan_of(OPENSHIFT, ""), rendered_objects(plan_of("generic", ""))
    named = {with_registry(text.removeprefix("oci://")) for obj in objects for text in images(obj)}
    assert len(named) >= 2
    listed = list_needs(plan, objects, registry=MIRROR)
    assert {item.source for item in listed.images} == named
    covered: dict[str, str] = {}
    for part in yaml.safe_load_all(nodes.files(listed)[nodes.MIRROR_SET]):
        for pairs in part["spec"].values():
            covered |= {pair["source"]: pair["mirrors"][0] for pair in pairs}
    for item in listed.images:
        (source,) = [place for place in covered if re.fullmatch(f"{re.escape(place)}([:@].+)?", item.source)]
        assert item.target == covered[source] + item.source.removeprefix(source)


def test_no_model_that_can_be_written_is_from_outside_of_the_mirror() -> None:
    """Every sample of the language, with the images of their entries and of their overrides."""
    plain = [text for obj in rendered_objects(plan_of("generic", "")) for text in images(obj)]
    moved = [text for obj in rendered_objects(plan_of("generic")) for text in images(obj)]
    assert len(plain) >= 5
    assert {text for text in moved if not text.removeprefix("oci://").startswith(f"{MIRROR}/")} == set()


def images(value: Any) -> list[str]:
    """Values of all fields named image, and all oci:// addresses."""
    if isinstance(value, list):
        return [text for item in value for text in images(item)]
    if isinstance(value, dict):
        own = [value["image"]] if isinstance(value.get("image"), str) else []
        return own + [text for item in value.values() for text in images(item)]
    return [value] if isinstance(value, str) and value.startswith("oci://") else []
