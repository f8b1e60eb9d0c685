"""What a waiting gate says, and what it says when its time is over."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from inference_platform.cluster import gate
from inference_platform.cluster.gate import GateProgress, GateResult, GateTimeout, Waiting


def test_a_check_that_comes_to_hold_between_two_looks_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = GateResult(False, 0.0, 1, (Waiting("Widget n/w", "does not exist yet"),))
    holds = GateResult(True, 0.0, 1)
    # The second look asks for details, seconds after the first; by then there is nothing to explain.
    monkeypatch.setattr(gate, "evaluate", Mock(side_effect=[missing, holds, holds]))
    seen: list[GateProgress] = []
    times = iter([0.0, 5.0, 5.0, 5.0, 6.0])
    result = gate.wait(
        Mock(), [{"check": "exists"}], timeout=60, on_progress=seen.append, sleep=Mock(), clock=lambda: next(times)
    )
    assert result.ok
    assert seen == []


def test_details_that_several_checks_of_one_object_share_are_told_once() -> None:
    conditions = ("condition Degraded=True SyncError: forbidden", "condition Available=False Deploying")
    waiting = (
        Waiting("CertManager cluster condition Degraded", "True, wanted False", conditions, next="kubectl logs one"),
        Waiting("CertManager cluster condition Available", "False, wanted True", conditions, next="kubectl logs two"),
    )
    text = str(GateTimeout(GateResult(False, 10.0, 2, waiting), 10.0))
    assert [text.count(line) for line in conditions] == [1, 1]
    assert "kubectl logs one" in text
    assert "kubectl logs two" in text
