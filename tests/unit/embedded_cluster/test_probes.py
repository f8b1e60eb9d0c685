"""Probing: when a container counts as started, ready and dead."""

import asyncio

import pytest
from embedded_cluster.probes import declared_check, network_check, probe_of, run_probes
from embedded_cluster.programs import Endpoint

HTTP = {"httpGet": {"path": "/readyz", "port": 8081}}


def observe(container, answers, steps):
    """Run the probes of a container for some checks and return what they reported.

    `answers` yields None or a reason per check; afterwards every check passes.
    """
    seen = []
    remaining = iter(answers)

    async def check(_):
        return next(remaining, None)

    async def scenario():
        probing = asyncio.create_task(
            run_probes(
                container,
                check,
                on_started=lambda: seen.append("started"),
                on_ready=lambda ready, why: seen.append(f"ready: {why}" if why else f"ready: {ready}"),
                on_dead=lambda reason: seen.append(f"dead: {reason}"),
            )
        )
        async with asyncio.timeout(5):
            while len(seen) < steps:
                await asyncio.sleep(0.01)
        probing.cancel()

    asyncio.run(scenario())
    return seen


def test_without_probes_a_running_container_is_ready():
    assert observe({"name": "c"}, [], 2) == ["started", "ready: True"]


def test_readiness_says_once_why_not_and_then_that_it_is():
    seen = observe({"name": "c", "readinessProbe": HTTP}, ["refused", "refused"], 3)
    assert seen == ["started", "ready: Readiness probe failed: refused", "ready: True"]


def test_a_container_that_fails_its_liveness_probe_is_dead():
    liveness = {**HTTP, "periodSeconds": 0.01, "failureThreshold": 2}
    seen = observe({"name": "c", "livenessProbe": liveness}, ["refused"] * 2, 3)
    assert seen == ["started", "ready: True", "dead: Liveness probe failed: refused"]


def test_other_probes_wait_for_the_startup_probe():
    container = {"name": "c", "startupProbe": HTTP, "readinessProbe": HTTP}
    assert observe(container, ["refused"], 2) == ["started", "ready: True"]


def test_a_startup_probe_has_a_limit():
    startup = {**HTTP, "periodSeconds": 0.01, "failureThreshold": 1}
    assert observe({"name": "c", "startupProbe": startup}, ["refused"] * 9, 1) == [
        "dead: startup probe failed: refused"
    ]


def ask(check, spec):
    return asyncio.run(check(probe_of({"name": "c", "readinessProbe": spec}, "readinessProbe")))


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        (HTTP, None),
        ({"tcpSocket": {"port": 8081}}, None),
        ({"httpGet": {"path": "/ready", "port": 8081}}, "HTTP probe failed with statuscode: 404 (/ready)"),
        ({"httpGet": {"path": "/readyz", "port": 8080}}, "httpGet port 8080: connection refused"),
    ],
)
def test_a_stand_in_answers_where_the_real_program_does(spec, answer):
    assert ask(declared_check([Endpoint(8081, ("/healthz", "/readyz"))]), spec) == answer


def test_a_closed_port_refuses():
    assert ask(network_check(lambda port: ("127.64.255.254", port)), HTTP) == "httpGet port 8081: connection refused"
