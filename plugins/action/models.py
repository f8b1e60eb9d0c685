"""Action inference.platform.models: applies the models of the inventory. Documented in plugins/modules/models.py."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    credentials,
    quantity,
    result_of,
)

ANY_NUMBER = -1
#: What became of models that are to answer requests again.
SERVING_ANEW = ("created", "changed", "started", "recreated")


class ActionModule(PlatformAction):
    """Applies all models in one batch, with their namespaces and pull secrets, and removes what is not listed."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "pull_secret_file": {"type": "path"},
        "pull_secret_from": {"type": "dict"},
        "prune": {"type": "bool", "default": True},
        "only": {"type": "list", "elements": "str", "default": []},
        "delete": {"type": "str", "default": ""},
        "recreate": {"type": "list", "elements": "str", "default": []},
        "move": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import models

        rendered, platform = handover.take(arguments["rendered"]), arguments["platform"]
        choice = models.Choice(
            only=frozenset(arguments["only"]),
            prune=arguments["prune"],
            removals=removals(arguments["delete"]),
            absent=frozenset(getattr(rendered, "absent", ())),
            recreate=frozenset(arguments["recreate"]),
            move=frozenset(arguments["move"]),
            presets=platform["serving"]["presets"]["prefix"],
        )
        name = platform["serving"]["pull_secret"]
        source = credentials(arguments["pull_secret_file"], arguments["pull_secret_from"])
        line, began = Waiting(Display()), time.monotonic()
        result = models.apply_models(
            self.connect(arguments, workers=models.WORKERS),
            rendered.objects,
            choice=choice,
            pull_secret=models.PullSecret(name, source) if name else None,
            gateway=platform["gateway"],
            check=self.check,
            on_progress=lambda what, done, total: line.count(
                time.monotonic() - began, "applying", f"{what}, {done} of {total}"
            ),
        )
        return self._told(result)

    def _told(self, result: Any) -> dict[str, Any]:
        outcome = result.outcome()
        words = [word for word in outcome.values() if word != "unchanged"]
        told = result_of([result], unchanged=f"{quantity(len(result.models), 'model')} as wanted", diff=self.diff)
        if not result.errors:
            told["msg"] = sentence(words, len(result.models)) or told["msg"]
        told.update(
            models=result.models,
            routes=result.routes,
            touched=sorted(model for model, word in outcome.items() if word in SERVING_ANEW),
            failed_models=result.failed,
            warnings=result.notes,
        )
        if result.errors:
            told["msg"] = f"{sentence(words, len(result.models)) or 'Nothing could be done'}.\n{told['msg']}"
        return told


def sentence(words: list[str], total: int) -> str:
    """What became of the models: "2 created, 1 failed; 7 as before"; empty when nothing happened to any."""
    order = ("created", "changed", "started", "stopped", "recreated", "removed", "failed")
    counts = [f"{words.count(word)} {word}" for word in order if word in words]
    rest = total - sum(1 for word in words if word != "removed")
    return f"{', '.join(counts)}{f'; {rest} as before' if rest else ''}" if counts else ""


def removals(text: str) -> int | None:
    """How many models may be removed: None for the built-in limit, ANY_NUMBER for "yes"."""
    if text in ("", "no", "false", "False"):
        return None
    if text.lower() in ("yes", "true", "all"):
        return ANY_NUMBER
    if text.isdigit():
        return int(text)
    raise AnsibleActionFail(
        f'models_delete: expected a number of models or yes, found "{text}". '
        "Write -e models_delete=12 to let twelve models be removed."
    )
