"""Start checks, leader election and how a program ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from embedded_cluster.kube import ApiError
from embedded_cluster.standins.program import LeaderElection, ProgramError, check, program
from embedded_cluster.standins.rules import Lease, Program

from tests.unit.standins.fake_api import FakeApi, pod

MANAGER = Program(commands=("/manager",), flags=frozenset({"leader-elect", "v"}), required_env=("NEEDED",))
LEASE = Lease(name="lock", duration=0.2, renew=0.02, retry=0.02, released=False)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def test_flags_are_returned_by_name(api: FakeApi) -> None:
    made = pod(api, "ns", command=["/manager"], args=["--leader-elect", "-v=2"], env={"NEEDED": "x"})
    assert check(made, MANAGER) == {"leader-elect": "", "v": "2"}


@pytest.mark.parametrize(
    ("command", "args", "env", "text"),
    [
        (["/manager"], ["--other"], {"NEEDED": "x"}, "flag provided but not defined: --other"),
        (["/other"], [], {"NEEDED": "x"}, 'exec: "/other": expected /manager'),
        ([], [], {"NEEDED": "x"}, 'exec: "": expected /manager'),
        (["/manager"], [], {}, "environment variable NEEDED must be set"),
        (["/manager"], [], {"NEEDED": ""}, "environment variable NEEDED must be set"),
    ],
)
def test_a_wrong_pod_is_refused(
    api: FakeApi, command: list[str], args: list[str], env: dict[str, str], text: str
) -> None:
    with pytest.raises(ProgramError) as error:
        check(pod(api, "ns", command=command, args=args, env=env), MANAGER)
    assert text in str(error.value)


async def lead(api: FakeApi, lease: Lease = LEASE, seconds: float = 0.0) -> str:
    election = LeaderElection(pod(api, "ns"), lease)
    async with election.leading():
        await asyncio.sleep(seconds)
        return str(api.find("Lease")["spec"]["holderIdentity"])


def held(api: FakeApi, seconds: float) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    spec = {"holderIdentity": "other", "leaseDurationSeconds": seconds, "renewTime": now, "leaseTransitions": 3}
    metadata = {"name": "lock", "namespace": "ns"}
    return api.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})


def test_a_free_lease_is_taken_at_once_and_kept_on_stop(api: FakeApi) -> None:
    identity = asyncio.run(lead(api))
    assert identity.startswith("program-0_")
    assert api.find("Lease")["spec"]["holderIdentity"] == identity


def test_a_lease_that_is_released_on_stop_is_free_for_the_next(api: FakeApi) -> None:
    asyncio.run(lead(api, Lease("lock", 15, 2, 2, released=True)))
    assert api.find("Lease")["spec"]["holderIdentity"] == ""


def test_a_held_lease_is_taken_when_it_was_not_renewed_for_its_duration(api: FakeApi) -> None:
    held(api, 0.1)
    started = datetime.now(UTC)
    identity = asyncio.run(lead(api))
    assert (datetime.now(UTC) - started).total_seconds() >= 0.1
    spec = api.find("Lease")["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == (identity, 4)


def test_the_lease_is_renewed_while_leading(api: FakeApi) -> None:
    async def renewals() -> int:
        async with LeaderElection(pod(api, "ns"), LEASE).leading():
            while api.verbs("Lease").count("update") < 2:
                await asyncio.sleep(0.01)
            return api.verbs("Lease").count("update")

    assert asyncio.run(asyncio.wait_for(renewals(), 5)) >= 2


def test_a_refused_lease_is_asked_for_again(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    answers = [ApiError(403, "Forbidden", "leases is forbidden")] * 2
    get = api.get

    async def refused(*address: Any) -> Any:
        if answers:
            raise answers.pop()
        return await get(*address)

    api.get = refused  # type: ignore[method-assign]
    assert asyncio.run(lead(api))
    assert caplog.text.count("error retrieving resource lock ns/lock: leases is forbidden") == 1


def test_losing_the_lease_ends_the_program(api: FakeApi) -> None:
    @program
    async def main(environment: Any) -> None:
        async with LeaderElection(environment, LEASE).leading():
            live = api.find("Lease")
            api.put({**live, "spec": {**live["spec"], "holderIdentity": "thief"}})
            await asyncio.sleep(5)

    with pytest.raises(SystemExit, match="leader election lost"):
        asyncio.run(main(pod(api, "ns")))


def test_an_api_error_inside_a_group_of_tasks_ends_the_program_with_its_text(api: FakeApi) -> None:
    @program
    async def main(_: Any) -> None:
        async def refused() -> None:
            raise ApiError(403, "Forbidden", "deployments is forbidden", "WATCH /apis")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(refused())

    with pytest.raises(SystemExit, match="deployments is forbidden"):
        asyncio.run(main(pod(api, "ns")))


def test_a_bug_keeps_its_traceback(api: FakeApi) -> None:
    @program
    async def main(_: Any) -> None:
        [].pop()

    with pytest.raises(IndexError):
        asyncio.run(main(pod(api, "ns")))
