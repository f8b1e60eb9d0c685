"""What a run prints: headings, steps, waits, failures in words, the recap."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.inference.platform.plugins.callback import progress
from ansible_collections.inference.platform.plugins.plugin_utils import live
from ansible_collections.inference.platform.plugins.plugin_utils.timeline import SECTIONS

PLAN = {"layers": [{"name": "sail", "title": "Istio"}, {"name": "lws", "title": "LeaderWorkerSet"}]}


class Display:
    """Remembers what would be written."""

    verbosity = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, message: str, **_: Any) -> None:
        self.lines.append(message)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Role:
    def __init__(self, name: str) -> None:
        self._name = name

    def get_name(self, **_: bool) -> str:
        return self._name


def task(role: str, name: str, action: str = "inference.platform.gate") -> Any:
    return SimpleNamespace(_role=Role(role), name=name, action=action)


def result(of: Any, **outcome: Any) -> Any:
    return SimpleNamespace(task=of, result=outcome)


@pytest.fixture
def display() -> Display:
    return Display()


@pytest.fixture
def callback(display: Display, monkeypatch: pytest.MonkeyPatch) -> Iterator[progress.CallbackModule]:
    monkeypatch.setattr(progress, "_write_lines_at_once", lambda: None)
    SECTIONS.clear()
    callback = progress.CallbackModule(display=display)
    plan = task("platform", "Check the inventory", "inference.platform.plan")
    callback.v2_runner_on_ok(result(plan, changed=False, platform=PLAN, msg="2 layers"))
    yield callback
    SECTIONS.clear()


def run(callback: progress.CallbackModule, of: Any, **outcome: Any) -> None:
    callback.v2_playbook_on_task_start(of, False)
    callback.v2_runner_on_ok(result(of, **outcome))


def test_a_layer_is_headed_by_its_place_and_title(callback: progress.CallbackModule, display: Display) -> None:
    run(callback, task("lws", "Wait for it"), changed=False, msg="6 checks hold")
    assert any(line.endswith("[2/2] LeaderWorkerSet") for line in display.lines)
    assert display.lines[-1].startswith("  ok        Wait for it")
    assert display.lines[-1].endswith("6 checks hold")


def test_the_heading_comes_before_what_the_layer_waits_for(callback: progress.CallbackModule, display: Display) -> None:
    callback.v2_playbook_on_task_start(task("sail", "Wait for it"), False)
    assert display.lines[-1].endswith("[1/2] Istio")


def test_plumbing_is_not_shown(callback: progress.CallbackModule, display: Display) -> None:
    before = list(display.lines)
    run(callback, task("sail", "Keep a fact", "ansible.builtin.set_fact"), changed=False)
    assert display.lines == before


def test_a_failure_is_told_in_the_words_of_the_action(callback: progress.CallbackModule, display: Display) -> None:
    failed = task("sail", "Wait for it")
    callback.v2_playbook_on_task_start(failed, False)
    callback.v2_runner_on_failed(result(failed, failed=True, msg="line one\nline two", exception="Traceback ..."))
    assert "  FAILED    Wait for it" in display.text
    assert f"{progress.INDENT}line two" in display.lines
    assert "Traceback" not in display.text
    assert "{" not in display.text


def test_a_failed_program_shows_what_it_printed(callback: progress.CallbackModule, display: Display) -> None:
    failed = task("verify", "Check what runs", "ansible.builtin.command")
    callback.v2_runner_on_failed(result(failed, failed=True, msg="non-zero return code", stdout="1 failed, 2 passed"))
    assert f"{progress.INDENT}1 failed, 2 passed" in display.lines


def test_censored_results_stay_censored(callback: progress.CallbackModule, display: Display) -> None:
    failed = task("sail", "Secret step")
    callback.v2_runner_on_failed(result(failed, failed=True, censored="the output has been hidden"))
    assert f"{progress.INDENT}the output has been hidden" in display.lines


def test_a_diff_follows_its_step(callback: progress.CallbackModule, display: Display) -> None:
    step = task("sail", "Apply it", "inference.platform.resources")
    callback.v2_playbook_on_task_start(step, False)
    outcome = result(step, changed=True, msg="1 changed", diff={"prepared": "--- a\n+++ b\n-old\n+new\n"})
    callback.v2_on_file_diff(outcome)
    callback.v2_runner_on_ok(outcome)
    assert [line.strip() for line in display.lines[-5:]][1:] == ["--- a", "+++ b", "-old", "+new"]
    assert display.lines[-5].startswith("  changed   Apply it")


def test_the_recap_has_the_form_that_people_and_tools_read(callback: progress.CallbackModule, display: Display) -> None:
    counts = {"ok": 4, "changed": 0, "unreachable": 0, "failures": 0, "skipped": 1, "rescued": 0, "ignored": 0}
    run(callback, task("sail", "Wait for it"), changed=False)
    callback.v2_playbook_on_stats(SimpleNamespace(processed={"cluster": 1}, summarize=lambda _: counts))
    recap = next(line for line in display.lines if line.startswith("cluster "))
    assert recap.split() == [
        *("cluster", ":", "ok=4", "changed=0", "unreachable=0", "failed=0", "skipped=1", "rescued=0", "ignored=0")
    ]
    assert any(line.startswith("  Istio ") and line.endswith(" s  ok") for line in display.lines)


def test_the_report_is_the_last_thing_printed(callback: progress.CallbackModule, display: Display) -> None:
    run(callback, task("report", "Look", "inference.platform.report"), changed=False, report="All is well.\n")
    callback.v2_playbook_on_stats(SimpleNamespace(processed={}, summarize=dict))
    assert display.lines[-1] == "\nAll is well."


def test_a_log_repeats_a_wait_only_when_it_changes_or_lasts() -> None:
    display = Display()
    waiting = live.Waiting(display, terminal=False)
    for elapsed, text in ((1, "a"), (3, "a"), (5, "a"), (6, "b"), (20, "b"), (37, "b")):
        waiting.say(elapsed, text)
    assert [line.split()[1] for line in display.lines] == ["3", "6", "37"]


def test_a_terminal_has_one_live_line_within_its_width() -> None:
    display = Display()
    live.Waiting(display, terminal=True, columns=40).say(0.5, "x" * 100)
    assert display.lines[0].startswith(live.ERASE)
    assert len(display.lines[0].removeprefix(live.ERASE)) == 39
