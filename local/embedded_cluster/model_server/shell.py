"""What a shell would start, read without starting anything.

Pods of models start vLLM through `bash -c <script> -- <args>`. Of the shell this knows what such scripts need: one
command, alone or in `exec` and `eval "..."`, with variables, defaults, positional arguments, sums and quotes. Anything
else is refused rather than guessed; no part of a pod's script is ever run on this machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

SHELLS = ("bash", "sh")
_EVAL = re.compile(r'eval\s+"(?P<body>(?:[^"\\]|\\.)*)"', re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^{}]*))?\}|\$([A-Za-z_]\w*|[@*])")
_SUM = re.compile(r"\$\(\(([^()]*)\)\)")
_ARITHMETIC = re.compile(r"\s*(\d+)\s*(?:([-+*])\s*(\d+)\s*)?")
_SINGLE_QUOTED = re.compile(r"('[^']*')")
_BEYOND_ONE_COMMAND = re.compile(r"[;&|<>`\n]|\$\(")


class ShellError(ValueError):
    """A command that this module does not understand; the text says which and what is known."""


def words(command: Sequence[str], args: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The argument vector that a container's command and args end in.

    >>> words(["/bin/bash", "-c", 'eval "exec vllm serve /m --port ${P:-80} $*"', "--"], ["--seed", "1"], {})
    ['vllm', 'serve', '/m', '--port', '80', '--seed', '1']
    """
    whole = [*command, *args]
    if not whole:
        raise ShellError("the container has neither command nor args: expected a command with `vllm serve`")
    if whole[0].rpartition("/")[2] not in SHELLS:
        return whole
    if len(whole) < 3 or whole[1] != "-c":
        raise ShellError(f"{whole[0]}: expected `-c` and a script, found {' '.join(whole[1:]) or 'nothing'}")
    text, positional = whole[2].strip(), whole[4:]
    if found := _EVAL.fullmatch(text.removeprefix("exec ")):
        # eval gets the text with its own quotes expanded, and expands what that left.
        text = _expand(re.sub(r'\\([\\"$`])', r"\1", found.group("body")), positional, env).strip()
    text = "".join(
        part if part.startswith("'") else _expand(part, positional, env) for part in _SINGLE_QUOTED.split(text)
    )
    if _BEYOND_ONE_COMMAND.search(_SINGLE_QUOTED.sub("", text)):
        shown = text if len(text) < 200 else text[:200] + "..."
        raise ShellError(f"expected a script of one command, with exec, eval and variables at most, found: {shown}")
    try:
        return shlex.split(text.removeprefix("exec "))
    except ValueError as error:
        raise ShellError(f"the script has unbalanced quotes: {error}") from None


def _expand(text: str, positional: Sequence[str], env: Mapping[str, str]) -> str:
    """Variables first, so that sums hold numbers; then the sums."""

    def variable(match: re.Match[str]) -> str:
        braced, default, plain = match.groups()
        if plain in ("@", "*"):
            return " ".join(positional)
        return env.get(braced or plain) or default or ""

    return _SUM.sub(lambda match: _sum(match.group(1)), _VARIABLE.sub(variable, text))


def _sum(text: str) -> str:
    found = _ARITHMETIC.fullmatch(text)
    if not found:
        raise ShellError(f"$(({text})): expected a number, or two with + - or * between them")
    left, operator, right = found.groups()
    if operator is None:
        return str(left)
    first, second = int(left), int(right)
    return str({"+": first + second, "-": first - second, "*": first * second}[operator])
