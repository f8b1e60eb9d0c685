"""Standard output of a run, for a person at a terminal and for a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from ansible import constants, context
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback import CallbackBase
from ansible_collections.inference.platform.plugins.plugin_utils import live, preload, run_lock
from ansible_collections.inference.platform.plugins.plugin_utils.findings import as_table
from ansible_collections.inference.platform.plugins.plugin_utils.timeline import SECTIONS, Section

DOCUMENTATION = """
name: progress
type: stdout
short_description: Layers, steps, times, and what a gate is waiting for
version_added: 0.1.0
description:
  - Shows one heading for each layer and one line for each step, with the time it took and what it did.
  - A gate that waits says what it waits for; on a terminal in one line that is rewritten,
    in a log in a line of its own whenever the reason changes.
  - Failures are shown in words, without result data. Tracebacks appear with C(-vvv).
  - Ends with Ansible's usual recap and the time that each layer took.
  - Imports the Python package of the collection before Ansible forks its workers, which makes tasks start faster.
requirements:
  - set as stdout in configuration
author: The inference platform project
"""

#: Plumbing: shown when it changes something or fails, or with -v.
QUIET_ACTIONS = frozenset({"set_fact", "validate_argument_spec", "include_role", "include_tasks", "meta"})
INDENT = " " * 12


class CallbackModule(CallbackBase):
    """Prints the run. One host, one task at a time (see ansible.cfg)."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "inference.platform.progress"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._layers: dict[str, str] = {}
        self._section: Section | None = None
        self._diff: list[str] = []
        self._report = ""
        self._run_started = self._task_started = time.monotonic()
        _write_lines_at_once()

    # -- where the run is -------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Any) -> None:  # noqa: ARG002
        run_lock.begin()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if play.check_mode:
            self._say("Check mode: nothing is written.", constants.COLOR_HIGHLIGHT)
        self._name_unreadable_files()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        self._task_started = time.monotonic()
        if self._is_shown(task):
            self._enter(self._section_of(task))
            if live.TERMINAL:
                live.show_live(self._display, live.cut(f"  running   {task.name}", live.COLUMNS - 1))

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._say(
            "Nothing done: expected an inventory with the host `cluster`, found none. "
            "Name one with -i, for example: ansible-playbook -i inventories/local site.yml",
            constants.COLOR_ERROR,
        )

    # -- what a task did --------------------------------------------------------------

    def v2_runner_on_ok(self, result: Any) -> None:
        if isinstance(result.task, TaskInclude):
            return
        outcome = result.result
        self._learn_the_layers(outcome)
        changed = bool(outcome.get("changed"))
        section, seconds = self._account(result.task, changed=changed)
        self._handle_warnings(outcome)
        if changed or self._is_shown(result.task):
            self._enter(section)
            status = "changed" if changed else "ok"
            color = constants.COLOR_CHANGED if changed else constants.COLOR_OK
            self._line(status, result.task.name, seconds, _saying(outcome), color)
            self._show_diff()
        self._report = outcome.get("report") or self._report

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        outcome = result.result
        section, seconds = self._account(result.task, failed=not ignore_errors)
        self._handle_warnings(outcome)
        self._enter(section)
        self._line("FAILED", result.task.name, seconds, _reason(outcome), constants.COLOR_ERROR)
        if self._display.verbosity >= 3:
            self._handle_exception(outcome)
        if ignore_errors:
            self._say(f"{INDENT}The run goes on.", constants.COLOR_SKIP)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self.v2_runner_on_failed(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        if isinstance(result.task, TaskInclude):
            return
        section, seconds = self._account(result.task)
        if self._display.verbosity:
            self._enter(section)
            reason = result.result.get("skip_reason", "")
            self._line("skipped", result.task.name, seconds, reason, constants.COLOR_SKIP)

    def v2_on_file_diff(self, result: Any) -> None:
        """Ansible says this before the task's result; it is shown after it."""
        self._diff = self._get_diff(result.result.get("diff") or []).rstrip("\n").splitlines()

    # -- the end ----------------------------------------------------------------------

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if trouble := run_lock.end():
            self._say(trouble, constants.COLOR_WARN)
        self._say("\nPLAY RECAP " + "*" * 69)
        for host in sorted(stats.processed):
            self._say(f"{host:<26} : {_counts(stats.summarize(host))}")
        if SECTIONS:
            self._say("\nTime")
        for section in SECTIONS.values():
            self._say(f"  {section.title:<44} {section.seconds:7.1f} s  {section.state}")
        self._say(f"  {'Total':<44} {time.monotonic() - self._run_started:7.1f} s")
        if self._report:
            self._say(f"\n{self._report.rstrip()}")

    # -- helpers ----------------------------------------------------------------------

    def _name_unreadable_files(self) -> None:
        """Ansible ends at a variables file that is no YAML without its name; this says it before."""
        if preload.PROBLEM is not None:
            return
        from inference_platform.inventory import Sources, unreadable_files

        findings = unreadable_files(Sources.load(context.CLIARGS.get("inventory") or (), with_models=False))
        if findings:
            self._say(as_table(findings), constants.COLOR_ERROR)

    def _learn_the_layers(self, outcome: Any) -> None:
        """Titles and number of the layers, from the result of the plan action."""
        plan = outcome.get("platform")
        if plan:
            self._layers = {layer["name"]: layer["title"] for layer in plan["layers"]}

    def _account(self, task: Any, *, changed: bool = False, failed: bool = False) -> tuple[Section, float]:
        seconds = time.monotonic() - self._task_started
        section = self._section_of(task)
        section.seconds += seconds
        section.changed |= changed
        section.failed |= failed
        return section, seconds

    def _section_of(self, task: Any) -> Section:
        role = task._role.get_name(include_role_fqcn=False) if task._role else "run"
        title = self._layers.get(role) or role.replace("_", " ").capitalize()
        section = SECTIONS.setdefault(role, Section(role, title))
        section.title = title
        return section

    def _enter(self, section: Section) -> None:
        if section is self._section:
            return
        self._section = section
        place = ""
        if section.role in self._layers:
            place = f"[{list(self._layers).index(section.role) + 1}/{len(self._layers)}] "
        minutes, seconds = divmod(int(time.monotonic() - self._run_started), 60)
        self._say(f"\n{minutes}:{seconds:02}  {place}{section.title}", constants.COLOR_HIGHLIGHT)

    def _is_shown(self, task: Any) -> bool:
        action = str(task.action).rpartition(".")[2]
        return self._display.verbosity > 0 or action not in QUIET_ACTIONS

    def _show_diff(self) -> None:
        for line in self._diff:
            self._say(f"{INDENT}{line}", _diff_color(line))
        self._diff = []

    def _line(self, status: str, name: str, seconds: float, message: Any, color: str) -> None:
        """One line for a step; a failure, and a message of several lines, follows indented."""
        text = str(message)
        short = text if "\n" not in text and status != "FAILED" else ""
        self._say(f"  {status:<9} {name:<56} {seconds:5.1f} s  {short}".rstrip(), color)
        for line in text.splitlines() if not short else ():
            self._say(f"{INDENT}{line}".rstrip(), color if status == "FAILED" else None)

    def _say(self, text: str, color: str | None = None) -> None:
        if live.TERMINAL:
            self._display.display(live.ERASE, screen_only=True, newline=False)
        self._display.display(text, color=color)


def _write_lines_at_once() -> None:
    """A log shows each line when it is written, a terminal also parts of a line."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True, write_through=live.TERMINAL)


def _saying(outcome: Any) -> str:
    """What a task has to say: its message, or the last line of the program it ran."""
    lines = str(outcome.get("stdout") or "").splitlines()
    return str(outcome.get("msg") or (lines[-1] if lines else ""))


def _reason(outcome: Any) -> str:
    """Why a task failed, in the words of the action; for a program also what it printed."""
    failed_items = [item for item in outcome.get("results", ()) if item.get("failed")]
    if failed_items:
        return "\n".join(_reason(item) for item in failed_items)
    texts = (outcome.get("msg") or outcome.get("censored"), outcome.get("stdout"), outcome.get("stderr"))
    return "\n".join(str(text) for text in texts if text) or "no reason given; run again with -vvv"


def _counts(summary: dict[str, int]) -> str:
    names = {"failures": "failed"}
    order = ("ok", "changed", "unreachable", "failures", "skipped", "rescued", "ignored")
    return " ".join(f"{names.get(key, key)}={summary[key]:<4}" for key in order)


def _diff_color(line: str) -> str | None:
    if line.startswith("+"):
        return str(constants.COLOR_DIFF_ADD)
    if line.startswith("-"):
        return str(constants.COLOR_DIFF_REMOVE)
    return str(constants.COLOR_DIFF_LINES) if line.startswith("@@") else None
