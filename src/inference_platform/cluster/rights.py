"""The rights that an installation needs, derived from what it will write.

Kinds come from the plan, the charts of its releases and the rendered models; verbs, and the few kinds that roles write
beside those, from ``rights`` of catalog/preflight.yml.  So do the kinds in charts that others publish.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_platform.cluster.models import REMOVED_WITH_MODELS
from inference_platform.paths import CHARTS
from inference_platform.platform.plan import charts_of

Right = tuple[str, str, str]
"""Group, resource, verb."""

Kind = tuple[str, str]
"""Group ("" for the core group) and kind."""

#: An object at the left margin of a template: its version, and its kind where that is written out.
_OBJECT = re.compile(r"^apiVersion: ([\w./-]+)\nkind: (\w+|\{\{.*\}\})$", re.MULTILINE)
#: A RoleBinding of a file rbac.yaml that is not in the namespace of its release.
_ELSEWHERE = re.compile(r"^ +namespace: (\S+)\n +role: (\S+)$", re.MULTILINE)
_RBAC = "rbac.authorization.k8s.io"
#: What charts with a file rbac.yaml make of it (template platform.rbac).
_OF_RBAC_FILE = {(_RBAC, kind) for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")}
_CRD = ("apiextensions.k8s.io", "CustomResourceDefinition")
_NAMESPACE = ("", "Namespace")
#: What a run keeps in the namespace of a Gateway of the user's (own_gateway.py).
_OF_OWN_GATEWAY = (("", "ConfigMap"), ("", "Secret"))
_OF_OLM = [("operators.coreos.com", kind) for kind in ("InstallPlan", "OperatorGroup", "Subscription")]


@dataclass(frozen=True)
class Written:
    """The kinds that a run writes, and those of them that a later run may delete."""

    kinds: frozenset[Kind]
    removed: frozenset[Kind]


def needed(
    plan: Mapping[str, Any], models: Iterable[Mapping[str, Any]], rules: Mapping[str, Any], charts: Path = CHARTS
) -> list[Right]:
    """Every right that a run of this plan needs, sorted.

    plan    plain data
    models  rendered objects
    rules   ``rights`` of catalog/preflight.yml
    """
    written = written_by(plan, models, rules, charts)
    found = {right for kind in written.kinds for right in _rights(kind, rules["written"])}
    found |= {right for kind in written.removed for right in _rights(kind, rules["removed"])}
    ours = {layer["name"] for layer in plan["layers"] if layer["ownership"] == "managed"}
    theirs = {layer["name"] for layer in plan["layers"] if layer["ownership"] == "external"}
    names = {kind for _, kind in written.kinds}
    for rule in rules["others"]:
        is_for_us = rule.get("distribution", plan["distribution"]) == plan["distribution"]
        if is_for_us and (rule.get("layer") in ours or rule.get("external") in theirs or rule.get("with") in names):
            found.update(_rights(_kind_of(rule), rule["verbs"]))
    return sorted(found)


def homes(
    plan: Mapping[str, Any], models: Iterable[Mapping[str, Any]], rules: Mapping[str, Any], charts: Path = CHARTS
) -> dict[tuple[str, str], set[str]]:
    """(group, resource) of what is in namespaces -> those in which a run has it.  Arguments as for `needed`."""
    every = {*plan["namespaces"].values()}
    objects = [*models, *plan["capacity"]]
    objects += [check["object"] for gate in plan["gates"].values() for check in gate if "object" in check]
    places = [(_kind_of(item), item["metadata"].get("namespace", "")) for item in objects]
    if plan["gateway"]["ownership"] == "external":
        places += [(kind, plan["gateway"]["namespace"]) for kind in _OF_OWN_GATEWAY]
    every |= {space for _, space in places if space}
    for layer in plan["layers"]:
        if layer["operator"]:
            places += [(kind, plan["operators"][layer["operator"]]["namespace"]) for kind in _OF_OLM]
        for release in layer["releases"]:
            of_others = [_kind_of(item) for item in rules["published"]] if release["published"] else ()
            kinds = of_others or kinds_of_chart(charts / release["chart"], plan)
            places += [(kind, release["namespace"]) for kind in kinds]
    places += [((_RBAC, "RoleBinding"), space) for space, _ in bindings_elsewhere(plan, charts)]
    found = {(group, name): set[str]() for group, names in rules["namespaced"].items() for name in names}
    for (group, kind), space in places:
        if space and (group, resource_of(kind)) in found:
            found[group, resource_of(kind)].add(space)
    # Helm's records and pull secrets.
    return {key: every if key == ("", "secrets") else spaces or every for key, spaces in found.items()}


def written_by(
    plan: Mapping[str, Any], models: Iterable[Mapping[str, Any]], rules: Mapping[str, Any], charts: Path = CHARTS
) -> Written:
    """The kinds that follow from a plan and its models; arguments as for `needed`."""
    of_charts = {
        kind for layer in plan["layers"] for name in charts_of(layer) for kind in kinds_of_chart(charts / name, plan)
    }
    if any(release["published"] for layer in plan["layers"] for release in layer["releases"]):
        of_charts |= {_kind_of(item) for item in rules["published"]}
    of_capacity = {_kind_of(item) for item in plan["capacity"]}
    of_models = {_kind_of(item) for item in models}
    tried = {_kind_of(check["object"]) for gate in plan["gates"].values() for check in gate if "object" in check}
    crds = {_CRD} if any(layer["crds"] for layer in plan["layers"]) else set()
    return Written(
        frozenset(of_charts | of_capacity | of_models | tried | crds),
        frozenset(of_charts | of_capacity - {_NAMESPACE} | of_models & set(REMOVED_WITH_MODELS)),
    )


def kinds_of_chart(folder: Path, plan: Mapping[str, Any]) -> set[Kind]:
    """The kinds in the templates of a chart, whatever its values.  One out of a value is that of the plan's engine."""
    found = set(_OF_RBAC_FILE) if (folder / "rbac.yaml").is_file() else set()
    for template in sorted((folder / "templates").glob("*.yaml")):
        for version, kind in _OBJECT.findall(template.read_text(encoding="utf-8")):
            found.add((_group(version), plan["engine"]["kind"] if kind.startswith("{{") else kind))
    return found


def bindings_elsewhere(plan: Mapping[str, Any], charts: Path = CHARTS) -> set[tuple[str, str]]:
    """(namespace, Role) of the RoleBindings that charts of a plan have in a namespace not of the platform."""
    ours = (layer for layer in plan["layers"] if layer["ownership"] == "managed")
    files = (charts / name / "rbac.yaml" for layer in ours for name in charts_of(layer))
    return {found for file in files if file.is_file() for found in _ELSEWHERE.findall(file.read_text(encoding="utf-8"))}


def resource_of(kind: str) -> str:
    """The name of a kind in URLs: lower case, plural.  All kinds that a run writes follow this rule."""
    name = kind.lower()
    if name.endswith("s"):
        return f"{name}es"
    if re.search(r"[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}s"


def qualified(api_version: str, kind: str) -> str:
    """A resource as kubectl names it: "deployments.apps", "secrets"."""
    return ".".join(filter(None, (resource_of(kind), _group(api_version))))


def _kind_of(item: Mapping[str, Any]) -> Kind:
    """Group and kind of an object, or of a rule with api_version and kind."""
    return _group(item.get("apiVersion") or item["api_version"]), item["kind"]


def _rights(kind: Kind, verbs: Iterable[str]) -> Iterator[Right]:
    group, name = kind
    return ((group, resource_of(name), verb) for verb in verbs)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]
