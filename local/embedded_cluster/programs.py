"""Which pods run as processes, and how their command lines are fitted to this machine.

`programs.yml` lists the known programs. A program's own arguments come from the pod, so a wrong
flag in a chart fails here as it would in a container. Only three things are changed: paths of
mounts, listening addresses, and the few settings an entry lists as `set_flags`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from embedded_cluster.kube import Object

PROGRAMS_FILE = Path(__file__).resolve().parent / "programs.yml"
BINARY, STANDIN, MODEL_SERVER, PROXY = "binary", "standin", "model-server", "proxy"
_NEEDED = {BINARY: "binary", STANDIN: "module"}


@dataclass(frozen=True)
class ConfigFile:
    """A YAML configuration file that a flag names and that must be changed before the start.

    `set` maps dotted keys to values, `bind` dotted keys of addresses to their default.
    """

    flag: str
    set: Mapping[str, Any] = field(default_factory=dict)
    bind: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """A port on which the real program of a stand-in answers probes, and the paths it knows."""

    port: int
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """One entry of programs.yml; the fields are explained at the top of that file."""

    name: str
    image: re.Pattern[str]
    kind: str
    command: re.Pattern[str] | None = None
    binary: str = ""
    subcommand: tuple[str, ...] = ()
    module: str = ""
    bind_flags: Mapping[str, str] = field(default_factory=dict)
    port_flags: Mapping[str, int] = field(default_factory=dict)
    set_flags: Mapping[str, str] = field(default_factory=dict)
    config_file: ConfigFile | None = None
    answers: tuple[Endpoint, ...] = ()
    connects_to_pods: bool = False
    limit: int | None = None

    def matches(self, container: Mapping[str, Any]) -> bool:
        """True when this program runs the container."""
        if not self.image.search(container.get("image") or ""):
            return False
        line = " ".join([*(container.get("command") or []), *(container.get("args") or [])])
        return self.command is None or bool(self.command.search(line))


@dataclass(frozen=True)
class Programs:
    """All known programs and the registries that want a pull secret."""

    programs: tuple[Program, ...]
    private_registries: tuple[str, ...]

    @classmethod
    def load(cls, path: Path = PROGRAMS_FILE) -> Programs:
        """Read programs.yml; raises ValueError for an entry that cannot work."""
        data = yaml.safe_load(path.read_text())
        programs = tuple(_program(entry, f"{path.name}: programs[{entry.get('name')}]") for entry in data["programs"])
        return cls(programs, tuple(data["private_registries"]))

    def match(self, pod: Object) -> Program | None:
        """The program that runs a pod's first container, None for a simulated pod."""
        container = pod["spec"]["containers"][0]
        return next((program for program in self.programs if program.matches(container)), None)


@dataclass(frozen=True)
class Launch:
    """A command line for this machine. `port_overrides` maps pod ports to other host ports."""

    argv: list[str]
    port_overrides: dict[int, int]
    config_source: Path | None = None
    config_target: Path | None = None


def _program(entry: dict[str, Any], where: str) -> Program:
    kind = entry.get("kind")
    kinds = (BINARY, STANDIN, MODEL_SERVER, PROXY)
    if kind not in kinds:
        raise ValueError(f"{where}.kind: expected one of {', '.join(kinds)}, found {kind!r}")
    needed = _NEEDED.get(kind)
    if needed and not entry.get(needed):
        raise ValueError(f"{where}.{needed}: expected a name, found nothing")
    values = dict(entry)
    values["image"] = re.compile(entry["image"])
    if "command" in entry:
        values["command"] = re.compile(entry["command"])
    if "config_file" in entry:
        values["config_file"] = ConfigFile(**entry["config_file"])
    values["subcommand"] = tuple(entry.get("subcommand", ()))
    values["answers"] = tuple(Endpoint(item["port"], tuple(item.get("paths", ()))) for item in entry.get("answers", ()))
    try:
        return Program(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def rewrite_paths(text: str, mounts: Mapping[str, Path]) -> str:
    """`text` with every mount path in it replaced by its place on this machine."""
    if not mounts:
        return text
    # One pass: a place on this machine may itself begin with a mount path, such as /tmp.
    longest_first = "|".join(re.escape(path) for path in sorted(mounts, key=len, reverse=True))
    pattern = rf"(?<![\w./-])({longest_first})(?=$|[/:,;\s\"'])"
    return re.sub(pattern, lambda match: str(mounts[match.group(1)]), text)


def fit(
    program: Program,
    args: Iterable[str],
    *,
    address: str,
    bin_dir: Path,
    pod_root: Path,
    free_port: Callable[[], int],
) -> Launch:
    """The command line of a binary program on this machine.

    `args` are the pod's resolved arguments (after its command), `address` is the loopback address
    that stands for the pod.
    """
    arguments = list(args)
    values = {"ip": address, "root": str(pod_root)}
    for flag, default in program.bind_flags.items():
        current = _flag_value(arguments, flag)
        arguments = _with_flag(arguments, flag, rebound(current if current is not None else default, address))
    overrides = {}
    for flag, default_port in program.port_flags.items():
        pod_port = int(_flag_value(arguments, flag) or default_port)
        overrides[pod_port] = free_port()
        arguments = _with_flag(arguments, flag, str(overrides[pod_port]))
    for flag, value in program.set_flags.items():
        arguments = _with_flag(arguments, flag, value.format(**values))
    source = target = None
    if program.config_file and (named := _flag_value(arguments, program.config_file.flag)):
        source, target = Path(named), pod_root / ".rewritten" / Path(named).name
        arguments = _with_flag(arguments, program.config_file.flag, str(target))
    argv = [str(bin_dir / program.binary), *program.subcommand, *arguments]
    return Launch(argv, overrides, source, target)


def fit_config(config_file: ConfigFile, content: str, *, address: str, pod_root: Path) -> str:
    """The program's configuration with addresses and settings for this machine."""
    data = yaml.safe_load(content) or {}
    for key, default in config_file.bind.items():
        _set(data, key, rebound(_get(data, key) or default, address))
    for key, value in config_file.set.items():
        text = value.format(ip=address, root=pod_root) if isinstance(value, str) else value
        _set(data, key, text)
    return yaml.safe_dump(data)


def rebound(value: str, address: str) -> str:
    """A listening address moved to `address`; "0" and "" (switched off) stay as they are."""
    if value in ("", "0"):
        return value
    return f"{address}:{value.rpartition(':')[2]}"


def _flag_value(args: list[str], flag: str) -> str | None:
    """Value of the last `--flag=value`, `-flag=value` or `--flag value`; "true" for a bare flag at the end."""
    value = None
    name = flag.lstrip("-")
    for index, arg in enumerate(args):
        if match := re.fullmatch(rf"--?{re.escape(name)}(?:=(.*))?", arg, re.DOTALL):
            value = match.group(1)
            if value is None:
                following = args[index + 1] if index + 1 < len(args) else "true"
                value = "true" if following.startswith("-") else following
    return value


def _with_flag(args: list[str], flag: str, value: str) -> list[str]:
    """`args` with the flag set once, at the end."""
    name = flag.lstrip("-")
    kept: list[str] = []
    skip_value = False
    for arg in args:
        if skip_value and not arg.startswith("-"):
            skip_value = False
            continue
        skip_value = False
        match = re.fullmatch(rf"--?{re.escape(name)}(=.*)?", arg, re.DOTALL)
        if match is None:
            kept.append(arg)
        elif match.group(1) is None:
            skip_value = value not in ("true", "false")
    return [*kept, f"{flag}={value}"]


def _get(data: Mapping[str, Any], dotted: str) -> Any:
    for part in dotted.split("."):
        data = data.get(part) if isinstance(data, Mapping) else None  # type: ignore[assignment]
    return data


def _set(data: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for part in parents:
        data = data.setdefault(part, {})
    data[last] = value
