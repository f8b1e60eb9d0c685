"""The reference page about strategies, plugins and rules, made from the catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from inference_platform.models.scheduler.catalogue import Catalogue, Parameter, Plugin, Program, Strategy, load
from inference_platform.models.scheduler.codes import CODES
from inference_platform.models.scheduler.objects import DEFAULT_OBJECTIVES, OBJECTIVE_HEADER
from inference_platform.models.scheduler.strategies import plugins_needed

Table = Callable[[tuple[str, ...], list[tuple[str, ...]]], str]

TITLE = "Scheduler strategies"
INTRODUCTION = (
    "What `scheduler.strategy` of a model may be, which scheduler program knows what, and what is checked. "
    "The data is in `catalog/scheduler_strategies.yml` and `catalog/endpoint_picker_plugins.yml`."
)

_STARTED = "started"
_CHECKED = "checked"

_PROOF = """\
**{started}**: the tests start {here} with the configuration, against a real API server, until it says that it serves.
**{checked}**: no package registry carries {release} whole, so the configuration is checked against the list of its
plugins below. Nobody has started it here."""

_PREFILL = """\
With `prefill` in the model every strategy but `custom` becomes a configuration with the profiles `prefill` and
`decode`, each with a filter for its pods and the scorers above, the plugins `disagg-headers-handler` and
`disagg-profile-handler`, and a decider: `always-disagg-pd-decider`, or with `prefill_threshold`
`prefix-based-pd-decider`. Only the scheduler of the release has these, so such a configuration is always {checked}.

`weights` replaces, adds and (with 0) removes scorers, `parameters` sets parameters of plugins, `picker` another picker;
`config` replaces everything by a configuration of your own. `enabled: false` leaves the choice to the gateway."""

_OBJECTIVES = """\
`scheduler.objectives: {default}` makes these for a model; a list of names and priorities makes others. Each is an
InferenceObjective for the pool of the model. A client asks for one by the header `{header}` with the name
of the object; without it, or with an unknown name, a request has priority 0. When all pods are full, requests below 0
are refused with status 429. With `flow_control` all requests wait instead, those of higher priority first; the header
`x-gateway-inference-fairness-id` says whose they are.

`scheduler.model_rewrites` becomes one InferenceModelRewrite for the pool of the model.

The tests show all three with {here}, in front of simulated servers
that are full: batch requests are refused at once and premium ones are not; with `flow_control` batch requests wait, and
premium ones that came after them are answered first. The scheduler of release 3.4 is built on v1.4.0 of
the same program. Both go by what they last read from the servers (every 50 ms) and let through about one waiting
request each millisecond until they read again, so some requests too many reach the servers at a time, and a
premium request waits behind those. A short `saturation.metrics_staleness` limits how many."""

_PLUGINS = "A plugin that is missing, or a gate that is off, is told before anything is written to the cluster."


def body(table: Table) -> str:
    """Everything below the introduction; ``table`` makes a table of head and rows."""
    catalogue = load()
    here = next(program for program in catalogue.programs.values() if program.runs_locally)
    release = list(catalogue.programs.values())[-1]
    proof = _PROOF.format(started=_STARTED, checked=_CHECKED, here=_the(here), release=_the(release))
    return "\n\n".join(
        [
            "## Strategies",
            table(
                ("strategy", "sends requests", "scorers and weights", "needs", "proof"), _strategies(catalogue, here)
            ),
            proof,
            _PREFILL.format(checked=_CHECKED),
            "## Priorities",
            table(("object", "priority"), _objectives(catalogue)),
            _OBJECTIVES.format(default=DEFAULT_OBJECTIVES, header=OBJECTIVE_HEADER, here=_the(here)),
            "## Plugins",
            table(("column", "program"), [(f"`{name}`", item.title) for name, item in catalogue.programs.items()]),
            _PLUGINS,
            table(("plugin", "kind", "what it does", *catalogue.programs, "gate"), _plugins(catalogue)),
            "### Parameters",
            table(("plugin", "parameter", "value", "default", "meaning"), _parameters(catalogue, release)),
            "## What is checked",
            table(("code", "about"), [(f"`{code}`", text) for code, text in CODES.items()]),
        ]
    )


def _the(program: Program) -> str:
    return f"the {program.title}"


def _strategies(catalogue: Catalogue, here: Program) -> list[tuple[str, ...]]:
    rows = [_strategy(strategy, catalogue, here) for strategy in catalogue.strategies.values()]
    own = ("`custom`", "As the EndpointPickerConfig under `config` says.", "", "config", _CHECKED)
    return [*rows, own]


def _strategy(strategy: Strategy, catalogue: Catalogue, here: Program) -> tuple[str, ...]:
    name = f"`{strategy.name}`"
    if strategy.instead:
        reason = f"{strategy.does} Refused: {strategy.instead['reason']}. Write {strategy.instead['write']}."
        return name, reason, "", "", ""
    scorers = ", ".join(f"`{scorer}` {weight:g}" for scorer, weight in strategy.scorers.items())
    starts = plugins_needed(strategy) <= set(catalogue.plugins_of(here.name))
    needs = {"lora": "adapters (`lora`)", "prefill": "prefill workers (`prefill`)"}
    return (
        name,
        strategy.does,
        scorers or f"none; `{strategy.picker}`",
        ", ".join(needs[need] for need in strategy.needs),
        _STARTED if starts else _CHECKED,
    )


def _objectives(catalogue: Catalogue) -> list[tuple[str, ...]]:
    return [(f"`<model>-{objective['name']}`", str(objective["priority"])) for objective in catalogue.objectives]


def _plugins(catalogue: Catalogue) -> list[tuple[str, ...]]:
    return [
        (
            f"`{plugin.type}`",
            ", ".join(kind.replace("_", " ") for kind in plugin.kinds),
            _meaning(plugin),
            *("yes" if program in plugin.programs else "no" for program in catalogue.programs),
            f"`{plugin.gate}`" if plugin.gate else "",
        )
        for plugin in catalogue.plugins.values()
    ]


def _meaning(plugin: Plugin) -> str:
    old = f"; old name of `{plugin.replaced_by}`" if plugin.replaced_by else ""
    beside = f"; needs {plugin.runs_beside} beside the scheduler" if plugin.runs_beside else ""
    return plugin.does + old + beside


def _parameters(catalogue: Catalogue, program: Program) -> list[tuple[str, ...]]:
    return [
        row
        for plugin in catalogue.plugins_of(program.name).values()
        for row in _rows(plugin.type, plugin.parameters, program.name)
    ]


def _rows(plugin: str, parameters: Mapping[str, Parameter], program: str, prefix: str = "") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, rule in parameters.items():
        if rule.known_to(program):
            default = "" if rule.default is None else f"`{json.dumps(rule.default)}`"
            old = f"old name: write {rule.replaced_by}" if rule.old_in(program) else ""
            place = "required" if rule.required else default
            rows.append((f"`{plugin}`", f"`{prefix}{name}`", rule.type, "" if old else place, old or rule.does))
            rows += _rows(plugin, rule.keys or {}, program, f"{prefix}{name}.")
    return rows
