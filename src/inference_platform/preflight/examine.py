"""A whole preflight: look, decide who owns what, resolve the plan with that, check."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference_platform import catalog, platform
from inference_platform.cluster import crds, model_facts, rights, survey
from inference_platform.cluster.client import Cluster
from inference_platform.findings import Finding
from inference_platform.mirror import mirrored
from inference_platform.models import RenderResult, capacity
from inference_platform.models.choice import means
from inference_platform.models.kept import releases_of_models
from inference_platform.models.pipeline import render_inventory
from inference_platform.models.rules.cluster import check_cluster
from inference_platform.paths import CHARTS
from inference_platform.platform.plan import charts_of
from inference_platform.platform.resolve import ownership_choices, serving_of, setting
from inference_platform.preflight import (
    checks,
    data,
    detection,
    gateway_checks,
    node_supply,
    outcome,
    ownership,
    pool_checks,
)
from inference_platform.preflight.detection import OUR_LABEL
from inference_platform.preflight.ownership import Decision, Question
from inference_platform.preflight.registry import Scene, published_charts
from inference_platform.preflight.snapshot import OWN_RELEASES, Snapshot, annotations_of, dig, labels_of
from inference_platform.schema import KeyPath
from inference_platform.sources import Sources

Where = Callable[[str, str, KeyPath], str]
"""Namespace and name of a model and the path of a field to where that is written."""

#: The CRD set of a dependency that is nothing but CRDs.
_CRD_SET = {"gateway_api": "gateway-api"}

#: For the dry run of a plan that runs no image of its own.
_ANY_IMAGE = "registry.k8s.io/pause:3.10"


@dataclass(frozen=True)
class CrdSource:
    """Where CRD files come from, as for ``crds.locate``."""

    directory: str | Path | None = None
    mirror: str | None = None
    cache: str | Path | None = None


@dataclass(frozen=True)
class ChartSource:
    """Where published charts come from, as for ``charts.locate``."""

    mirror: str | None = None
    cache: str | Path | None = None


@dataclass(frozen=True)
class Examination:
    """What a preflight comes to.

    plan      plain data, resolved for what the cluster has
    rendered  the models; those of ``kept`` written for the release that they are of
    kept      id -> release of models that stay as an earlier release made them
    """

    plan: dict[str, Any]
    outcome: outcome.Outcome
    rendered: RenderResult
    kept: dict[str, str]


def _by_name(namespace: str, name: str, path: KeyPath) -> str:
    return f"models {namespace}/{name} {'.'.join(map(str, path))}"


def examine(
    cluster: Cluster,
    settings: Mapping[str, Any],
    rendered: RenderResult,
    *,
    helm: str | None = None,
    crd_source: CrdSource = CrdSource(),
    chart_source: ChartSource = ChartSource(),
    where: Where = _by_name,
    sources: Callable[[], Sources] = Sources,
    installs: bool = True,
    layers: Collection[str] | None = None,
    asks_all: bool = False,
) -> Examination:
    """Looks at a cluster and decides.

    settings  those of the inventory; ``ownership`` may say auto
    rendered  the models
    where     gives the place of a model's field in the inventory
    sources   reads the inventory once more, when models have to be rendered again
    installs  whether the run brings the platform too, or finds it there
    layers    names of the layers that the run lays; None: all of the plan
    asks_all  whether to try admission although all that the plan lays is there
    """
    entries = data.load()
    first = platform.resolve(settings).to_dict()
    besides = {*gateway_checks.parts_for(first), *pool_checks.parts_for(first)}
    besides |= {OWN_RELEASES} if published_charts(first) else set()
    seen = survey.look(cluster, helm=helm, besides=besides)
    decisions = decide(settings, first, entries["dependencies"], seen, crd_source)
    resolved = {item.name: item.resolved for item in decisions}
    plan = first
    if resolved != first["ownership"]:
        plan = platform.resolve({**settings, "ownership": resolved}).to_dict()
    older = releases_of_models(seen.of("services"), plan["release"], catalog.load().releases)
    moved = {model for model in older if means(setting(settings, "models_move"), model)}
    kept = {model: release for model, release in older.items() if model not in moved}
    late: list[Finding] = []
    if kept:
        again = _render_again(settings, plan, kept, rendered, sources())
        late = [_with_the_way_out(item, plan["release"]) for item in again.findings if item not in rendered.findings]
        rendered = again
    scene = Scene(
        seen,
        plan,
        entries,
        decisions,
        frozenset(setting(settings, "ownership_let_go")),
        rendered.objects,
        bool(setting(settings, "node_autoscaling")),
        installs,
        None if layers is None else frozenset(layers),
    )
    _ask(cluster, settings, scene, crd_source)
    _ask_what_the_run_may(cluster, scene, asks_all=asks_all)
    if seen.helm is None and installs:
        pinned = [chart for chart in published_charts(plan) if chart["sha256"]]
        survey.look_at_charts(seen, pinned, helm=helm, mirror=chart_source.mirror, cache=chart_source.cache)
    others = late + _capacity(
        seen,
        plan,
        rendered,
        moved,
        where,
        own=setting(settings, "instance_types"),
        starter=node_supply.starter(scene),
    )
    others += _references(cluster, seen, plan, rendered, where, installs=installs)
    return Examination(
        plan, outcome.run(scene, _version(seen), others, setting(settings, "preflight_accept")), rendered, kept
    )


def _with_the_way_out(finding: Finding, release: str) -> Finding:
    """What is wrong only for the earlier release that a model stays with is right once the model moves."""
    way = f"An earlier release made this model and it stays with that: name it in models_move to take it to {release}."
    return replace(finding, remedy=f"{finding.remedy} {way}")


def _render_again(
    settings: Mapping[str, Any],
    plan: Mapping[str, Any],
    kept: Mapping[str, str],
    rendered: RenderResult,
    sources: Sources,
) -> RenderResult:
    serving = {release: serving_of(settings, release) for release in set(kept.values())}
    return render_inventory(
        rendered.written, plan, sources, kept={model: serving[release] for model, release in kept.items()}
    )


def decide(
    settings: Mapping[str, Any],
    plan: Mapping[str, Any],
    entries: Mapping[str, Any],
    seen: Snapshot,
    crd_source: CrdSource = CrdSource(),
) -> list[Decision]:
    """Who owns each dependency of the plan."""
    choices, wanted = ownership_choices(settings), setting(settings, "ownership") or {}
    adopted = setting(settings, "ownership_adopt")
    return [
        ownership.decide(
            Question(
                name,
                entries[name],
                str(wanted.get(name, "")),
                choices[name],
                detection.detect(entries[name], seen),
                seen,
                brings=_brings(name, entries[name], _owners(wanted.get(name, ""), choices[name]), plan, crd_source),
                distribution=plan["distribution"],
                adopted=name in adopted,
                namespaces=tuple(plan["namespaces"].values()),
                on_openshift=plan["route"] == "olm",
            )
        )
        for name in choices
        if name in entries
    ]


def _owners(wanted: str, possible: Sequence[str]) -> Sequence[str]:
    """Who may come to own a dependency, by what the inventory says of it."""
    return possible if wanted == ownership.AUTO else (wanted or possible[0],)


def _brings(
    name: str, entry: Mapping[str, Any], owners: Sequence[str], plan: Mapping[str, Any], source: CrdSource
) -> str:
    """The version that a dependency of CRDs would be brought to, "" where it is somebody else's.

    This installer lays the files of a folder, if there is one; else the version is that of the lock.
    """
    lock = plan["crds"].get(_CRD_SET.get(name, ""))
    if lock is None or not {ownership.MANAGED, ownership.DELEGATED} & {*owners}:
        return ""
    if ownership.MANAGED not in owners or not source.directory:
        return str(lock["version"])
    files = crds.locate(_CRD_SET[name], lock["files"], directory=source.directory)
    return str(annotations_of(crds.parse(files[0])).get(entry["version"]["annotation"], ""))


def _ask(cluster: Cluster, settings: Mapping[str, Any], scene: Scene, crd_source: CrdSource) -> None:
    """The questions beyond lists but those about rights and admission."""
    plan, seen = scene.plan, scene.seen
    if settings.get("pull_secret_from") and plan["pull_secret"]["name"]:
        registry = catalog.load().distributions[plan["distribution"]].get("pull_secret_registry", "")
        survey.look_at_pull_secret(cluster, seen, settings["pull_secret_from"], registry, plan["image_registry"])
    survey.look_behind_webhooks(cluster, seen, without=scene.repaired_namespaces)
    ours = [layer for layer in plan["layers"] if layer["ownership"] == "managed"]
    sets = {name: plan["crds"][name] for layer in ours for name in layer["crds"]}
    adopted = setting(settings, "ownership_adopt")
    contested = {
        name
        for layer in ours
        if layer["name"] in scene.data["dependencies"] and layer["name"] not in adopted
        for name in layer["crds"]
    }
    survey.look_at_crds(
        cluster,
        seen,
        sets,
        contested=contested,
        directory=crd_source.directory,
        mirror=crd_source.mirror,
        cache=crd_source.cache,
    )


def _ask_what_the_run_may(cluster: Cluster, scene: Scene, *, asks_all: bool) -> None:
    """Rights of a run that lays layers: one question for a cluster-admin.  Admission while something is to be laid."""
    plan, seen = scene.plan, scene.seen
    if not scene.laid:
        seen.unasked |= dict.fromkeys((checks.RIGHTS, checks.LEASE, checks.ADMISSION), _LAYS_NOTHING)
        return
    whole = scene.laid == replace(scene, layers=None).laid
    part, models = (plan, scene.models) if whole else (_part_of(plan, scene.laid), ())
    rules = scene.data["rights"]
    homes = rights.homes(part, models, rules)
    survey.ask_for_rights(cluster, seen, rights.needed(part, models, rules), homes)
    if asks_all or not _is_laid(plan, seen):
        _try(cluster, scene)
    else:
        seen.unasked[checks.ADMISSION] = _IS_LAID


def _part_of(plan: Mapping[str, Any], names: Collection[str]) -> Mapping[str, Any]:
    """A plan with these layers alone."""
    gates = {name: checks for name, checks in plan["gates"].items() if name in names}
    return {**plan, "layers": [layer for layer in plan["layers"] if layer["name"] in names], "gates": gates}


_LAYS_NOTHING = "this run lays no layer; playbooks/preflight.yml asks"
_IS_LAID = "what the plan lays is there; playbooks/preflight.yml tries it again"


def _is_laid(plan: Mapping[str, Any], seen: Snapshot) -> bool:
    """Whether all layers that bring pods were laid by us, in the versions of the plan."""
    ours = [layer for layer in plan["layers"] if layer["ownership"] == "managed"]
    parts = ("deployments", "subscriptions", OWN_RELEASES)
    marked = {labels_of(item).get(OUR_LABEL) for part in parts for item in seen.of(part)}
    if not {layer["name"] for layer in ours if _brings_pods(layer, plan)} <= marked:
        return False
    published = (image for chart in published_charts(plan) for image in chart["images"].values())
    known = {mirrored(image, plan["image_registry"]) for image in (*plan["images"].values(), *published)}
    running = {
        item["image"]
        for deployment in seen.of("deployments")
        if detection.owner_in(deployment, seen).kind == detection.OURS and OUR_LABEL in labels_of(deployment)
        for item in detection.containers(deployment)
    }
    subscriptions = (item for item in seen.of("subscriptions") if OUR_LABEL in labels_of(item))
    installed = {dig(item, "status", "installedCSV") for item in subscriptions}
    return running <= known and installed <= {operator["csv"] for operator in plan["operators"].values()}


def _brings_pods(layer: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    if layer["operator"] or any(release["published"] for release in layer["releases"]):
        return True
    return any(("apps", "Deployment") in rights.kinds_of_chart(CHARTS / name, plan) for name in charts_of(layer))


def _try(cluster: Cluster, scene: Scene) -> None:
    """Objects like those of the plan, in those of its namespaces that are there; in another one as long as none is."""
    plan, seen = scene.plan, scene.seen
    wanted = _homes(plan)
    there = [name for name in wanted if seen.namespace(name)]
    samples = survey.samples(
        _an_image(plan),
        plan["pull_secret"]["name"],
        plan["namespaces"]["applications"],
        there or [survey.SOMEWHERE],
        sorted(rights.bindings_elsewhere(plan)),
    )
    survey.try_admission(cluster, seen, samples, instead_of=() if there else wanted)


def _homes(plan: Mapping[str, Any]) -> list[str]:
    """The namespaces in which a run brings pods."""
    ours = [layer for layer in plan["layers"] if layer["ownership"] == "managed"]
    releases = {release["namespace"] for layer in ours for release in layer["releases"]}
    return sorted(releases | {plan["operators"][layer["operator"]]["namespace"] for layer in ours if layer["operator"]})


def _an_image(plan: Mapping[str, Any]) -> str:
    """An image that a policy about registries would look at."""
    published = [image for chart in published_charts(plan) for image in chart["images"].values()]
    images = [plan["images"].get("rhai_operator", ""), *plan["images"].values(), *published]
    return mirrored(next(filter(None, images), _ANY_IMAGE), plan["image_registry"])


def _capacity(
    seen: Snapshot,
    plan: Mapping[str, Any],
    rendered: RenderResult,
    moved: Iterable[str],
    where: Where,
    *,
    own: Iterable[Mapping[str, Any]],
    starter: str,
) -> list[Finding]:
    if {"nodes", "pods"} & seen.unseen.keys():
        return []
    gpu = plan["serving"]["gpu"]
    machines = None
    if starter:
        machines = capacity.plan_for_empty_cluster(rendered.objects, plan["provider"], gpu, own=own)
    changing = survey.changing_models(rendered.objects, seen.of("services"), seen.of("pods"))
    changing |= {(namespace, name) for namespace, _, name in (model.partition("/") for model in moved)}
    return capacity.check(
        rendered.models,
        seen.of("nodes"),
        seen.of("pods"),
        gpu,
        lambda model, field: where(model.namespace, model.name, (field,)),
        objects=rendered.objects,
        changing=changing,
        startable=machines,
        starter=starter,
    ).findings


def _references(
    cluster: Cluster,
    seen: Snapshot,
    plan: Mapping[str, Any],
    rendered: RenderResult,
    where: Where,
    *,
    installs: bool,
) -> list[Finding]:
    """What models refer to and the cluster does not have."""
    facts = model_facts.read(cluster, seen, plan, rendered.entries, rendered.objects, installs=installs)
    return check_cluster(
        rendered.entries, plan, facts, lambda entry, path: where(entry["namespace"], entry["name"], path)
    )


def _version(seen: Snapshot) -> str:
    """ "1.34" from the answer of /version, "" when it does not say."""
    parts: Iterable[str] = (str(seen.version.get(key) or "").rstrip("+") for key in ("major", "minor"))
    return ".".join(filter(None, parts))
