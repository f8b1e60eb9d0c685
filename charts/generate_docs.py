"""Writes the table of values in every chart's README.

The table comes from the chart's own files: keys, types and descriptions from ``values.schema.json``, defaults from
``values.yaml``. Run it after a change of either:

    python charts/generate_docs.py            # rewrite the tables that are out of date
    python charts/generate_docs.py --check    # only say which ones are; exit status 1 if any
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parent
BEGIN = "<!-- values: begin (written by charts/generate_docs.py) -->"
END = "<!-- values: end -->"
MAX_DEFAULT_LENGTH = 80
_ABSENT = object()


class DocumentationError(Exception):
    """A chart whose README, schema or values cannot be turned into a table."""


@dataclass(frozen=True)
class Row:
    """One value: its dotted key, its type, its default as JSON ("" if it has none) and what it means."""

    key: str
    type: str
    default: str
    description: str


def table_rows(schema: Mapping[str, Any], values: Any, prefix: str = "") -> Iterator[Row]:
    """Yields the leaves of an object schema in its own order; ``values`` are the defaults at the same place."""
    for name, child in schema["properties"].items():
        key = f"{prefix}{name}"
        default = values.get(name, _ABSENT) if isinstance(values, dict) else _ABSENT
        if child.get("properties"):
            yield from table_rows(child, default, f"{key}.")
            continue
        yield Row(key, _type_text(child), _default_text(default), child["description"])
        items = child.get("items", {})
        if items.get("properties"):
            yield from table_rows(items, _ABSENT, f"{key}[].")
    further = schema.get("additionalProperties")
    if isinstance(further, Mapping) and further.get("properties"):
        yield from table_rows(further, _ABSENT, f"{prefix}<name>.")


def _type_text(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    return str(schema["type"])


def _default_text(default: Any) -> str:
    if default is _ABSENT:
        return ""
    text = json.dumps(default)
    return f"`{text}`" if len(text) <= MAX_DEFAULT_LENGTH else "see `values.yaml`"


def render_table(rows: Iterator[Row]) -> str:
    """Returns the rows as a Markdown table that ends in a newline."""
    head = "| key | type | default | meaning |\n|---|---|---|---|\n"
    return head + "".join(f"| `{r.key}` | {r.type} | {r.default} | {r.description} |\n" for r in rows)


def updated_readme(chart: Path) -> str:
    """Returns the text of the chart's README with a table that fits its schema and defaults."""
    readme = (chart / "README.md").read_text(encoding="utf-8")
    if BEGIN not in readme or END not in readme:
        raise DocumentationError(f"{chart / 'README.md'}: expected the lines {BEGIN!r} and {END!r}, add them")
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    before, rest = readme.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n\n{render_table(table_rows(schema, values))}\n{END}{after}"


def stale_readmes() -> dict[Path, str]:
    """Returns the READMEs that are out of date, each with the text it should have."""
    wanted = {chart.parent / "README.md": updated_readme(chart.parent) for chart in sorted(CHARTS.glob("*/Chart.yaml"))}
    return {path: text for path, text in wanted.items() if path.read_text(encoding="utf-8") != text}


def main() -> int:
    """Command line entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the table of values in every chart's README.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a table is out of date")
    arguments = parser.parse_args()
    stale = stale_readmes()
    for path, text in stale.items():
        print(f"{'out of date' if arguments.check else 'written'}: {path.relative_to(CHARTS.parent)}")
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
