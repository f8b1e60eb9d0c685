"""What a waiting gate says while the cluster changes between two looks."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from inference_platform.cluster import gate
from inference_platform.cluster.gate import GateProgress, GateResult, Waiting


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
