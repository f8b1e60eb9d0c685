"""Scheduler configuration and model server settings of one model, so that both sides agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.merge import plain
from inference_platform.models.scheduler import kv_events
from inference_platform.models.scheduler.catalogue import load
from inference_platform.models.scheduler.check import check_config
from inference_platform.models.scheduler.config import mapping
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.models.scheduler.strategies import (
    CUSTOM,
    DEFAULT,
    configuration,
    language_mistakes,
    plan_for,
    possible,
)

# Settings of the block that say how pods are chosen, and that a configuration of the user replaces.
_CHOICE = ("weights", "parameters", "picker", "prefill_threshold", "kv_events", "saturation", "flow_control")


@dataclass(frozen=True)
class Wiring:
    """What one model's scheduler needs, on both sides.

    ``epp_config``      EndpointPickerConfig for ``spec.router.scheduler.config.inline``; None when the
                        model has no scheduler of its own (``enabled: false``, or ``router.pool``).
    ``vllm_args``       arguments for the ``main`` container of every serving pod (decode, prefill, leader
                        and worker alike), one item each, unquoted, in a fixed order. ``$(POD_IP)`` in them
                        is expanded by the kubelet; quoting for a shell must keep it as it is. A flag in
                        here stands for the setting of ``vllm`` with the same flag, which has the same value.
    ``vllm_env``        environment of the same containers: EnvVar objects ({name, value} with a text, or
                        {name, valueFrom}), to go before the user's own of the same name.
    ``pod_ports``       ContainerPort objects of the same containers.
    ``findings``        all mistakes; the rest is only to be used when none of them is an error.
    """

    epp_config: dict[str, Any] | None
    vllm_args: list[str] = field(default_factory=list)
    vllm_env: list[dict[str, Any]] = field(default_factory=list)
    pod_ports: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Mistake] = field(default_factory=list)


def config_for(entry: Mapping[str, Any], serving: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[Mistake]]:
    """The EndpointPickerConfig of ``entry`` (None without a scheduler), and the mistakes found."""
    wiring = wiring_for(entry, serving)
    return wiring.epp_config, wiring.findings


def wiring_for(entry: Mapping[str, Any], serving: Mapping[str, Any]) -> Wiring:
    """Configuration of the endpoint picker of ``entry`` and what it asks of its model servers."""
    scheduler = mapping(entry.get("scheduler"))
    if scheduler.get("enabled") is False or mapping(entry.get("router")).get("pool"):
        return Wiring(None)
    custom = scheduler.get("config")
    name = scheduler.get("strategy", CUSTOM if custom is not None else DEFAULT)
    if name == CUSTOM or custom is not None:
        return _custom(entry, serving, name)
    return _named(entry, serving, name)


def asked_of_servers(entry: Mapping[str, Any], config: Any) -> tuple[Any, ...] | None:
    """What a configuration asks of the model servers of ``entry``: flags, environment, ports; None for nothing."""
    events = kv_events.from_config(entry, mapping(config))
    return (events.server_flags, events.server_env(), events.server_ports()) if events else None


def _named(entry: Mapping[str, Any], serving: Mapping[str, Any], name: str) -> Wiring:
    catalogue = load()
    program = catalogue.programs[serving["endpoint_picker"]]
    strategy = catalogue.strategies[name]
    if strategy.instead:
        return Wiring(
            None,
            findings=[
                Mistake(
                    "IP-SCH-002",
                    ("scheduler", "strategy"),
                    f"one of the strategies {', '.join(possible(program, catalogue))}",
                    f"{show(name)}: {strategy.instead['reason']}",
                    f"Write {strategy.instead['write']}.",
                )
            ],
        )
    plan = plan_for(entry, strategy)
    findings = list(language_mistakes(entry, plan, program, catalogue))
    return _with_events(entry, configuration(plan, program), plan.events, findings)


def _custom(entry: Mapping[str, Any], serving: Mapping[str, Any], name: str) -> Wiring:
    config = mapping(entry.get("scheduler")).get("config")
    if name != CUSTOM or config is None:
        return Wiring(None, findings=[_half_custom(name, config)])
    findings = [*_replaced(mapping(entry.get("scheduler")))]
    prefill = entry.get("prefill") is not None
    findings += check_config(config, serving["endpoint_picker"], ("scheduler", "config"), prefill=prefill)
    return _with_events(entry, plain(config), kv_events.from_config(entry, config), findings)


def _half_custom(name: str, config: Any) -> Mistake:
    if config is None:
        expected = "config, the whole EndpointPickerConfig, with strategy custom"
        return Mistake("IP-SCH-005", ("scheduler", "config"), expected, "nothing", "Add config, or name a strategy.")
    return Mistake(
        "IP-SCH-005",
        ("scheduler", "strategy"),
        "strategy custom, or none, beside config",
        show(name),
        "Remove strategy or config.",
    )


def _replaced(scheduler: Mapping[str, Any]) -> Iterator[Mistake]:
    for key in _CHOICE:
        if key in scheduler:
            yield Mistake(
                "IP-SCH-006",
                ("scheduler", key),
                f"no {key} beside config, which says everything itself",
                show(scheduler[key]),
                f"Remove {key}, or put it into config.",
                WARNING,
            )


def _with_events(
    entry: Mapping[str, Any],
    config: dict[str, Any],
    events: kv_events.KvEvents | None,
    findings: list[Mistake],
) -> Wiring:
    if events is None:
        return Wiring(config, findings=findings)
    findings += [*kv_events.unsupported(entry, events), *kv_events.contradictions(entry, events)]
    if entry.get("command"):
        return Wiring(config, findings=findings)
    written = kv_events.flags_of_all_servers(entry)
    own_env = mapping(entry.get("env"))
    return Wiring(
        config,
        vllm_args=[
            word for flag, value in events.server_flags.items() if flag not in written for word in (flag, value)
        ],
        vllm_env=[variable for variable in events.server_env() if variable["name"] not in own_env],
        pod_ports=events.server_ports(),
        findings=findings,
    )
