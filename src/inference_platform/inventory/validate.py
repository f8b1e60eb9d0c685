"""All findings about an inventory, before anything talks to a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform import schema
from inference_platform.catalog.load import Catalog, load
from inference_platform.findings import ERROR, WARNING, Finding, errors, show
from inference_platform.inventory.downloads import check_downloads
from inference_platform.inventory.mirror import check_mirror
from inference_platform.inventory.pull_secret import check_path, check_pull_secret
from inference_platform.inventory.role_inputs import role_inputs
from inference_platform.mirror.needs import list_needs
from inference_platform.models.choice import unknown
from inference_platform.models.layers import POOLS
from inference_platform.models.pipeline import RenderResult, check_schema, ids_of, render_inventory
from inference_platform.models.placing import MODELS
from inference_platform.platform import quotas
from inference_platform.platform.resolve import check_settings, needs_pull_secret, resolve, setting
from inference_platform.problems import Reporter
from inference_platform.schema import SchemaMistake, or_list
from inference_platform.sources import MODEL_SUFFIXES, Sources

UNREADABLE_FILE = "IP-INV-006"
UNKNOWN_MOVE = "IP-INV-008"
NOT_READ = "IP-INV-027"

MOVE = "models_move"
_OF_PLAN = frozenset({"platform_release", "distribution", "provider"})
# Names that Ansible itself gives a meaning in an inventory.
_ANSIBLE_PREFIX = "ansible_"


def settings_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of the platform among all that Ansible knows for a host."""
    known = schema.load_schema("inventory")["properties"]
    return {name: variables[name] for name in known if name in variables}


@dataclass(frozen=True)
class Examination:
    """Every finding, and what the models become; None where the settings do not even give a plan."""

    findings: list[Finding]
    models: RenderResult | None


def validate(
    variables: Mapping[str, Any],
    sources: Sources | None = None,
    catalog: Catalog | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Finding]:
    """The findings of ``examine``."""
    return examine(variables, sources, catalog, environ).findings


def examine(
    variables: Mapping[str, Any],
    sources: Sources | None = None,
    catalog: Catalog | None = None,
    environ: Mapping[str, str] | None = None,
) -> Examination:
    """Every finding about what the user wrote, in one go, with the models rendered on the way.

    ``variables``: the platform variables with their values (``settings_of``), or a plain
    inventory mapping. ``sources``: adds file and line, and the names of variables that the
    inventory files define but the platform does not know. ``environ``: the environment
    (default: that of the process).
    """
    catalog = catalog or load()
    sources = sources or Sources()
    report = Reporter(sources, [entry for entry in catalog.renamed if entry["in"] == "inventory"])
    findings = [*unreadable_files(sources), *_not_models(sources), *_schema_findings(variables, sources, report)]
    wrong = _names_with_errors(variables)
    settings = {name: value for name, value in variables.items() if name not in wrong}
    if not wrong & _OF_PLAN:
        findings += check_settings(settings, catalog, sources)
    findings += _pull_secret_findings(settings, catalog, report, environ)
    near = _near_settings(settings, catalog)
    pools: dict[str, dict[str, Any]] = {name: {} for name in _pool_names(variables)}
    if near is None:
        findings += check_downloads(settings, report, lays_crds=False)
        return Examination(findings + check_schema(settings, sources, pools), None)
    can_be_planned = not any(finding.code.startswith("IP-PLT") for finding in errors(findings)) and not wrong & _OF_PLAN
    platform = resolve(settings if can_be_planned else near, catalog, sources).to_dict()
    platform["pools"] = {**pools, **platform["pools"]}
    findings += check_downloads(settings, report, lays_crds=any(layer["crds"] for layer in platform["layers"]))
    models = render_inventory(settings, platform, sources)
    findings += [*models.findings, *_unknown_moves(settings, platform, sources, report)]
    if can_be_planned:
        findings += _quota_findings(settings, models, platform["serving"]["gpu"]["resource"], report)
        findings += _mirror_findings(platform, models, catalog, report)
    return Examination(findings, models if can_be_planned else None)


def unreadable_files(sources: Sources) -> list[Finding]:
    """A finding for each file of the inventory that cannot be used as it is."""
    return [
        Finding(UNREADABLE_FILE, ERROR, sources.shown(file), file.expected, file.problem, file.remedy)
        for file in sources.unreadable
    ]


def _not_models(sources: Sources) -> Iterator[Finding]:
    """A warning for each file or folder that looks as if models were read from it."""
    for path in sources.not_models:
        expected, remedy = (
            (f"the folder {MODELS}", f"Rename it to {MODELS}: files in it are not read as models.")
            if path.is_dir()
            else (f"a file that ends in {or_list(MODEL_SUFFIXES)}", "Rename it, or take it out: it is not read.")
        )
        yield Finding(NOT_READ, WARNING, sources.shown_path(path), expected, show(path.name), remedy)


def _schema_findings(variables: Mapping[str, Any], sources: Sources, report: Reporter) -> list[Finding]:
    names = {**dict.fromkeys(sources.variables), **dict.fromkeys(variables)}
    return report.of_schema([*_unknown(names), *_mistakes(variables)])


def _mistakes(variables: Mapping[str, Any]) -> list[SchemaMistake]:
    checker = schema.validator(schema.load_schema("inventory"))
    return schema.mistakes(settings_of(variables), checker)


def _unknown(names: Iterable[str]) -> Iterator[SchemaMistake]:
    known = schema.load_schema("inventory")["properties"]
    for name in names:
        if name not in known and not _is_foreign(name):
            yield SchemaMistake(
                schema.UNKNOWN_KEY,
                (name,),
                "a variable of the platform, of a role, or of Ansible",
                show(name),
                schema.close_names(name, sorted({*known, *role_inputs()})),
            )


def _is_foreign(name: str) -> bool:
    return name.startswith(_ANSIBLE_PREFIX) or name in role_inputs()


def _names_with_errors(variables: Mapping[str, Any]) -> set[str]:
    return {str(mistake.path[0]) for mistake in _mistakes(variables)}


def _pull_secret_findings(
    settings: Mapping[str, Any],
    catalog: Catalog,
    report: Reporter,
    environ: Mapping[str, str] | None,
) -> list[Finding]:
    where = os.environ if environ is None else environ
    findings = list(check_path(settings, where, report))
    if findings or not needs_pull_secret(settings, catalog):
        return findings
    distribution = catalog.distributions.get(str(setting(settings, "distribution")), {})
    registry = str(distribution.get("pull_secret_registry", ""))
    mirror = str(setting(settings, "platform_image_registry") or "").rstrip("/")
    return list(check_pull_secret(settings, where, mirror or registry, report, anonymous=bool(mirror)))


def _quota_findings(settings: Mapping[str, Any], models: RenderResult, gpu: str, report: Reporter) -> Iterator[Finding]:
    """Of an inventory without models nothing is known about use; nor of a model with an error."""
    yield from quotas.check_room(settings, models.models, gpu, report)
    if models.ids and models.ok:
        namespaces = {name.partition("/")[0] for name in models.ids}
        yield from quotas.check_use(settings, namespaces, {gpu, *quotas.devices_of(models.objects)}, report)


def _mirror_findings(
    platform: Mapping[str, Any], models: RenderResult, catalog: Catalog, report: Reporter
) -> Iterator[Finding]:
    if platform["image_registry"]:
        yield from check_mirror(
            list_needs(
                platform,
                models.objects,
                entries=models.entries,
                sources=models.mirrored,
                registry=platform["image_registry"],
                catalog=catalog,
            ),
            report,
        )


def _unknown_moves(
    settings: Mapping[str, Any], platform: Mapping[str, Any], sources: Sources, report: Reporter
) -> Iterator[Finding]:
    """Names in ``models_move`` that mean no model: a mistake where they are like one, else left over and only told."""
    moved = settings.get(MOVE) or []
    known = ids_of(settings, platform, sources) if moved else []
    for index, name in enumerate(moved):
        wrong = unknown([name], known)
        if wrong:
            found, _, hint = wrong.partition(". ")
            tell = report.error if hint.startswith("Did you mean") else report.warning
            yield tell(
                UNKNOWN_MOVE,
                (MOVE, index),
                "a model of the inventory, as NAME or NAMESPACE/NAME",
                found.removeprefix("found "),
                f"{hint} Correct the name, or take it out.",
            )


def _pool_names(variables: Mapping[str, Any]) -> Iterator[str]:
    """Names of the node pools, also where something is wrong with a pool: the models that name it are right."""
    pools = variables.get(POOLS)
    for pool in pools if isinstance(pools, (list, tuple)) else ():
        if isinstance(pool, Mapping) and isinstance(pool.get("name"), str):
            yield pool["name"]


def _near_settings(settings: Mapping[str, Any], catalog: Catalog) -> dict[str, Any] | None:
    """Settings that give a plan by which models can be judged, as near to those of the user as can be.

    What is wrong with provider or distribution says little about models; without a known release nothing can be said.
    """
    release = catalog.releases.get(str(settings.get("platform_release")))
    if release is None:
        return None
    near: dict[str, Any] = {"platform_release": release["release"]}
    for name, possible in (("distribution", release["distributions"]), ("provider", sorted(release["providers"]))):
        given = str(setting(settings, name))
        near[name] = given if given in possible else possible[0]
    return None if errors(check_settings(near, catalog)) else near
