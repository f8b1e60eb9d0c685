"""Action inference.platform.models_benchmark: puts a load on a model. See plugins/modules/models_benchmark.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
)


class ActionModule(PlatformAction):
    """Runs GuideLLM and watches the pods; writes benchmark.json and benchmark.html. In check mode it does nothing."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "model": {"type": "str", "required": True},
        "program": {"type": "path", "required": True},
        "directory": {"type": "path", "required": True},
        "kind": {"type": "str", "default": "constant"},
        "rate": {"type": "float", "default": 5.0},
        "seconds": {"type": "int", "default": 30},
        "prompt_tokens": {"type": "int", "default": 256},
        "output_tokens": {"type": "int", "default": 64},
        "processor": {"type": "str", "default": ""},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import benchmark, model_subjects
        from inference_platform.cluster.conformance_cases import Cases
        from inference_platform.cluster.readiness import Surroundings
        from inference_platform.load import page
        from inference_platform.load.guidellm import Load

        if self.check:
            return {"changed": False, "msg": "skipped in check mode"}
        platform, objects = arguments["platform"], handover.take(arguments["rendered"]).objects
        around = Surroundings(
            platform["namespaces"]["applications"], bool(platform["serving"]["gateway"]["address_required"])
        )
        cluster = self.connect(arguments)
        cases = Cases(objects, model_subjects.subjects_of(cluster, objects, around))
        line, folder = Waiting(Display()), Path(arguments["directory"])
        result = benchmark.benchmark(
            cluster,
            case_of([*cases.of("models"), *cases.of("groups")], arguments["model"]),
            Load(**{name: arguments[name] for name in LOAD}),
            program=arguments["program"],
            tls=bool(platform["serving"]["tls"]),
            folder=folder,
            on_progress=lambda elapsed: line.count(elapsed, "measuring", arguments["model"]),
        )
        (folder / "benchmark.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        (folder / "benchmark.html").write_text(page.render(result), encoding="utf-8")
        return {"changed": False, "msg": told(result["servers"], folder), "servers": result["servers"]}


LOAD = ("kind", "rate", "seconds", "prompt_tokens", "output_tokens", "processor")


def case_of(cases: list[Any], name: str) -> Any:
    """The model or traffic group of that name, or namespace/name."""
    found = [case for case in cases if name in (case.name, case.name.rpartition("/")[2])]
    if len(found) != 1:
        known = ", ".join(case.name for case in cases) or "none"
        raise AnsibleActionFail(
            f"model: expected one of {known}, found {name or 'nothing'}. Name it with -e model=NAME."
        )
    return found[0]


def told(servers: dict[str, Any], folder: Path) -> str:
    """The figures in one line, and where the rest is."""
    first = servers["time_to_first_token_seconds"].get("p50")
    parts = [
        f"{servers['requests']:.0f} requests, {servers['requests_per_second']:.2f} a second",
        *([f"half of the first tokens within {first * 1000:.0f} ms"] if first is not None else []),
        f"longest queue {servers['longest_queue']:.0f}",
    ]
    return f"{', '.join(parts)}; written to {folder}/benchmark.html, benchmark.json and guidellm.json"
