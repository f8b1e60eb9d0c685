"""Make findings that know their file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from inference_platform import schema
from inference_platform.findings import ERROR, WARNING, Finding, show
from inference_platform.schema import KeyPath, SchemaMistake
from inference_platform.sources import Sources, dotted

UNKNOWN_KEY = "IP-INV-001"
RENAMED = "IP-INV-002"
WRONG_TYPE = "IP-INV-003"
NOT_ALLOWED = "IP-INV-004"
MISSING = "IP-INV-005"

_CODES = {
    schema.UNKNOWN_KEY: UNKNOWN_KEY,
    schema.WRONG_TYPE: WRONG_TYPE,
    schema.NOT_ALLOWED: NOT_ALLOWED,
    schema.MISSING_KEY: MISSING,
}
# Ansible reads the variables of an inventory, but no file of a model.
_BRACES = " Braces in the file of a model are text: for a template, move the model below models in group_vars."


class Reporter:
    """Builds findings; ``sources`` (may be None) turns paths into file, line and path."""

    def __init__(self, sources: Sources | None, renamed: Sequence[Mapping[str, str]] = ()) -> None:
        self._sources = sources or Sources()
        self._renamed = {entry["old"]: entry for entry in renamed}

    def error(self, code: str, path: KeyPath, expected: str, found: str, remedy: str) -> Finding:
        """A finding that stops the run."""
        return Finding(code, ERROR, self._sources.where(path), expected, found, remedy)

    def warning(self, code: str, path: KeyPath, expected: str, found: str, remedy: str) -> Finding:
        """A finding that is only told."""
        return Finding(code, WARNING, self._sources.where(path), expected, found, remedy)

    def of_schema(self, mistakes: Iterable[SchemaMistake], base: int = 0) -> list[Finding]:
        """Findings for violations of a schema. ``base`` parts of each path lie above the schema."""
        return [self._of_mistake(mistake, base) for mistake in mistakes]

    def _of_mistake(self, mistake: SchemaMistake, base: int) -> Finding:
        name = dotted(mistake.path[base:])
        renamed = self._renamed.get(name)
        if mistake.kind == schema.UNKNOWN_KEY and renamed:
            hint = f" ({renamed['hint']})" if "hint" in renamed else ""
            return self.error(
                RENAMED, mistake.path, show(renamed["new"]), mistake.found, f"Write {renamed['new']}{hint}."
            )
        code = mistake.code or _CODES[mistake.kind]
        hint = _BRACES if "{{" in mistake.found and self._sources.is_in_model_file(mistake.path) else ""
        return self.error(code, mistake.path, mistake.expected, mistake.found, _remedy(mistake) + hint)


def _remedy(mistake: SchemaMistake) -> str:
    name = _name(mistake.path)
    if mistake.kind == schema.UNKNOWN_KEY and not mistake.hint:
        if mistake.suggestions:
            return f"Did you mean {schema.or_list(mistake.suggestions)}?"
        return f"Remove {name}, or correct its name; docs/reference has all keys."
    if mistake.kind == schema.MISSING_KEY:
        return f"Add {name}."
    if mistake.hint:
        return mistake.hint
    if mistake.expected.startswith("a list") and mistake.found.startswith("a mapping"):
        return f"Write {name} as a list, each item behind a dash, as in - KEY: VALUE."
    return f"Set {name} to {mistake.expected}."


def _name(path: KeyPath) -> str:
    """The last key of a path, with the places in lists that come behind it."""
    start = next((place for place in range(len(path) - 1, -1, -1) if isinstance(path[place], str)), 0)
    return dotted(path[start:]) or "it"
