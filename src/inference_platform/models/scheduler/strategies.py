"""Named strategies: from the block ``scheduler`` of a model to an EndpointPickerConfig."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.scheduler import kv_events
from inference_platform.models.scheduler.catalogue import Catalogue, Program, Strategy
from inference_platform.models.scheduler.config import items, mapping, words
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.models.scheduler.rules_plugins import check_parameters, unknown_plugin
from inference_platform.models.scheduler.rules_profiles import is_weight
from inference_platform.schema import or_list

CUSTOM = "custom"
DEFAULT = "prefix_cache"

_PREFIX_SCORERS = ("prefix-cache-scorer", kv_events.PLUGIN)
_NEEDS = {"prefill": "prefill workers", "lora": "LoRA adapters"}
_SATURATION = {
    "queue_depth": "queueDepthThreshold",
    "kv_cache_utilization": "kvCacheUtilThreshold",
    "metrics_staleness": "metricsStalenessThreshold",
}
_BAND = {
    "priority": "priority",
    "max_bytes": "maxBytes",
    "fairness": "fairnessPolicyRef",
    "ordering": "orderingPolicyRef",
}


@dataclass(frozen=True)
class Plan:
    """A strategy with what the model says about it."""

    strategy: Strategy
    scheduler: Mapping[str, Any]
    scorers: Mapping[str, float]
    picker: str
    prefill: bool
    events: kv_events.KvEvents | None

    @property
    def threshold(self) -> int:
        """Uncached tokens from which on prefill workers are used; 0: always."""
        return self.scheduler.get("prefill_threshold", 0) if self.prefill else 0


def plan_for(entry: Mapping[str, Any], strategy: Strategy) -> Plan:
    """What the entry makes of the strategy."""
    scheduler = mapping(entry.get("scheduler"))
    prefill = entry.get("prefill") is not None
    weights = {**strategy.scorers, **mapping(scheduler.get("weights"))}
    speculative = prefill and bool(scheduler.get("prefill_threshold"))
    return Plan(
        strategy=strategy,
        scheduler=scheduler,
        scorers={scorer: weight for scorer, weight in weights.items() if weight != 0},
        picker=scheduler.get("picker", strategy.picker),
        prefill=prefill,
        events=kv_events.from_entry(entry, speculative=speculative) if strategy.kv_events else None,
    )


def configuration(plan: Plan, program: Program) -> dict[str, Any]:
    """The EndpointPickerConfig: every plugin named, with weights, handler and picker."""
    flow = flow_control(plan.scheduler)
    wanted = [*(["prepareDataPlugins"] if plan.threshold else []), *(["flowControl"] if flow is not None else [])]
    gates = [gate for gate in wanted if gate in program.gates]
    config: dict[str, Any] = {"apiVersion": program.api_version, "kind": "EndpointPickerConfig"}
    if gates:
        config["featureGates"] = gates
    config["plugins"] = [_plugin(plan, kind) for kind in [*_plugin_types(plan), *_policies(flow)]]
    config["schedulingProfiles"] = _profiles(plan)
    saturation = {
        _SATURATION[key]: value
        for key, value in mapping(plan.scheduler.get("saturation")).items()
        if key in _SATURATION
    }
    if saturation:
        config["saturationDetector"] = saturation
    if flow:
        config["flowControl"] = flow
    return config


def _plugin_types(plan: Plan) -> list[str]:
    """In the order in which the program makes them: deciders before the handler that names them."""
    if not plan.prefill:
        return ["single-profile-handler", *plan.scorers, plan.picker]
    chosen = ["disagg-headers-handler", "prefill-filter", "decode-filter", *plan.scorers, plan.picker]
    return [*chosen, _decider(plan), "disagg-profile-handler"]


def _decider(plan: Plan) -> str:
    return "prefix-based-pd-decider" if plan.threshold else "always-disagg-pd-decider"


def _plugin(plan: Plan, kind: str) -> dict[str, Any]:
    parameters = {**_own_parameters(plan, kind), **mapping(mapping(plan.scheduler.get("parameters")).get(kind))}
    return {"type": kind, "parameters": parameters} if parameters else {"type": kind}


def _own_parameters(plan: Plan, kind: str) -> dict[str, Any]:
    if kind == "disagg-profile-handler":
        return {"deciders": {"prefill": _decider(plan)}}
    if kind == "prefix-based-pd-decider":
        return {"nonCachedTokens": plan.threshold}
    if kind == kv_events.PLUGIN and plan.events:
        return plan.events.parameters()
    return {}


def _profiles(plan: Plan) -> list[dict[str, Any]]:
    if not plan.prefill:
        return [{"name": "default", "plugins": _choice(plan)}]
    return [
        {"name": role, "plugins": [{"pluginRef": f"{role}-filter"}, *_choice(plan)]} for role in ("prefill", "decode")
    ]


def _choice(plan: Plan) -> list[dict[str, Any]]:
    scorers = [{"pluginRef": scorer, "weight": weight} for scorer, weight in plan.scorers.items()]
    return [*scorers, {"pluginRef": plan.picker}]


def flow_control(scheduler: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section flowControl: None when it is off, empty when everything is as the program has it."""
    given = scheduler.get("flow_control")
    if given is None or not given.get("enabled", True):
        return None
    section: dict[str, Any] = {}
    if given.get("max_bytes"):
        section["maxBytes"] = given["max_bytes"]
    if "default_request_ttl" in given:
        section["defaultRequestTTL"] = given["default_request_ttl"]
    if given.get("default_band"):
        section["defaultPriorityBand"] = _band(given["default_band"])
    if given.get("bands"):
        section["priorityBands"] = [_band(band) for band in given["bands"]]
    return section


def _band(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[key] for key, name in _BAND.items() if key in given}


def _policies(flow: Mapping[str, Any] | None) -> list[str]:
    """The policies that bands name; a band finds only what is declared."""
    section = flow or {}
    bands = [*items(section.get("priorityBands")), mapping(section.get("defaultPriorityBand"))]
    names = {band[key] for band in bands for key in ("fairnessPolicyRef", "orderingPolicyRef") if key in band}
    return sorted(names)


def language_mistakes(
    entry: Mapping[str, Any], plan: Plan, program: Program, catalogue: Catalogue
) -> Iterator[Mistake]:
    """Everything that is wrong with the block ``scheduler``, said at what the user wrote."""
    yield from _strategy_fits(entry, plan, program, catalogue)
    yield from _weights_fit(plan, program, catalogue)
    yield from _parameters_fit(plan, program, catalogue)
    yield from _threshold_fits(plan)
    yield from _flow_control_fits(plan, program)


def _strategy_fits(entry: Mapping[str, Any], plan: Plan, program: Program, catalogue: Catalogue) -> Iterator[Mistake]:
    strategy = plan.strategy
    known = catalogue.plugins_of(program.name)
    own = mapping(plan.scheduler.get("weights"))
    missing = [kind for kind in _plugin_types(plan) if kind not in known and kind not in own]
    if missing:
        yield Mistake(
            "IP-SCH-003",
            ("scheduler", "strategy"),
            f"a strategy whose plugins the {program.title} has",
            f"{show(strategy.name)}, which needs {or_list(missing)}",
            f"Choose another strategy: {or_list(possible(program, catalogue))}"
            + (", and no prefill workers." if plan.prefill else "."),
        )
    if "prefill" in strategy.needs and not plan.prefill:
        yield Mistake(
            "IP-SCH-004",
            ("scheduler", "strategy"),
            f"a model with {_NEEDS['prefill']} for the strategy {strategy.name}",
            "no prefill",
            "Add prefill to the model, or choose another strategy.",
        )
    if "lora" in strategy.needs and not entry.get("lora"):
        yield Mistake(
            "IP-SCH-015",
            ("scheduler", "strategy"),
            f"a model with {_NEEDS['lora']} for the strategy {strategy.name}",
            "no lora",
            "Add lora to the model, or choose another strategy.",
            WARNING,
        )
    if plan.scheduler.get("kv_events") and not strategy.kv_events:
        yield Mistake(
            "IP-SCH-006",
            ("scheduler", "kv_events"),
            "no kv_events with a strategy that does not use them",
            f"kv_events with {show(strategy.name)}",
            "Remove kv_events, or write strategy: precise_prefix_cache.",
            WARNING,
        )


def possible(program: Program, catalogue: Catalogue) -> list[str]:
    """The strategies whose plugins a program has."""
    known = set(catalogue.plugins_of(program.name))
    return [
        name
        for name, strategy in catalogue.strategies.items()
        if not strategy.instead and plugins_needed(strategy) <= known
    ]


def plugins_needed(strategy: Strategy, *, prefill: bool = False) -> set[str]:
    """The plugin types of a strategy as it is, with prefill workers if it wants them or ``prefill``."""
    entry = {"name": "", "namespace": "", **({"prefill": {}} if prefill or "prefill" in strategy.needs else {})}
    return set(_plugin_types(plan_for(entry, strategy)))


def _weights_fit(plan: Plan, program: Program, catalogue: Catalogue) -> Iterator[Mistake]:
    for kind, weight in mapping(plan.scheduler.get("weights")).items():
        path = ("scheduler", "weights", kind)
        plugin = catalogue.plugins_of(program.name).get(kind)
        if plugin is None:
            yield unknown_plugin("IP-SCH-007", path, kind, program, catalogue)
        elif "scorer" not in plugin.kinds:
            found = f"{show(kind)}, a {words(plugin.kinds[0])}"
            yield Mistake("IP-SCH-007", path, "the type of a scorer", found, "Give weights to scorers only.")
        elif kind == kv_events.PLUGIN and weight and not plan.strategy.kv_events:
            yield Mistake(
                "IP-SCH-007",
                path,
                "scorers that need no cache events",
                show(kind),
                "Write strategy: precise_prefix_cache, which sets up the events.",
            )
        elif not is_weight(weight, program):
            yield Mistake("IP-SCH-010", path, "a whole number", show(weight), "Round the weights of the model.")
    if not plan.scorers and plan.picker != "random-picker":
        yield Mistake(
            "IP-SCH-009",
            ("scheduler", "weights"),
            "at least one scorer with a weight above 0",
            "none, so that chance decides",
            "Give a scorer a weight, or write strategy: random.",
        )


def _parameters_fit(plan: Plan, program: Program, catalogue: Catalogue) -> Iterator[Mistake]:
    used = _plugin_types(plan)
    for kind, values in mapping(plan.scheduler.get("parameters")).items():
        path = ("scheduler", "parameters", kind)
        if kind not in used:
            yield Mistake(
                "IP-SCH-008",
                path,
                f"a plugin of the strategy {plan.strategy.name}: {or_list(used)}",
                show(kind),
                "Remove it, or give the scorer a weight.",
            )
            continue
        for name in sorted(set(values) & set(_own_parameters(plan, kind))):
            yield Mistake(
                "IP-SCH-011",
                (*path, name),
                "parameters that the model's other settings do not make",
                show(name),
                f"Remove {name}; use kv_events, prefill and prefill_threshold.",
            )
        plugin = catalogue.plugins_of(program.name).get(kind)
        if plugin:
            yield from check_parameters(plugin, values, program, path)


def _threshold_fits(plan: Plan) -> Iterator[Mistake]:
    if not plan.scheduler.get("prefill_threshold"):
        return
    path = ("scheduler", "prefill_threshold")
    if not plan.prefill:
        found = "a threshold, and no prefill"
        yield Mistake("IP-SCH-006", path, "a model with prefill workers", found, "Remove it, or add prefill.", WARNING)
    elif not any(scorer in plan.scorers for scorer in _PREFIX_SCORERS):
        yield Mistake(
            "IP-SCH-043",
            path,
            f"a strategy that knows what is cached ({or_list(_PREFIX_SCORERS)})",
            show(plan.strategy.name),
            "Remove the threshold, or write strategy: prefix_cache.",
        )


def _flow_control_fits(plan: Plan, program: Program) -> Iterator[Mistake]:
    section = flow_control(plan.scheduler)
    if section and "flowControl" not in program.sections:
        expected = f"settings that the {program.title} has"
        remedy = "Write flow_control: {enabled: true} alone."
        yield Mistake("IP-SCH-018", ("scheduler", "flow_control"), expected, or_list(list(section)), remedy)
    if plan.scheduler.get("saturation") and "saturationDetector" not in program.sections:
        expected = f"settings that this installer can write for the {program.title}"
        remedy = "Remove saturation: this scheduler has it in another form."
        yield Mistake("IP-SCH-018", ("scheduler", "saturation"), expected, "saturation", remedy)
    seen: set[int] = set()
    for index, band in enumerate(mapping(plan.scheduler.get("flow_control")).get("bands", [])):
        if band["priority"] in seen:
            path = ("scheduler", "flow_control", "bands", index, "priority")
            expected = "a priority that no other band has"
            yield Mistake("IP-SCH-019", path, expected, show(band["priority"]), "Merge the two bands.")
        seen.add(band["priority"])
