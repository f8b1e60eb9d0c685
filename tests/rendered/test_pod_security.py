"""The check itself: each rule must be able to fail."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.rendered.pod_security import violations

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "tmp", "emptyDir": {}}],
    "containers": [
        {
            "name": "main",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}


def test_a_restricted_pod_has_no_violation() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["hostNetwork"], True, "hostNetwork is true"),
        (["hostPID"], True, "hostPID is true"),
        (["volumes", 0], {"name": "host", "hostPath": {"path": "/"}}, "volume host is of type hostPath"),
        (["securityContext", "runAsNonRoot"], False, "main: runAsNonRoot is not true"),
        (["securityContext", "runAsUser"], 0, "pod: runAsUser is 0"),
        (["securityContext", "seccompProfile"], {}, "main: seccompProfile is None"),
        (["securityContext", "sysctls"], [{"name": "kernel.msgmax"}], "sysctl kernel.msgmax is not a safe one"),
        (["containers", 0, "securityContext", "privileged"], True, "main: privileged is true"),
        (
            ["containers", 0, "securityContext", "allowPrivilegeEscalation"],
            None,
            "main: allowPrivilegeEscalation is not false",
        ),
        (["containers", 0, "securityContext", "runAsNonRoot"], False, "main: runAsNonRoot is not true"),
        (["containers", 0, "securityContext", "capabilities"], {}, "main: capabilities.drop lacks ALL"),
        (
            ["containers", 0, "securityContext", "capabilities"],
            {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
            "main: capability SYS_ADMIN is added",
        ),
        (
            ["containers", 0, "securityContext", "seccompProfile"],
            {"type": "Unconfined"},
            "main: seccompProfile is Unconfined",
        ),
        (["containers", 0, "securityContext", "procMount"], "Unmasked", "main: procMount is Unmasked"),
        (["containers", 0, "ports"], [{"hostPort": 80}], "main: hostPort 80"),
        (
            ["containers", 0, "securityContext", "seLinuxOptions"],
            {"type": "spc_t"},
            "main: seLinuxOptions {'type': 'spc_t'}",
        ),
        (
            ["containers", 0, "securityContext", "appArmorProfile"],
            {"type": "Unconfined"},
            "main: appArmorProfile {'type': 'Unconfined'}",
        ),
        (
            ["containers", 0, "securityContext", "windowsOptions"],
            {"hostProcess": True},
            "main: windowsOptions.hostProcess is true",
        ),
        (["initContainers"], [{"name": "init"}], "init: allowPrivilegeEscalation is not false"),
    ],
)
def test_a_broken_rule_is_named(path: list[str | int], value: Any, expected: str) -> None:
    pod = copy.deepcopy(GOOD)
    place: Any = pod
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert expected in violations(pod)
