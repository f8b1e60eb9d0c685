"""The reference page of the rules, made from their list."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from inference_platform.findings import WARNING
from inference_platform.models.rules import RULES
from inference_platform.models.rules.engine import CLUSTER, INVENTORY, MODEL, SCHEMA, SPEC, Objection, Rule
from inference_platform.problems import MISSING, NOT_ALLOWED, RENAMED, UNKNOWN_KEY, WRONG_TYPE

Table = Callable[[tuple[str, ...], Sequence[tuple[str, ...]]], str]

TITLE = "Rules of the model language"
INTRODUCTION = (
    "What is checked about models before a cluster is touched. Every finding names file and line, what was expected, "
    "what was found and what to do; an ellipsis below stands for what a finding fills in. Errors stop the run before "
    "any write; warnings are told. Rules of the scheduler (IP-SCH) are listed in "
    "[scheduler-strategies](scheduler-strategies.md)."
)
_PLACES = {
    SCHEMA: "schema",
    MODEL: "entry",
    SPEC: "rendered spec, after override",
    INVENTORY: "all models together",
    CLUSTER: "facts of a live cluster",
}

# Codes that hold for every key of every schema.
_GENERAL = {
    UNKNOWN_KEY: ("The key is one that the schema knows.", "Correct its name, or remove it."),
    RENAMED: ("The key has its present name.", "Write the new name."),
    WRONG_TYPE: ("The value is of the kind that the key takes.", "Set it to what is expected."),
    NOT_ALLOWED: ("The value is one that the key takes.", "Set it to what is expected."),
    MISSING: ("A key that is needed is there.", "Add it."),
}
# What is told about an inventory before its values are judged.
_OF_FILES = {
    "IP-INV-006": ("A file is YAML with each key once, and one of a model holds one model.", "Do as the finding says."),
    "IP-INV-007": (
        "Ansible can resolve every template in a variable.",
        "Define what it names, or write `!unsafe` before a text with braces of its own.",
    ),
    "IP-INV-009": ("Ansible can decrypt every encrypted value.", "Give the password, or write the value in plain."),
    "IP-INV-008": ("A name in `models_move` means a model of the inventory.", "Correct the name, or take it out."),
}
# Rules without a check of their own are checked by the schema, or while layers are merged.
_OF_THE_SCHEMA = "Set it to what is expected."
_OF_LAYERS = {
    "IP-MOD-007": "Remove it from model_defaults.",
    "IP-MOD-012": "Correct the name, or add the profile to model_profiles.",
    "IP-MOD-013": "Remove it from the profile.",
}
_OF_THE_FINDING = "Do as the finding says."
_PLACE_OF_REMEDY = list(Objection.__dataclass_fields__).index("remedy")
_FACTS = re.compile(r"\s*\(models\.md [^)]*\)|\s*;?\s*models\.md [\d.]+(, [\d.]+)*")

# What users get wrong, with the numbers that rules carry in ``catches``.
MISTAKES = {
    1: "data without data_local, or not a multiple of it",
    2: "GPUs per pod that parallelism does not use; leader and worker that differ",
    3: "tensor parallelism on one node that never reaches vLLM",
    4: "pipeline parallelism over nodes without a preset for it",
    5: "pipeline together with data",
    6: "worker pods without parallelism",
    7: "replicas together with scaling",
    8: "another number of nodes for a running model",
    9: "routes of one's own together with a managed route or gateway",
    10: "a scheduler without a route",
    11: "a gateway that does not exist, or a listener named where the release cannot",
    12: "a listener that does not admit the namespace",
    13: "a scheduler pod template without containers",
    14: "a pull secret that some pods lack",
    15: "a server container that is not called main",
    16: "no GPU asked for",
    17: "tolerations or arguments given in part, where lists are replaced",
    18: "a probe on another port or scheme than the server's",
    19: "too little time to load the weights",
    20: "an endpoint picker configuration that the program does not take",
    21: "plugins under their old names",
    22: "a scheduler configuration left out, which keeps the last one",
    23: "block size, hash, seed or topic that differ between server and scheduler",
    24: "numbers as values of environment variables",
    25: "scaling to zero",
    26: "LoRA adapters in a field that the release ignores",
    27: "a uri without scheme, or with one that KServe does not read",
    28: "credentials or claims that are missing or cannot be shared",
    29: "served names that differ within a group",
    30: "chat with a model that has no chat template",
    31: "names that are too long or no DNS labels",
    32: "double braces that Ansible or KServe evaluates",
    33: "JSON that the shell takes apart",
    34: "missing CRDs",
    35: "missing configurations (LLMInferenceServiceConfig)",
    36: "a gateway that does not know InferencePools",
    37: "weights or number formats that the GPU cannot take",
    38: "RDMA devices or networks that the cluster lacks",
    39: "no spare GPU for the pod that a rollout adds",
    40: "models before the webhook of KServe answers",
    41: "several weighted pools in one rule, behind a gateway that asks one scheduler",
    42: "metrics expected where nobody collects them",
}
_ADMISSION = range(1, 15)

# Caught outside this list of rules, or impossible because of how objects are made.
_OF_RUNNING_MODELS = "IP-MOD-108, compared with the running model before anything is written"
ELSEWHERE = {
    "mistake 8": _OF_RUNNING_MODELS,
    "admission 14": _OF_RUNNING_MODELS,
    "mistake 20": "IP-SCH-020 to IP-SCH-040",
    "mistake 21": "IP-SCH-023, IP-SCH-025",
    "mistake 23": "IP-SCH-014; both sides come from one place",
    "mistake 39": "IP-CAP-003, before models are applied",
}


def body(table: Table) -> str:
    """The tables of the page."""
    rules = sorted(RULES.all, key=lambda rule: rule.code)
    return "\n\n".join(
        (
            "## Rules",
            table(
                ("code", "severity", "looks at", "what holds", "why", "what to do", "catches"),
                [*_general_rows(), *(_row(rule) for rule in rules)],
            ),
            "## Mistakes and where they are caught",
            table(("mistake", "code"), [(text, caught(f"mistake {number}")) for number, text in MISTAKES.items()]),
            "## Admission rules of KServe and where they are checked first",
            table(
                ("rule of admission", "code"), [(str(number), caught(f"admission {number}")) for number in _ADMISSION]
            ),
        )
    )


def caught(what: str) -> str:
    """The codes that catch a mistake or an admission rule, as text; empty when none does."""
    codes = [rule.code for rule in RULES.all if what in rule.catches]
    return "; ".join(
        filter(None, (", ".join(f"`{code}`" for code in sorted(codes)), _as_codes(ELSEWHERE.get(what, ""))))
    )


def remedies(rule: Rule) -> list[str]:
    """What the objections of a rule say to do, as its source has it; an ellipsis stands for what they fill in."""
    if rule.check is None:
        return [_OF_LAYERS.get(rule.code, _OF_THE_SCHEMA)]
    return list(dict.fromkeys(_remedies(rule.check, set()))) or [_OF_THE_FINDING]


def _remedies(function: Callable[..., Any], seen: set[Callable[..., Any]]) -> Iterator[str]:
    """Also of the helpers that ``function`` calls, which are in the modules of the rules."""
    seen.add(function)
    for call in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id == Objection.__name__:
            yield from _texts(call.args[_PLACE_OF_REMEDY])
            continue
        helper = function.__globals__.get(call.func.id)
        if inspect.isfunction(helper) and helper.__module__.startswith(__package__ or "") and helper not in seen:
            yield from _remedies(helper, seen)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _general_rows() -> list[tuple[str, ...]]:
    places = [*((row, "schema") for row in _GENERAL.items()), *((row, "files") for row in _OF_FILES.items())]
    return [(f"`{code}`", "error", place, holds, "", what, "") for (code, (holds, what)), place in places]


def _row(rule: Rule) -> tuple[str, ...]:
    why = " ".join((inspect.getdoc(rule.check) or "").split()) if rule.check else ""
    return (
        f"`{rule.code}`",
        "warning" if rule.severity == WARNING else "error",
        _PLACES[rule.scope],
        rule.title,
        _FACTS.sub("", why).replace("``", "`"),
        " ".join(remedies(rule)),
        ", ".join(rule.catches),
    )


def _as_codes(text: str) -> str:
    return re.sub(r"IP-[A-Z]+-\d+", lambda match: f"`{match[0]}`", text)
