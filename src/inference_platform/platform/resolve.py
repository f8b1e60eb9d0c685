"""Resolve settings and catalogue into a plan, or refuse with reasons.

The rules of ownership follow what the real cloud managers were seen to do
(observed-operators.md sections 1 and 2); they are data in ``catalog/releases``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inference_platform.catalog.check import HOW_TO_PIN
from inference_platform.catalog.load import UNPINNED_TAG, Catalog, CatalogError, holds, load, of_distribution
from inference_platform.findings import Finding, InventoryError, errors, show
from inference_platform.platform import gateway, pools, published
from inference_platform.platform.gates import resolve_gate
from inference_platform.platform.graph import order
from inference_platform.platform.plan import Layer, Plan, Release
from inference_platform.problems import Reporter
from inference_platform.schema import close_names, load_schema, or_list
from inference_platform.sources import Sources

NO_ENGINE = "none"
MANAGED = "managed"
DELEGATED = "delegated"
AUTO = "auto"
HELM = "helm"
OLM = "olm"
#: Operators of which an inventory may choose another version than the release's, by the setting olm_operators.
OPERATORS_OF_CHOICE = ("cert_manager", "lws")
PROGRAMMED = "Programmed"


@dataclass(frozen=True)
class _Choice:
    """What was chosen, with the parts of the catalogue it points to."""

    release: dict[str, Any]
    distribution: str
    provider: str
    engine_line: str
    ownership: dict[str, str]
    load_balancer: str
    image_registry: str
    route: str
    gateway: dict[str, Any]
    authority: dict[str, Any]
    pools: dict[str, dict[str, Any]]
    capacity: list[dict[str, Any]]
    operators: dict[str, dict[str, Any]]
    chart_sha256: dict[str, str]
    pull_secret: str | None

    @property
    def line(self) -> dict[str, Any]:
        return dict(self.release["engine_lines"][self.engine_line])

    @property
    def olm(self) -> dict[str, Any]:
        """What the release says about OLM; empty on the route helm."""
        return dict(self.release["olm"]) if self.route == OLM else {}


def resolve(settings: Mapping[str, Any], catalog: Catalog | None = None, sources: Sources | None = None) -> Plan:
    """The plan for the platform settings of an inventory.

    Raises InventoryError with every finding when release, distribution, provider or
    ownership do not exist or do not go together.
    """
    catalog = catalog or load()
    findings = check_settings(settings, catalog, sources)
    if errors(findings):
        raise InventoryError(findings)
    return _plan(_choose(settings, catalog), catalog)


def check_settings(
    settings: Mapping[str, Any], catalog: Catalog | None = None, sources: Sources | None = None
) -> list[Finding]:
    """Every reason why ``settings`` cannot become a plan; empty when they can."""
    catalog = catalog or load()
    report = Reporter(sources)
    findings = list(_unknown_names(settings, catalog, report))
    if not findings:
        findings = list(_impossible_combinations(settings, catalog, report))
    return findings


def setting(settings: Mapping[str, Any], name: str) -> Any:
    """The value of a setting, or the default that the inventory schema gives it."""
    value = settings.get(name)
    return load_schema("inventory")["properties"][name].get("default") if value is None else value


def _unknown_names(settings: Mapping[str, Any], catalog: Catalog, report: Reporter) -> Iterator[Finding]:
    for code, name, known, title in (
        ("IP-PLT-001", "platform_release", catalog.releases, "release"),
        ("IP-PLT-002", "distribution", catalog.distributions, "distribution"),
        ("IP-PLT-003", "provider", catalog.providers, "provider"),
    ):
        value = setting(settings, name)
        if _is_refused(catalog, name, value):
            continue
        if not isinstance(value, (str, int, float)) or str(value) not in known:
            close = _meant(value, known) if isinstance(value, str) else ()
            hint = f" Did you mean {or_list(close)}?" if close else ""
            yield report.error(
                code,
                (name,),
                f"a {title} of the catalogue: {or_list(known)}",
                show(value),
                f"Set {name} to {or_list(known)}.{hint}",
            )


def _meant(value: str, known: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a value could mean: by what else the catalogue says they are called, else those like it."""
    word = value.lower()
    called = tuple(name for name, entry in known.items() if word in entry.get("also_called", ()))
    return called or close_names(word, known)


def _is_refused(catalog: Catalog, name: str, value: Any) -> bool:
    """Whether some release says why it does not have this distribution or provider."""
    return any(str(value) in release["refusals"].get(name, {}) for release in catalog.releases.values())


def _impossible_combinations(settings: Mapping[str, Any], catalog: Catalog, report: Reporter) -> Iterator[Finding]:
    distribution = str(setting(settings, "distribution"))
    release = _release_of(settings, catalog)
    provider = str(settings["provider"])
    choices: tuple[tuple[str, str, str, list[str]], ...] = (
        ("IP-PLT-004", "distribution", distribution, release["distributions"]),
        ("IP-PLT-005", "provider", provider, sorted(release["providers"])),
    )
    for code, name, value, possible in choices:
        if value not in possible:
            refusal = release["refusals"].get(name, {}).get(value)
            yield report.error(
                code,
                (name,),
                f"a {name} that release {release['release']} has: {or_list(possible)}",
                f"{show(value)}; {refusal['reason']}" if refusal else show(value),
                f"The nearest that works: {refusal['nearest']}." if refusal else f"Set {name} to {or_list(possible)}.",
            )
    yield from published.check(settings, release.get("charts", {}), report)
    if provider in release["providers"]:
        yield from _refused_ownership(settings, release, provider, report)
        yield from _refused_adoption(settings, report)
        yield from _refused_load_balancer(settings, catalog, provider, report)
        yield from _refused_mirror(settings, catalog, provider, report)
        yield from _refused_operators(settings, catalog, provider, release, report)
        yield from _refused_pull_secret(settings, catalog, provider, report)
        line = _engine_line(settings, release, provider)
        route = route_of(catalog, provider)
        yield from gateway.check(settings, _own_gateway(release, route), report, own_listeners=route == OLM)
        own = {**release["namespaces"], **(release["olm"].get("namespaces", {}) if route == OLM else {})}
        yield from pools.check(settings, catalog.providers[provider], own.values(), report)
        maker = f"the cloud manager of the {line} line" if has_engine(release["engine_lines"][line]) else ""
        yield from gateway.check_authority(settings, gateway.OPENSHIFT if route == OLM else maker, report)


def _refused_ownership(
    settings: Mapping[str, Any], release: dict[str, Any], provider: str, report: Reporter
) -> Iterator[Finding]:
    line_name = _engine_line(settings, release, provider)
    line = release["engine_lines"][line_name]
    manager = (
        "without a cloud manager"
        if not has_engine(line)
        else f"with the cloud manager of the {line_name} line, which {provider} uses in release {release['release']}"
    )
    for layer, wanted in (setting(settings, "ownership") or {}).items():
        possible = line["ownership"].get(layer, [])
        if possible and wanted not in (*possible, AUTO):
            refusal = line["refusals"][wanted]
            yield report.error(
                "IP-PLT-006",
                ("ownership", layer),
                f"{or_list(possible)} {manager}",
                f"{wanted}; {refusal['reason']}",
                f"The nearest that works: {refusal['nearest']}.",
            )


def _refused_adoption(settings: Mapping[str, Any], report: Reporter) -> Iterator[Finding]:
    """What is left to somebody else is not taken over from them."""
    owners = setting(settings, "ownership") or {}
    for index, name in enumerate(setting(settings, "ownership_adopt") or []):
        if owners.get(name) == gateway.EXTERNAL:
            yield report.error(
                "IP-PLT-031",
                ("ownership_adopt", index),
                f"no dependency that ownership leaves to somebody else (ownership.{name}: {gateway.EXTERNAL})",
                name,
                f"Take {name} out of ownership_adopt to use what is there, or change ownership.{name}.",
            )


def _refused_load_balancer(
    settings: Mapping[str, Any], catalog: Catalog, provider: str, report: Reporter
) -> Iterator[Finding]:
    wanted = str(setting(settings, "gateway_load_balancer"))
    kinds = catalog.providers[provider]["gateway"]["load_balancers"]
    if wanted not in kinds:
        yield report.error(
            "IP-PLT-007",
            ("gateway_load_balancer",),
            f"a load balancer that provider {provider} has: {or_list(kinds)}",
            show(wanted),
            f"Set gateway_load_balancer to {or_list(kinds)}; inference_gateway_service_annotations takes any other "
            "annotation.",
        )


def _refused_mirror(
    settings: Mapping[str, Any], catalog: Catalog, provider: str, report: Reporter
) -> Iterator[Finding]:
    """Operators of OLM bring the images that their bundles name."""
    wanted = str(setting(settings, "platform_image_registry") or "")
    if wanted and route_of(catalog, provider) == OLM:
        yield report.error(
            "IP-PLT-008",
            ("platform_image_registry",),
            f"no registry of your own on {provider}, where operators name the images",
            show(wanted),
            "The nearest that works: leave it empty, mirror the catalogue, and have the nodes redirected by an "
            "ImageDigestMirrorSet.",
        )


def _refused_operators(
    settings: Mapping[str, Any], catalog: Catalog, provider: str, release: Mapping[str, Any], report: Reporter
) -> Iterator[Finding]:
    wanted = setting(settings, "olm_operators")
    if route_of(catalog, provider) == OLM:
        yield from _refused_versions(settings, release["olm"]["operators"], report)
    elif wanted:
        yield report.error(
            "IP-PLT-009",
            ("olm_operators",),
            f"nothing on {provider}, where no operator comes from OLM",
            show(wanted),
            "Remove olm_operators: the versions are those of the release.",
        )


def _refused_versions(
    settings: Mapping[str, Any], locked: Mapping[str, Mapping[str, Any]], report: Reporter
) -> Iterator[Finding]:
    """Names of another operator, or in another form than ``locked``, the operators of the release, have.

    OLM never makes an InstallPlan for those.
    """
    for name, wanted in setting(settings, "olm_operators").items():
        own = locked[name]["csv"]
        csv = wanted.get("csv", own)
        (package, _, version), (own_package, _, own_version) = csv.partition("."), own.partition(".")
        v = "v" if own_version.startswith("v") else ""
        if package != own_package or not version.startswith(v):
            meant = f"{own_package}.{v}{version}" if package == own_package else f"a version of {own_package}"
            yield report.error(
                "IP-PLT-038",
                ("olm_operators", name, "csv"),
                f"a ClusterServiceVersion named {own_package}.{v}VERSION, such as {own}",
                show(csv),
                f"Write {meant}.",
            )


def _refused_pull_secret(
    settings: Mapping[str, Any], catalog: Catalog, provider: str, report: Reporter
) -> Iterator[Finding]:
    """The nodes of OpenShift have the credentials (operators.md 5); the file serves mirror.yml alone."""
    wanted = setting(settings, "pull_secret_from")
    if wanted and route_of(catalog, provider) == OLM:
        yield report.error(
            "IP-PLT-028",
            ("pull_secret_from",),
            f"nothing on {provider}, whose nodes have the credentials: no pull secret is made",
            show(wanted),
            "Remove pull_secret_from. For playbooks/mirror.yml the credentials are in pull_secret_file.",
        )


def _release_of(settings: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """The release of the settings, as their distribution has it."""
    release = catalog.releases[str(settings["platform_release"])]
    return of_distribution(release, str(setting(settings, "distribution")))


def has_engine(line: Mapping[str, Any]) -> bool:
    """Whether a line of the release has a cloud manager."""
    return "dependencies" in line


def route_of(catalog: Catalog, provider: str) -> str:
    """How operators get into the clusters of a provider: helm or olm."""
    return str(catalog.providers.get(provider, {}).get("route", HELM))


def _own_gateway(release: Mapping[str, Any], route: str) -> tuple[str, str]:
    """Namespace and name of the platform's Gateway."""
    if route == OLM:
        namespaces = {**release["namespaces"], **release["olm"].get("namespaces", {})}
        return namespaces["istio"], release["olm"]["gateway"]
    return release["namespaces"]["applications"], release["serving"]["gateway"]


def _engine_line(settings: Mapping[str, Any], release: dict[str, Any], provider: str) -> str:
    line = str(release["providers"][provider]["engine_line"])
    without = setting(settings, "cloud_manager") == NO_ENGINE and has_engine(release["engine_lines"][line])
    return NO_ENGINE if without else line


def _choose(settings: Mapping[str, Any], catalog: Catalog) -> _Choice:
    release = _release_of(settings, catalog)
    provider = str(settings["provider"])
    line = _engine_line(settings, release, provider)
    possible = release["engine_lines"][line]["ownership"]
    wanted = setting(settings, "ownership") or {}
    return _Choice(
        release=release,
        distribution=str(setting(settings, "distribution")),
        provider=provider,
        engine_line=line,
        ownership={name: _owner(wanted.get(name), possible[name]) for name in sorted(possible)},
        load_balancer=str(setting(settings, "gateway_load_balancer")),
        image_registry=str(setting(settings, "platform_image_registry") or "").rstrip("/"),
        route=route_of(catalog, provider),
        gateway=gateway.plan(settings, _own_gateway(release, route_of(catalog, provider))),
        authority=gateway.authority(settings),
        pools=pools.profiles_of(settings, catalog.providers[provider]),
        operators=dict(setting(settings, "olm_operators")),
        capacity=pools.objects_of(settings, gateway.complete(settings.get("gateway") or {})["namespace_labels"]),
        chart_sha256=dict(setting(settings, "chart_sha256") or {}),
        pull_secret=_pull_secret(settings, catalog, release),
    )


def _owner(wanted: str | None, possible: list[str]) -> str:
    """The owner of a dependency; "auto" is the default until preflight has looked at the cluster."""
    return possible[0] if wanted in (None, AUTO) else str(wanted)


def ownership_choices(settings: Mapping[str, Any], catalog: Catalog | None = None) -> dict[str, list[str]]:
    """Per dependency the ownerships that release, provider and cloud manager allow, the default first."""
    catalog = catalog or load()
    release = _release_of(settings, catalog)
    line = _engine_line(settings, release, str(settings["provider"]))
    return {name: list(choices) for name, choices in release["engine_lines"][line]["ownership"].items()}


def _plan(choice: _Choice, catalog: Catalog) -> Plan:
    release = choice.release
    namespaces = _namespaces(choice)
    made = _made_namespaces(choice, namespaces)
    layers = _layers(choice, catalog)
    crds = _crds(choice, catalog)
    engine = _engine(choice, catalog, namespaces)
    images = _images(choice, catalog)
    return Plan(
        release=release["release"],
        version=release["version"],
        distribution=choice.distribution,
        provider=choice.provider,
        engine_line=choice.engine_line if has_engine(choice.line) else None,
        namespaces=namespaces,
        ownership=choice.ownership,
        layers=layers,
        images=images,
        related_images={
            user: [
                {"name": entry["name"], "value": images[entry["image"]] if "image" in entry else entry["value"]}
                for entry in entries
            ]
            for user, entries in release["related_images"].items()
        },
        pull_secret={
            "name": choice.pull_secret,
            "namespaces": made if choice.pull_secret else [],
        },
        crds=crds,
        gates=_gates(choice, catalog, layers, crds, namespaces, engine, images),
        engine=engine,
        gateway=_gateway(choice, catalog),
        authority=choice.authority,
        pools=choice.pools,
        capacity=choice.capacity,
        versions=_versions(choice),
        serving=_serving(choice, catalog),
        image_registry=choice.image_registry,
        route=choice.route,
        operators=_operators(choice, namespaces),
        made_namespaces=made,
        namespace_labels={
            namespaces[operator["namespace"]]: dict(operator["namespace_labels"])
            for operator in choice.olm.get("operators", {}).values()
            if "namespace_labels" in operator
        },
    )


def _namespaces(choice: _Choice) -> dict[str, str]:
    """The namespaces of the platform by what they are for."""
    return {
        name: namespace
        for name, namespace in {**choice.release["namespaces"], **choice.olm.get("namespaces", {})}.items()
        if name != "cloud_manager" or has_engine(choice.line)
    }


def _made_namespaces(choice: _Choice, namespaces: Mapping[str, str]) -> list[str]:
    """The namespaces that are made here: all but those of the cluster itself."""
    there = choice.olm.get("there_already", [])
    return sorted(namespace for name, namespace in namespaces.items() if name not in there)


def needs_pull_secret(settings: Mapping[str, Any], catalog: Catalog) -> bool:
    """Whether a pull secret is made.

    Not on OpenShift, whose nodes have the credentials (operators.md 5). For images that anybody may pull only if the
    inventory names one: a mirror of them may ask for it.
    """
    if route_of(catalog, str(setting(settings, "provider"))) == OLM:
        return False
    distribution = catalog.distributions.get(str(setting(settings, "distribution")), {})
    named = setting(settings, "pull_secret_file") or setting(settings, "pull_secret_from")
    return "pull_secret_registry" in distribution or bool(named)


def _pull_secret(settings: Mapping[str, Any], catalog: Catalog, release: Mapping[str, Any]) -> str | None:
    return str(release["pull_secret"]) if needs_pull_secret(settings, catalog) else None


def _operators(choice: _Choice, namespaces: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The operators that OLM brings, with everything that a Subscription says."""
    catalog = choice.olm.get("catalog", {})
    return {
        name: {
            "package": entry["package"],
            "channel": choice.operators.get(name, {}).get("channel", entry["channel"]),
            "csv": choice.operators.get(name, {}).get("csv", entry["csv"]),
            "source": catalog["source"],
            "source_namespace": catalog["namespace"],
            "namespace": namespaces[entry["namespace"]],
            "target_namespaces": [namespaces[entry["namespace"]]] if entry.get("own_namespace") else [],
            "env": dict(entry.get("env", {})),
        }
        for name, entry in choice.olm.get("operators", {}).items()
    }


def _facts_of(layer: Mapping[str, Any], choice: _Choice) -> dict[str, str]:
    facts = {
        **choice.ownership,
        "release": choice.release["release"],
        "distribution": choice.distribution,
        "provider": choice.provider,
        "engine_line": choice.engine_line,
        "route": choice.route,
        "gateway": choice.gateway["ownership"],
        "gateway_certificate": choice.gateway["https"]["certificate"],
    }
    chosen = choice.ownership.get(layer["name"]) if layer.get("dependency") else None
    if chosen is None:
        rules = layer.get("ownership", [])
        chosen = next((rule["is"] for rule in rules if holds(rule["when"], facts)), MANAGED)
    return {**facts, "ownership": chosen}


def _layers(choice: _Choice, catalog: Catalog) -> list[Layer]:
    facts = {layer["name"]: _facts_of(layer, choice) for layer in catalog.layers}
    present = [layer for layer in catalog.layers if holds(layer.get("when"), facts[layer["name"]])]
    names = [layer["name"] for layer in present]
    needs = {
        layer["name"]: [
            need["layer"]
            for need in layer.get("needs", [])
            if holds(need.get("when"), facts[layer["name"]]) and need["layer"] in names
        ]
        for layer in present
    }
    by_name = {layer["name"]: layer for layer in present}
    return [_layer(by_name[name], needs[name], facts[name], choice, catalog) for name in order(names, needs)]


def _of_route(text: str | Mapping[str, str], route: str) -> str:
    return text if isinstance(text, str) else text[route]


def _layer(
    layer: Mapping[str, Any], needs: list[str], facts: Mapping[str, str], choice: _Choice, catalog: Catalog
) -> Layer:
    return Layer(
        name=layer["name"],
        title=layer["title"],
        ownership=facts["ownership"],
        needs=needs,
        releases=[
            _release(entry, layer["name"], choice, catalog)
            for entry in layer.get("releases", [])
            if holds(entry.get("when"), facts)
        ],
        crds=[entry["set"] for entry in layer.get("crds", []) if holds(entry.get("when"), facts)],
        waits_for=_of_route(layer["waits_for"], facts["route"]),
        operator=_operator_of(layer, facts),
    )


def _release(entry: Mapping[str, Any], layer: str, choice: _Choice, catalog: Catalog) -> Release:
    namespaces = _namespaces(choice)
    if "published" not in entry:
        return Release(entry["name"], entry["chart"], namespaces[entry["namespace"]])
    chart = entry["published"]
    facts = {
        "gateway.name": choice.gateway["name"],
        "gateway.namespace": choice.gateway["namespace"],
        "pull_secrets": [choice.pull_secret] if choice.pull_secret else [],
        "pull_secrets.named": [{"name": choice.pull_secret}] if choice.pull_secret else [],
        **{f"namespaces.{name}": namespace for name, namespace in namespaces.items()},
    }
    return published.release(
        entry["name"],
        namespaces[entry["namespace"]],
        published.Chart(chart, choice.release["charts"][chart], catalog.charts[chart], layer),
        facts,
        registry=choice.image_registry,
        sha256=choice.chart_sha256.get(chart),
    )


def _operator_of(layer: Mapping[str, Any], facts: Mapping[str, str]) -> str | None:
    operator = layer.get("operator")
    return str(operator["name"]) if operator and holds(operator.get("when"), facts) else None


def _with_delegated(choice: _Choice, chosen: dict[str, str], key: str) -> dict[str, str]:
    for layer, versions in choice.line.get(key, {}).items():
        if choice.ownership.get(layer) == DELEGATED:
            chosen |= versions
    return chosen


def _versions(choice: _Choice) -> dict[str, str]:
    """Component versions, without those that the cluster decides."""
    left = choice.olm.get("left_to_cluster", [])
    known = {name: version for name, version in choice.release["versions"].items() if name not in left}
    return _with_delegated(choice, known, "delegated_versions")


def _images(choice: _Choice, catalog: Catalog) -> dict[str, str]:
    chosen = {**choice.release["images"], **choice.line.get("images", {})}
    chosen = _with_delegated(choice, chosen, "delegated_images")
    return {name: _image(name, version, catalog) for name, version in sorted(chosen.items())}


def _image(name: str, version: str, catalog: Catalog) -> str:
    digest = catalog.images[name]["digests"][version]
    if digest.startswith(UNPINNED_TAG):
        raise CatalogError(f"images.yml {name} {version}: expected a digest, found {digest}. {HOW_TO_PIN}")
    return f"{catalog.images[name]['repository']}@{digest}"


def _crds(choice: _Choice, catalog: Catalog) -> dict[str, dict[str, Any]]:
    versions = {**choice.release["crds"], **choice.line.get("crds", {})}
    versions = _with_delegated(choice, versions, "delegated_crds")
    sets: dict[str, dict[str, Any]] = {
        name: {"version": version, "files": [dict(file) for file in catalog.crds[name][version]]}
        for name, version in sorted(versions.items())
    }
    for entry in (entry for layer in catalog.layers for entry in layer.get("crds", []) if "shared_with" in entry):
        if entry["set"] in sets:
            sets[entry["set"]]["shared_with"] = entry["shared_with"]
    engine = catalog.providers[choice.provider].get("engine")
    if engine and "cloud-manager" in sets:
        wanted = f"{engine['plural']}.infrastructure.opendatahub.io"
        files = [file for file in sets["cloud-manager"]["files"] if file["name"] == wanted]
        sets["cloud-manager"]["files"] = files
    return sets


def _engine(choice: _Choice, catalog: Catalog, namespaces: Mapping[str, str]) -> dict[str, Any] | None:
    if not has_engine(choice.line):
        return None
    engine = catalog.providers[choice.provider].get("engine")
    if engine is None:
        raise CatalogError(f"providers.yml {choice.provider} has no engine, but the release gives it a line")
    dependencies: dict[str, Any] = {}
    for name, entry in sorted(choice.line["dependencies"].items()):
        managed = choice.ownership[entry["layer"]] == DELEGATED
        configuration = {field: namespaces[namespace] for field, namespace in entry.get("configuration", {}).items()}
        dependencies[name] = {
            "managementPolicy": "Managed" if managed else "Unmanaged",
            **({"configuration": configuration} if configuration else {}),
        }
    return {
        "kind": engine["kind"],
        "plural": engine["plural"],
        "name": engine["name"],
        "spec": {"dependencies": dependencies},
    }


def _gateway(choice: _Choice, catalog: Catalog) -> dict[str, Any]:
    balancer = catalog.providers[choice.provider]["gateway"]
    return {
        **choice.gateway,
        "condition": _gateway_condition(choice, catalog),
        "annotations": dict(balancer["load_balancers"][choice.load_balancer].get("annotations", {})),
        "port_annotations": dict(balancer.get("port_annotations", {})),
    }


def _gateway_condition(choice: _Choice, catalog: Catalog) -> str:
    """What proves the gateway; one of the user's own must be ready for requests, wherever it runs."""
    if choice.gateway["ownership"] == gateway.EXTERNAL:
        return PROGRAMMED
    return str(catalog.providers[choice.provider]["gateway"]["condition"])


def serving_of(settings: Mapping[str, Any], release: str, catalog: Catalog | None = None) -> dict[str, Any]:
    """How models are written for another release of the catalogue: ``Plan.serving`` with its facts."""
    catalog = catalog or load()
    other = of_distribution(catalog.releases[release], str(setting(settings, "distribution")))
    return _serving(replace(_choose(settings, catalog), release=other), catalog)


def _serving(choice: _Choice, catalog: Catalog) -> dict[str, Any]:
    serving = choice.release["serving"]
    provider = catalog.providers[choice.provider]
    return {
        **serving,
        "release": choice.release["release"],
        "gateway": {
            "name": choice.gateway["name"],
            "namespace": choice.gateway["namespace"],
            "address_required": _gateway_condition(choice, catalog) == PROGRAMMED,
            "namespace_labels": choice.gateway["namespace_labels"],
        },
        "presets": dict(choice.release["presets"]),
        "pull_secret": choice.pull_secret,
        "annotations": dict(choice.olm.get("annotations", {})),
        "gpu": provider["gpu"],
    }


def _gates(
    choice: _Choice,
    catalog: Catalog,
    layers: list[Layer],
    crds: Mapping[str, Mapping[str, Any]],
    namespaces: Mapping[str, str],
    engine: Mapping[str, Any] | None,
    images: Mapping[str, str],
) -> dict[str, list[dict[str, Any]]]:
    condition = _gateway_condition(choice, catalog)
    facts: dict[str, Any] = {
        "version": choice.release["version"],
        "provider": choice.provider,
        "pull_secret": choice.pull_secret,
        "pull_secret_namespaces": _made_namespaces(choice, namespaces) if choice.pull_secret else [],
        "preset_prefix": choice.release["presets"]["prefix"],
        "preset_names": list(choice.release["presets"]["names"]),
        "gateway_condition": condition,
        "made_namespaces": _made_namespaces(choice, namespaces),
        "gateway_class": choice.olm.get("gateway", "istio"),
        "gateway.name": choice.gateway["name"],
        "gateway.namespace": choice.gateway["namespace"],
        "gateway.secret": choice.gateway["https"]["secret"],
        **{f"namespaces.{name}": namespace for name, namespace in namespaces.items()},
        **{
            f"operators.{name}.{key}": value
            for name, entry in _operators(choice, namespaces).items()
            for key, value in entry.items()
        },
        **{f"engine.{key}": value for key, value in (engine or {}).items() if key != "spec"},
        # A mirror has another place for an image, and the same digest.
        **{f"digests.{name}": image.rpartition("@")[2] for name, image in images.items()},
    }
    crd_names = {name: [file["name"] for file in entry["files"]] for name, entry in crds.items()}
    by_name = {layer["name"]: layer for layer in catalog.layers}
    return {
        layer.name: resolve_gate(
            layer.name,
            catalog,
            {**_facts_of(by_name[layer.name], choice), "gateway_condition": condition},
            facts,
            crd_names,
        )
        for layer in layers
    }
