"""``python -m inference_platform.importer FILE...``: entries for objects that exist already, as YAML.

``-`` reads standard input, such as what ``kubectl get -o yaml`` prints. Entries go to
standard output; what differs and what was refused goes to standard error. The exit status
is 1 when an object was refused, 2 when a file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from inference_platform.catalog.load import load
from inference_platform.importer import KINDS, ImportResult, import_objects
from inference_platform.importer.explained import EXPLANATIONS
from inference_platform.manifest import to_yaml
from inference_platform.platform import resolve

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STDIN = "-"
_BY_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid", "ownerReferences")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; ``arguments`` are those of the command line."""
    given = _parser().parse_args(arguments)
    platform = resolve({"platform_release": given.release, "provider": given.provider}).to_dict()
    try:
        objects = [pair for file in given.files for pair in read(file)]
    except (OSError, yaml.YAMLError) as error:
        print(f"Expected YAML files with Kubernetes objects: {error}", file=sys.stderr)
        return 2
    result = import_objects(objects, platform, given.namespace)
    if result.inventory:
        print(to_yaml(result.inventory), end="")
    for line in told(result):
        print(f"# {line}", file=sys.stderr)
    return 1 if any(outcome.refused for outcome in result.outcomes) else 0


def read(file: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a YAML file (or standard input), those in lists too, each with the name of the file."""
    text = sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8")
    for document in yaml.load_all(text, Loader=_Loader):
        if not isinstance(document, Mapping) or "kind" not in document:
            continue
        listed = str(document.get("kind", "")).endswith("List") and "items" in document
        for obj in document["items"] if listed else [document]:
            metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _BY_SERVER}
            yield file, {**obj, "metadata": metadata}


def told(result: ImportResult) -> Iterator[str]:
    """What a user has to know about an import, line by line."""
    texts = {item.name: item.text for item in EXPLANATIONS}
    for outcome in result.outcomes:
        where = f"{outcome.source}: {outcome.kind} {outcome.name}"
        if outcome.refused:
            yield f"{where}: not imported, {outcome.refused}"
        for name in dict.fromkeys(difference.why for difference in outcome.differences):
            yield f"{where}: {texts[str(name)]}"
    if not result.outcomes:
        yield f"No objects of the kinds {', '.join(KINDS)}."


def _parser() -> argparse.ArgumentParser:
    releases = load().releases
    parser = argparse.ArgumentParser(
        prog="python -m inference_platform.importer",
        description="Prints inventory entries (models, model_profiles, model_routes) for objects that exist already.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML files with objects; - for standard input")
    parser.add_argument("--release", default=sorted(releases)[-1], choices=sorted(releases), help="platform_release")
    parser.add_argument("--provider", default="generic", choices=sorted(load().providers), help="provider")
    parser.add_argument("--namespace", default="default", help="namespace of objects that name none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
