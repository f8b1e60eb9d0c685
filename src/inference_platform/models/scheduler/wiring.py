"""Scheduler configuration and model server settings of one model, so that both sides agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.models.scheduler.mistakes import Mistake


@dataclass(frozen=True)
class Wiring:
    """What one model's scheduler needs, on both sides.

    ``epp_config``      EndpointPickerConfig for ``spec.router.scheduler.config.inline``; None when the
                        model has no scheduler (``scheduler.enabled: false``). Always complete.
    ``vllm_args``       arguments for the ``main`` container of every serving pod (decode, prefill, leader
                        and worker alike), one item each, unquoted, in a fixed order. ``$(POD_IP)`` in them
                        is expanded by the kubelet, so quoting for a shell must keep it as it is.
    ``vllm_env``        environment of the same containers: EnvVar objects ({name, value} with a text, or
                        {name, valueFrom}), to be put before the user's own.
    ``pod_ports``       ContainerPort objects of the same containers.
    ``findings``        mistakes found on the way; the rest is only to be used when none is an error.
    """

    epp_config: dict[str, Any] | None
    vllm_args: list[str]
    vllm_env: list[dict[str, Any]]
    pod_ports: list[dict[str, Any]]
    findings: list[Mistake]


def wiring_for(entry: Mapping[str, Any], serving: Mapping[str, Any]) -> Wiring:
    """Configuration of the endpoint picker of ``entry`` and what it asks of its model servers."""
    config, findings = config_for(entry, serving)
    return Wiring(config, [], [], [], findings)


def config_for(
    entry: Mapping[str, Any], serving: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, list[Mistake]]:
    """The EndpointPickerConfig of ``entry`` (None without a scheduler), and the mistakes found."""
    if entry.get("scheduler", {}).get("enabled") is False:
        return None, []
    return dict(serving["scheduler_config"]), []
