"""Where each variable of an inventory was written: file and line; and the files with models.

Values come from Ansible (templated, merged); this module reads the same YAML files a
second time, only for their positions. A variable it does not find (extra vars, dynamic
inventories, encrypted files) simply has no position. Files with one model each
(``<inventory>/models/*.yml``) are plain data that Ansible does not read: their values
come from here, double braces included.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from inference_platform.findings import show
from inference_platform.schema import KeyPath

_SUFFIXES = {"", ".yml", ".yaml", ".json"}
#: How the names of files with one model each end.
MODEL_SUFFIXES = (".yml", ".yaml", ".json")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VAULT_MARK = "$ANSIBLE_VAULT"
_MODELS = "models"
_NEARLY_MODELS = "model"

# What is expected of a model file, and what to do.
_ONE_MODEL = (
    "one model: a mapping with namespace, uri and gpu",
    "Write one file per model, or move what is in it below models in group_vars; remove a file without a model.",
)
_OPEN_FILE = (
    "one model in plain YAML",
    "Decrypt it, or move it below models in group_vars. Secrets of models stay in the cluster (credentials_secret).",
)
_ONCE = ("each key once", "Remove one of the two.")
#: What to do about what the parser of YAML says; the first that it contains.
_SYNTAX = {
    "a tab character": "Indent with spaces, not with tabs.",
    "cannot start any token": "Indent with spaces, not with tabs; put a text that begins with @, ` or % in quotes.",
    "mapping values are not allowed": "Put a text with a colon in quotes, or correct the indentation.",
    "did not find expected": "Correct the indentation here or in the lines before, or close what is open there.",
}

T = TypeVar("T")


@dataclass(frozen=True)
class UnreadableFile:
    """A file of the inventory that cannot be used as it is: its path, the line, what is wrong, and what to do."""

    path: Path
    line: int
    problem: str
    expected: str = "YAML"
    remedy: str = "Correct the syntax."


class _ModelConstructor(yaml.constructor.SafeConstructor):
    """Makes the content of a model file; all of its texts are what Ansible calls unsafe, so the tag adds nothing."""


def _unsafe_text(constructor: Any, node: Any) -> Any:
    return constructor.construct_scalar(node)


_ModelConstructor.add_constructor("!unsafe", _unsafe_text)


@dataclass
class Sources:
    """Positions of the variables of one inventory.

    ``variables`` maps each top-level variable to the key node and value node of its
    strongest definition with the file it is in; ``model_files`` are the files with one
    model each and their content, in order; ``unreadable`` lists what is wrong with files;
    ``not_models`` are files and folders that look as if models were read from them, and are not.
    """

    variables: dict[str, tuple[Path, yaml.Node, yaml.Node]] = field(default_factory=dict)
    unreadable: list[UnreadableFile] = field(default_factory=list)
    model_files: list[tuple[Path, yaml.Node]] = field(default_factory=list)
    not_models: list[Path] = field(default_factory=list)
    _models_of_files: list[Any] = field(default_factory=list)
    _models_before_files: int = 0

    @classmethod
    def load(cls, inventories: Iterable[str | os.PathLike[str]], *, with_models: bool = True) -> Sources:
        """Read inventories as given to ``ansible-playbook -i``: folders or files; also files of models, if asked for.

        Definitions are taken in Ansible's order of strength: variables in the inventory
        file, group_vars/all, other group_vars, host_vars; later files beat earlier ones.
        """
        sources, folders = cls(), list[Path]()
        for inventory in map(Path, inventories):
            folder = inventory if inventory.is_dir() else inventory.parent
            for path in _inventory_files(inventory):
                sources._add_hosts_file(path)
            for path in _variable_files(folder):
                sources._add_variables_file(path)
            # Two inventories of one folder have its models once.
            if with_models and folder.resolve() not in folders:
                folders.append(folder.resolve())
                for path in _model_files(folder):
                    sources._add_model_file(path)
                sources.not_models += _not_models(folder)
        return sources

    def models(self, written: Sequence[Any]) -> list[Any]:
        """The models of the inventory: those of the variable, then one per file; a file may give its name.

        From now on ``where`` counts the files after those of the variable.
        """
        self._models_before_files = len(written)
        return [*written, *self._models_of_files]

    def is_in_model_file(self, path: KeyPath) -> bool:
        """Whether the model that ``path`` leads to has a file of its own, where braces are text."""
        return self._model_file(path) is not None

    def where(self, path: KeyPath) -> str:
        """``path`` with the file and line of its value: "inventories/eks/group_vars/all.yml:3 provider".

        For a value that is not in the file (a missing key, something templated) the line
        is that of the closest parent that is.
        """
        text = dotted(path)
        place = self.place(path)
        return f"{place} {text}" if place else text

    def place(self, path: KeyPath) -> str:
        """File and line of ``where``, without the path; empty when it is in no file."""
        found = self._model_file(path) or self._variable(path)
        if found is None:
            return ""
        file, node = found
        return f"{_shown(file)}:{node.start_mark.line + 1}"

    def _variable(self, path: KeyPath) -> tuple[Path, yaml.Node] | None:
        if not path or str(path[0]) not in self.variables:
            return None
        file, key, value = self.variables[str(path[0])]
        return file, _deepest(key, value, path[1:])

    def _model_file(self, path: KeyPath) -> tuple[Path, yaml.Node] | None:
        if len(path) < 2 or path[0] != _MODELS or not isinstance(path[1], int):
            return None
        index = path[1] - self._models_before_files
        if not 0 <= index < len(self.model_files):
            return None
        file, root = self.model_files[index]
        return file, _deepest(root, root, path[2:])

    def path_of_model(self, namespace: str, name: str) -> KeyPath | None:
        """The path of a model, in the variable or in a file of its own; None: not found.

        An entry that does not say its namespace (it comes from defaults) counts for every namespace.
        """
        self._models_before_files, positions = self._model_positions
        index = positions.get((namespace, name), positions.get(("", name)))
        return None if index is None else (_MODELS, index)

    @cached_property
    def _model_positions(self) -> tuple[int, dict[tuple[str, str], int]]:
        """How many models the variable has, and where each namespace, as written, and name are first."""
        found = self.variables.get(_MODELS)
        written = found[2].value if found is not None and isinstance(found[2], yaml.SequenceNode) else []
        positions: dict[tuple[str, str], int] = {}
        for index, (file, node) in enumerate([*((None, node) for node in written), *self.model_files]):
            entry = _entries(node)
            name = entry["name"].value if "name" in entry else file and file.stem
            namespace = entry["namespace"].value if "namespace" in entry else ""
            if name:
                positions.setdefault((namespace, name), index)
        return len(written), positions

    def _add_variables_file(self, path: Path) -> None:
        root = self._compose(path)
        if isinstance(root, yaml.MappingNode):
            self._add_mapping(path, root)

    def _add_model_file(self, path: Path) -> None:
        text = self._text(path)
        if text is None:
            return
        if text.startswith(_VAULT_MARK):
            self.unreadable.append(UnreadableFile(path, 1, "an encrypted file", *_OPEN_FILE))
            return
        read = self._parsed(path, lambda: _model(text), text)
        if read is None:
            return
        root, value, repeated = read
        if not isinstance(value, dict) or _MODELS in value:
            found = f"a variable {_MODELS}" if isinstance(value, dict) else show(value)
            self.unreadable.append(UnreadableFile(path, 1, found, *_ONE_MODEL))
            return
        self._note_repeated(path, repeated)
        self.model_files.append((path, root))
        self._models_of_files.append({"name": path.stem, **value})

    def _add_hosts_file(self, path: Path) -> None:
        root = self._compose(path)
        if isinstance(root, yaml.MappingNode):
            for group in _values(root):
                self._add_group(path, group)

    def _add_group(self, path: Path, group: yaml.Node) -> None:
        parts = _entries(group)
        if "vars" in parts:
            self._add_mapping(path, parts["vars"])
        for child in _values(parts.get("children")):
            self._add_group(path, child)
        for host in _values(parts.get("hosts")):
            self._add_mapping(path, host)

    def _add_mapping(self, path: Path, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self.variables[str(key.value)] = (path, key, value)

    def _compose(self, path: Path) -> yaml.Node | None:
        text = self._text(path)
        if text is None or text.startswith(_VAULT_MARK):
            return None
        read = self._parsed(path, lambda: _composed(text), text)
        if read is None:
            return None
        root, repeated = read
        self._note_repeated(path, repeated)
        return root

    def _note_repeated(self, path: Path, repeated: Iterable[tuple[str, int, int]]) -> None:
        """Of a key that comes twice the first value would be lost without a word."""
        self.unreadable += [
            UnreadableFile(path, again + 1, f"{key} twice, first in line {first + 1}", *_ONCE)
            for key, first, again in repeated
        ]

    def _text(self, path: Path) -> str | None:
        """The text of a file; None, and a note, when it is none."""
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            self.unreadable.append(UnreadableFile(path, line, "bytes that are no UTF-8"))
            return None

    def _parsed(self, path: Path, parse: Callable[[], T], text: str) -> T | None:
        """What ``parse`` makes of the text of a file; None, and a note, when it is no YAML."""
        try:
            return parse()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            said = error.problem or "not YAML"
            remedy = next((remedy for part, remedy in _SYNTAX.items() if part in said), UnreadableFile.remedy)
            self.unreadable.append(UnreadableFile(path, line, said, remedy=remedy))
        except yaml.reader.ReaderError as error:
            line = text[: error.position].count("\n") + 1
            self.unreadable.append(UnreadableFile(path, line, error.reason))
        except ValueError as error:  # a date that is none, a number without end
            self.unreadable.append(UnreadableFile(path, 1, str(error)))
        except RecursionError:
            self.unreadable.append(UnreadableFile(path, 1, "an anchor that contains itself"))
        return None

    def shown(self, file: UnreadableFile) -> str:
        """The position of an unreadable file, for a message."""
        return f"{self.shown_path(file.path)}:{file.line}"

    def shown_path(self, path: Path) -> str:
        """A path as people write it: from here if it is below."""
        return _shown(path)


def dotted(path: KeyPath) -> str:
    """A path as text: ("models", 0, "gpu") is "models[0].gpu"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def _inventory_files(inventory: Path) -> list[Path]:
    if inventory.is_file():
        return [inventory] if inventory.suffix in _SUFFIXES - {""} else []
    return sorted(path for path in inventory.glob("*") if path.suffix in _SUFFIXES - {""} and path.is_file())


def _variable_files(folder: Path) -> Iterator[Path]:
    groups = folder / "group_vars"
    yield from _files_of(groups, "all")
    if groups.is_dir():
        names = sorted({path.name.split(".")[0] for path in groups.iterdir()} - {"all", ""})
        for name in names:
            yield from _files_of(groups, name)
    hosts = folder / "host_vars"
    if hosts.is_dir():
        for name in sorted({path.name for path in hosts.iterdir()}):
            yield from _files_of(hosts, Path(name).stem if (hosts / name).is_file() else name)


def _files_of(folder: Path, name: str) -> list[Path]:
    single = [folder / f"{name}{suffix}" for suffix in sorted(_SUFFIXES)]
    found = [path for path in single if path.is_file()]
    if (folder / name).is_dir():
        found += sorted(
            path
            for path in (folder / name).rglob("*")
            if path.is_file() and path.suffix in _SUFFIXES and not path.name.startswith(".")
        )
    return found


def _model_files(folder: Path, name: str = _MODELS) -> list[Path]:
    """Files with one model each; Ansible passes this folder over (ignore_patterns in ansible.cfg)."""
    files = (folder / name).rglob("*")
    return sorted(
        path for path in files if path.suffix in MODEL_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _not_models(folder: Path) -> list[Path]:
    """A folder ``model`` with files in it, and files with other endings beside those of models.

    Hidden files, notes (.md) and what editors leave behind are nothing to speak of.
    """
    files = (path for path in (folder / _MODELS).rglob("*") if path.is_file() and path.suffix not in MODEL_SUFFIXES)
    return [
        *([folder / _NEARLY_MODELS] if _model_files(folder, _NEARLY_MODELS) else []),
        *sorted(path for path in files if path.suffix != ".md" and not _is_left_by_an_editor(path.relative_to(folder))),
    ]


def _is_left_by_an_editor(path: Path) -> bool:
    return path.name.endswith(("~", "#")) or any(part.startswith(".") for part in path.parts)


def _composed(text: str) -> tuple[yaml.Node | None, list[tuple[str, int, int]]]:
    """The node of a file of variables, and its repeated keys."""
    root = yaml.compose(text, Loader=_LOADER)
    return root, list(_repeated_keys(root)) if root is not None else []


def _model(text: str) -> tuple[Any, Any, list[tuple[str, int, int]]]:
    """The node and the content of a model file, and its repeated keys; nothing and nothing of an empty one."""
    node = yaml.compose(text, Loader=_LOADER)
    if node is None:
        return None, None, []
    # Making the content writes merged keys (<<) into the nodes, so positions then need a tree of their own.
    made = yaml.compose(text, Loader=_LOADER) if "<<" in text else node
    return node, _ModelConstructor().construct_document(made), list(_repeated_keys(node))


def _repeated_keys(node: yaml.Node) -> Iterator[tuple[str, int, int]]:
    """Keys that a mapping at or below ``node`` has twice, with the lines of the first and of the other (from 0)."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line
            if isinstance(key, yaml.ScalarNode):
                if key.value in first:
                    yield key.value, first[key.value], line
                first.setdefault(key.value, line)
            yield from _repeated_keys(value)


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value}


def _values(node: yaml.Node | None) -> list[yaml.Node]:
    return list(_entries(node).values())


def _deepest(key: yaml.Node, value: yaml.Node, rest: KeyPath) -> yaml.Node:
    """The node to point at: the key of a mapping entry, the item of a list."""
    here = key
    for part in rest:
        if isinstance(part, int):
            if not isinstance(value, yaml.SequenceNode) or part >= len(value.value):
                return here
            here = value = value.value[part]
        else:
            pairs = value.value if isinstance(value, yaml.MappingNode) else []
            match = next((pair for pair in pairs if str(pair[0].value) == part), None)
            if match is None:
                return here
            here, value = match
    return here


def _shown(path: Path) -> str:
    absolute = path.resolve()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
