"""The actions for models: what they are asked, what they say, and how the models get to them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.inference.platform.plugins.action import (
    models,
    models_export,
    models_ready,
    models_smoke,
    models_table,
    plan,
)
from ansible_collections.inference.platform.plugins.plugin_utils import handover, live, plan_table

from inference_platform.cluster import smoke
from inference_platform.cluster.model_wait import Waiting, WaitProgress, WaitResult
from inference_platform.cluster.readiness import Verdict
from inference_platform.models import RenderResult
from inference_platform.models.export import Written


def test_rendered_models_get_to_later_tasks_by_a_private_file(tmp_path: Path) -> None:
    rendered = RenderResult(objects=[{"kind": "Namespace"}], findings=[], models=[])
    path = handover.put(rendered, tmp_path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert handover.take(path) == rendered


def test_without_a_plan_in_the_same_run_there_are_no_rendered_models(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"Let the role inference\.platform\.platform run before"):
        handover.take(tmp_path / "gone")


def test_what_the_models_are_made_of_is_no_fact() -> None:
    assert {"models", "model_defaults"} <= plan.OF_MODELS
    assert "models_wait" not in plan.OF_MODELS


def test_names_are_those_of_models_of_the_inventory() -> None:
    rendered = RenderResult(objects=[], findings=[], models=[], absent=["team/gone"])
    plan.need_models([], rendered)
    plan.need_models(["gone"], rendered)
    with pytest.raises(AnsibleActionFail, match=r"only: expected models of the inventory, found 'nope'\. There is"):
        plan.need_models(["nope"], rendered)


def test_the_table_knows_models_of_the_inventory_and_of_the_cluster() -> None:
    rows = [SimpleNamespace(model=model) for model in ("team/a", "team/old")]
    assert models_table.named(rows, [], []) == rows
    assert models_table.named(rows, ["old"], ["team/a", "team/gone"]) == rows[1:]
    assert models_table.named(rows, ["gone"], ["team/a", "team/gone"]) == []
    with pytest.raises(AnsibleActionFail, match=r"found 'nope'\. There are team/a, team/gone, team/old\."):
        models_table.named(rows, ["a", "nope"], ["team/a", "team/gone"])


def test_an_export_says_how_many_files_of_other_models_it_kept() -> None:
    written = Written(created=["a"], changed=["b"], unchanged=4)
    assert (
        models_export.told(written, Path("out"), 3) == "1 created, 1 changed (b) in out; 3 files of other models kept"
    )
    assert models_export.told(Written(unchanged=1), Path("out"), 0) == "1 file as wanted in out"


@pytest.mark.parametrize(("text", "number"), [("", None), ("no", None), ("yes", -1), ("True", -1), ("12", 12)])
def test_leave_to_remove_is_a_number_or_yes(text: str, number: int | None) -> None:
    assert models.removals(text) == number


def test_another_leave_to_remove_is_refused() -> None:
    with pytest.raises(AnsibleActionFail, match='models_delete: expected a number of models or yes, found "some"'):
        models.removals("some")


def test_what_became_of_the_models_is_one_sentence() -> None:
    assert models.sentence(["created", "failed", "created"], 10) == "2 created, 1 failed; 7 as before"
    assert models.sentence(["removed"], 9) == "1 removed; 9 as before"
    assert models.sentence(["stopped", "started", "stopped"], 4) == "1 started, 2 stopped; 1 as before"
    assert models.sentence([], 10) == ""


def test_the_check_of_the_inventory_counts_the_models() -> None:
    models = [
        SimpleNamespace(state="present", gpus=4),
        SimpleNamespace(state="stopped", gpus=0),
        SimpleNamespace(state="present", gpus=1),
    ]
    known = {"release": "3.4", "provider": "aws", "layers": ["a", "b"]}

    def told(absent: list[str], warnings: int, *models: Any) -> str:
        return plan.in_one_line(known, "", SimpleNamespace(models=models, absent=absent), warnings)

    assert told([], 0, *models) == "release 3.4 for aws: 2 layers; 3 models (1 stopped), 5 GPUs; no warnings"
    assert told(["t/x"], 2, models[2]) == "release 3.4 for aws: 2 layers; 1 model (1 to remove), 1 GPU; 2 warnings"
    assert told([], 1) == "release 3.4 for aws: 2 layers; no models; 1 warning"


def test_the_wait_names_how_many_the_slowest_and_why() -> None:
    verdict = Verdict(False, "SchedulerWorkloadReady=False Progressing", "the scheduler restarts")
    slowest = Waiting("team/a", verdict)
    assert models_ready.in_one_line(WaitProgress(3.0, 60.0, 7, 10, slowest)) == (
        "7 of 10 ready; team/a: SchedulerWorkloadReady=False Progressing (and 2 more); the scheduler restarts"
    )
    slowest = Waiting("team/a", verdict, ("pod a-1 Pending: not scheduled",))
    assert models_ready.in_one_line(WaitProgress(3.0, 60.0, 9, 10, slowest)).endswith(
        "; pod a-1 Pending: not scheduled"
    )
    long = Verdict(False, "HTTPRoutesReady=False NotReady: [a dump of InvalidKind]", "the route moves")
    assert models_ready.in_one_line(WaitProgress(3.0, 60.0, 9, 10, Waiting("team/a", long))) == (
        "9 of 10 ready; team/a: HTTPRoutesReady=False NotReady; the route moves"
    )
    unknown = Verdict(False, "RouterReady=False Why: a message")
    assert models_ready.in_one_line(WaitProgress(3.0, 60.0, 9, 10, Waiting("team/a", unknown))) == (
        "9 of 10 ready; team/a: RouterReady=False Why: a message"
    )


def test_the_end_of_the_wait_names_the_slowest_when_it_took_long() -> None:
    assert models_ready.ready(WaitResult(9.0, {"t/a": 1.2, "t/b": 8.6}), 2) == "2 models ready, slowest t/b after 9 s"
    assert models_ready.ready(WaitResult(0.1, {"t/a": 0.0, "t/b": 0.1}), 2) == "2 models ready"


def test_in_check_mode_the_wait_only_tells() -> None:
    result = WaitResult(0.0, {"t/a": 0.0}, (Waiting("t/b", Verdict(False, "it does not exist")),))
    told = models_ready.look(result, 2)
    assert told["msg"] == "skipped in check mode; 1 of 2 are not ready yet, first t/b: it does not exist"
    assert "failed" not in told


@pytest.mark.parametrize(
    ("state", "required", "failed"),
    [
        (smoke.PASSED, True, False),
        (smoke.FAILED, False, True),
        (smoke.UNREACHABLE, False, False),
        (smoke.UNREACHABLE, True, True),
        (smoke.SKIPPED, True, False),
    ],
)
def test_the_smoke_test_fails_for_wrong_answers_and_where_that_is_asked_for_missing_ones(
    state: str, required: bool, failed: bool
) -> None:
    result = smoke.SmokeResult([smoke.Smoke("t/a", "http://a", state, "because")], ("models",))
    told = models_smoke.told(result, smoke, {"required": required, "note": "Nobody lives there."})
    assert told.get("failed", False) is failed
    assert told["msg"].startswith(f"1 {state}\n")
    assert told["answered"] == (["t/a"] if state == smoke.PASSED else [])
    assert ("Nobody lives there." in told["msg"]) is (state == smoke.UNREACHABLE)


def model(number: int) -> Any:
    return SimpleNamespace(namespace="t", name=f"m{number}", pods=2, gpus=8, gpu_product="NVIDIA-L4", uri="hf://x/y")


def test_many_models_are_counted_in_the_plan_not_listed(aws: dict[str, Any]) -> None:
    text = plan_table.as_text(aws, "https://c", [model(number) for number in range(21)])
    assert "21 models in 1 namespace: 42 pods with 168 GPUs" in text
    assert "t/m7" not in text


class Display:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, text: str, **_: Any) -> None:
        self.shown.append(text)


def test_a_count_is_shown_now_and_then_not_for_every_object() -> None:
    display = Display()
    line = live.Waiting(display, terminal=False, columns=80)
    for tenth in range(150):
        line.count(tenth / 10, "applying", f"LLMInferenceServices, {tenth} of 150")
    assert [text.split()[1] for text in display.shown] == ["5", "10"]
    assert display.shown[0] == "  applying     5 s  LLMInferenceServices, 50 of 150"
