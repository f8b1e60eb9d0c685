"""Reference pages made from schemas and catalogue: ``python -m inference_platform.reference``.

Writes ``docs/reference/*.md``, and the schema of group_vars for editors, which joins those of the inventory and of what
is in it; a test compares them with what this module makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference_platform.catalog.load import load
from inference_platform.cluster import readiness
from inference_platform.inventory import rules_page as inventory_page
from inference_platform.models.rules import page as rules_page
from inference_platform.models.scheduler import page
from inference_platform.paths import ROOT, SCHEMAS
from inference_platform.platform import Plan, resolve
from inference_platform.platform.plan import Layer
from inference_platform.platform.resolve import OLM
from inference_platform.preflight import page as preflight_page
from inference_platform.schema import inlined_schema, load_schema, or_list

FOLDER = ROOT / "docs" / "reference"
FOR_EDITORS = SCHEMAS / "group_vars.schema.json"

_NOTE = "<!-- Made by `python -m inference_platform.reference`; change the source, not this page. -->"


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {
        "inventory.md": _schema_page("inventory", "schemas/inventory.schema.json"),
        "inventory-rules.md": _page(inventory_page.TITLE, inventory_page.INTRODUCTION, inventory_page.body(_table)),
        "model-rules.md": _page(rules_page.TITLE, rules_page.INTRODUCTION, rules_page.body(_table)),
        "model-status.md": _status_page(),
        "model.md": _schema_page("model", "schemas/model.schema.json"),
        "traffic.md": _schema_page("traffic", "schemas/traffic.schema.json"),
        "platform.md": _platform_page(),
        "preflight.md": _page(preflight_page.TITLE, preflight_page.INTRODUCTION, preflight_page.body(_table)),
        "scheduler-strategies.md": _page(page.TITLE, page.INTRODUCTION, page.body(_table)),
    }


def schema_for_editors() -> str:
    """A JSON Schema of group_vars with everything below models, model_defaults and their like, as text.

    Nothing but the name of a model is required: the rest may come from another file.
    """
    inventory, model = load_schema("inventory"), load_schema("model")
    entry: dict[str, Any] = {"$ref": "#/$defs/entry"}
    properties: dict[str, dict[str, Any]] = {name: _elsewhere("inventory", name) for name in inventory["properties"]}
    described = {name: rule["description"] for name, rule in inventory["properties"].items()}
    properties |= {
        "models": {"type": "array", "items": {**entry, "required": ["name"]}},
        "model_defaults": entry,
        "model_profiles": {"type": "object", "additionalProperties": entry},
        **{name: _elsewhere("traffic", name) for name in load_schema("traffic")["properties"]},
    }
    whole = {
        "$schema": inventory["$schema"],
        "$id": inventory["$id"].replace("inventory", "group_vars"),
        "$comment": "Made by `python -m inference_platform.reference` from the other schemas; change those.",
        "title": "A group_vars file",
        "description": "For completion in editors. Other variables of Ansible and of roles are allowed.",
        "type": "object",
        "properties": {name: {**rule, "description": described[name]} for name, rule in properties.items()},
        "$defs": {
            "entry": {
                "title": "A model, or a part of one",
                "description": model["description"],
                "type": "object",
                "additionalProperties": False,
                "properties": {name: _elsewhere("model", name) for name in model["properties"]},
            }
        },
    }
    return json.dumps(whole, indent=2) + "\n"


def _elsewhere(schema: str, name: str) -> dict[str, Any]:
    return {"$ref": f"{schema}.schema.json#/properties/{name}"}


def write(folder: Path = FOLDER) -> None:
    """Write all pages into ``folder``, and the schema for editors."""
    FOR_EDITORS.write_text(schema_for_editors(), encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def _schema_page(name: str, source: str) -> str:
    schema = inlined_schema(name)
    rows = [_row(path, rule, required) for path, rule, required in _fields(schema)]
    return _page(
        schema["title"],
        f"{schema['description']} The schema is `{source}`.",
        _table(("key", "value", "default", "meaning"), rows),
    )


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    for key, rule in schema.get("properties", {}).items():
        yield f"{prefix}{key}", rule, key in schema.get("required", [])
        if not rule.get("x-repeats"):
            yield from _fields(rule, f"{prefix}{key}.")
            yield from _fields(rule.get("items", {}), f"{prefix}{key}[].")


def _row(path: str, rule: Mapping[str, Any], required: bool) -> tuple[str, str, str, str]:
    default = f"`{json.dumps(rule['default'])}`" if "default" in rule else ("required" if required else "")
    return f"`{path}`", _value(rule), default, rule["description"]


def _value(rule: Mapping[str, Any]) -> str:
    if "enum" in rule:
        return or_list([f"`{choice}`" for choice in rule["enum"]])
    types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    return or_list([name for name in types if name != "null"])


def _status_page() -> str:
    place = {"namespace": "NAMESPACE", "name": "NAME", "system": "redhat-ods-applications"}
    rows = [
        (
            f"`{item.condition}`" if item.condition else "any",
            f"`{item.reason}`" if item.reason else "any",
            f"`{item.contains}`" if item.contains else "",
            item.meaning,
            item.remedy.format(**place),
        )
        for item in readiness.KNOWN
    ]
    return _page(
        "Why a model is not ready",
        "What a run says while it waits, by the first condition of the LLMInferenceService that is not True, in the "
        "order in which one waits for the other. Of several rows that fit, the first counts. Some states look ready "
        "and are not, so a run waits on: a status of an earlier generation; pods of an earlier version beside the new "
        "ones; a route of a gateway without an address.",
        _table(("condition", "reason", "message has", "what it means", "what to do when it stays"), rows),
    )


def _platform_page() -> str:
    catalog = load()
    parts = []
    for key in sorted(catalog.releases):
        release = catalog.releases[key]
        parts.append(f"## Release {key} ({release['version']})\n")
        for provider in sorted(release["providers"]):
            plan = resolve({"platform_release": key, "provider": provider})
            parts.append(f"### {provider}: {catalog.providers[provider]['title']}\n")
            note = release["providers"][provider].get("note", "")
            parts.append(f"{_engine(plan)} {note}".rstrip() + "\n")
            parts.append(_table(("layer", "owner", "Helm releases", "waits for"), _layer_rows(plan)) + "\n")
            parts += [_subscriptions(plan) + "\n"] if plan.operators else []
    return _page(
        "Layers by release and provider", "What the catalogue makes of its defaults.", "\n".join(parts).rstrip()
    )


def _engine(plan: Plan) -> str:
    if plan.route == OLM:
        return (
            "No cloud manager. The Operator Lifecycle Manager brings the operators, OpenShift's ingress operator the "
            "control plane of the gateway, OpenShift's service CA the certificates; nodes have the pull secret."
        )
    if plan.engine is None:
        return "No cloud manager: the installer makes the certificates of the platform itself."
    return f"Cloud manager of the {plan.engine_line} line, acting on `{plan.engine['kind']}`."


def _layer_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    owners = {"managed": "this installer", "delegated": "cloud manager", "external": "was there before"}
    if plan.route == OLM:
        owners |= {"delegated": "OpenShift", "external": "OpenShift"}
    return [
        (
            f"`{layer.name}`",
            owners[layer.ownership],
            ", ".join(f"`{name}`" for name in _releases(layer, plan)) or "none",
            layer.waits_for,
        )
        for layer in plan.layers
    ]


def _releases(layer: Layer, plan: Plan) -> list[str]:
    """The releases of a layer in order; that of a Subscription has the name of the package."""
    subscription = [plan.operators[layer.operator]["package"]] if layer.operator else []
    return subscription + [release.name for release in layer.releases]


def _subscriptions(plan: Plan) -> str:
    rows = [
        (f"`{item['package']}`", f"`{item['channel']}`", f"`{item['csv']}`", f"`{item['namespace']}`")
        for item in plan.operators.values()
    ]
    return _table(("Subscription", "channel", "version", "namespace"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(title: str, introduction: str, body: str) -> str:
    return f"{_NOTE}\n# {title}\n\n{introduction}\n\n{body}\n"


if __name__ == "__main__":
    write()
