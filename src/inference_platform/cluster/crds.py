"""Custom resource definitions: found in cache, mirror, URL or a folder, verified, and applied when they differ.

A CRD carries the sha256 of its file in the annotation `inference-platform.io/sha256`, so one list of metadata tells
what differs: an unchanged CRD is neither read from its source nor compared field by field (two of them hold a
megabyte each).  CRDs are never pruned here, and a version that objects are still stored in is never dropped.

Measured against kube-apiserver 1.34 with a CRD of 780 kB: server-side apply with a JSON body takes 1.1 s for a new
CRD, a plain create 0.8 s; but what is created that way belongs to an "Update" entry of our manager, which a later
apply would conflict with.  So all CRDs are applied, as JSON, several at a time.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from inference_platform.cluster import errors, redact
from inference_platform.cluster.apply import CREATE, UPDATE, ApplyResult, Change, ObjectError
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import STAMP, Object, Ref, same_content, stamp_of
from inference_platform.paths import expanded
from inference_platform.preflight.data import version_of

API_VERSION, KIND = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
_BUNDLE = "gateway.networking.k8s.io/bundle-version"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DOWNLOAD_SECONDS, _DOWNLOAD_ATTEMPTS = 30, 4


class CrdFileError(errors.ClusterError):
    """A CRD file is missing, cannot be downloaded, has another content than the lock says, or holds no such CRD."""


@dataclass(frozen=True)
class CrdFile:
    """One CRD and where its file comes from.

    name            "<plural>.<group>"
    sha256          of the file; what the live CRD's annotation is compared with
    read            gives the file's content (bytes); raises CrdFileError
    only_if_absent  leave an existing CRD alone, whoever made it
    shared_with     a field manager whose values give way to ours: an operator that this installer brings too
    """

    name: str
    sha256: str
    read: Callable[[], bytes] = field(compare=False)
    only_if_absent: bool = False
    shared_with: str = ""


def locate(
    set_name: str,
    files: Iterable[Mapping[str, Any]],
    *,
    directory: str | Path | None = None,
    mirror: str | None = None,
    cache: str | Path | None = None,
    shared_with: str = "",
) -> list[CrdFile]:
    """The CRD files of one set of the lock.

    files      entries of the plan: {name, url, sha256, only_if_absent?}
    shared_with  as of `CrdFile`, for all of them
    directory  when given, files are `<directory>/<set>/<name>.json` or `.yaml`, not verified (the directory
               holds another build of the same CRDs)
    mirror     base URL under which files lie at `<host>/<path>` of their URL; tried before the URL itself
    cache      folder for downloaded files, by sha256; default `$XDG_CACHE_HOME/inference-platform/crds`

    Folders may begin with ~ or name variables of the environment.
    Raises CrdFileError, also for a mirror with user and password in its URL, which would be in messages.
    """
    if mirror and "@" in urlsplit(mirror).netloc:
        raise CrdFileError(
            "platform_crd_mirror: expected a URL without credentials, found one with user or password. Take them out: "
            "use a web server that asks for none, or a copy of its files."
        )
    folder = expanded(cache) if cache else _default_cache()
    found = [
        _from_directory(expanded(directory) / set_name, entry) if directory else _from_lock(entry, mirror, folder)
        for entry in files
    ]
    return [replace(file, shared_with=shared_with) for file in found]


def apply_crds(
    cluster: Cluster,
    crds: Sequence[CrdFile | Object],
    *,
    check: bool = False,
    force: bool = False,
    workers: int = 8,
    labels: Mapping[str, str] | None = None,
) -> ApplyResult:
    """Applies the CRDs that are missing or come from another file; waits for nothing.

    crds    files from `locate`, or CRD objects (compared by their own hash)
    labels  put on each CRD that is applied
    force   takes over fields that other managers own with other values
    """
    wanted = [crd if isinstance(crd, CrdFile) else _from_object(crd) for crd in crds]
    live = {item["metadata"]["name"]: stamp_of(item) for item in cluster.list(API_VERSION, KIND, metadata_only=True)}
    due = [crd for crd in wanted if crd.name not in live or (live[crd.name] != crd.sha256 and not crd.only_if_absent)]
    result = ApplyResult()
    with ThreadPoolExecutor(max_workers=workers) as pool:

        def one(crd: CrdFile) -> Change | ObjectError | None:
            ref = Ref(API_VERSION, KIND, "", crd.name)
            try:
                return _apply_one(cluster, ref, crd, exists=crd.name in live, check=check, force=force, labels=labels)
            except errors.ClusterError as error:
                return ObjectError(ref, str(error))

        for outcome in pool.map(one, due):
            if isinstance(outcome, Change):
                result.changes.append(outcome)
            elif isinstance(outcome, ObjectError):
                result.errors.append(outcome)
    return result


def _apply_one(
    cluster: Cluster,
    ref: Ref,
    crd: CrdFile,
    *,
    exists: bool,
    check: bool,
    force: bool,
    labels: Mapping[str, str] | None,
) -> Change | ObjectError | None:
    wanted = prepare(parse(crd), crd.sha256, labels)
    if not exists:
        if not check:
            cluster.apply(wanted, force=force)
        return Change(ref, CREATE, after=_outline(wanted))
    live = cluster.get(API_VERSION, KIND, crd.name)
    if live is not None and (dropped := dropped_versions(wanted, live)):
        return ObjectError(ref, _dropped_message(ref, dropped, wanted, live))
    if live is not None and (newer := newer_bundle(wanted, live)):
        return ObjectError(ref, _downgrade_message(ref, newer, bundle_of(wanted)))
    after = _apply_over(cluster, wanted, crd.shared_with, force=force, check=check)
    if live is not None and same_content(live, after):
        return None
    return Change(ref, UPDATE, before=_outline(live) if live else None, after=_outline(after))


def _apply_over(cluster: Cluster, wanted: Object, shared_with: str, *, force: bool, check: bool) -> Object:
    """Applies a CRD; fields that only ``shared_with`` owns are taken.

    The operators of the platform apply CRDs that we bring before them. In an upgrade the older one still holds the
    values of its release (observed-operators.md 3.5), and the newer one will hold ours.
    """
    try:
        return cluster.apply(wanted, force=force, dry_run=check)
    except errors.Conflict as error:
        if {field.manager for field in error.fields()} != {shared_with}:
            raise
    return cluster.apply(wanted, force=True, dry_run=check)


def dropped_versions(wanted: Object, live: Object) -> list[str]:
    """Versions that objects are stored in (live status.storedVersions) and that the wanted CRD no longer has."""
    kept = {version["name"] for version in wanted["spec"]["versions"]}
    return sorted(set((live.get("status") or {}).get("storedVersions") or []) - kept)


def still_stored(wanted: Object, live: Object) -> list[str]:
    """Versions that objects are stored in and that the wanted CRD has, too."""
    kept = {version["name"] for version in wanted["spec"]["versions"]}
    return sorted(set((live.get("status") or {}).get("storedVersions") or []) & kept)


def way_to_forget(name: str, dropped: str, kept: Iterable[str]) -> str:
    """What to do before a CRD loses versions; the API server wants the one it stores in among ``kept``."""
    stays = list(kept)
    if not stays:
        return f"Apply a CRD {name} first that stores in a version of the new file and still has {dropped}."
    patch = json.dumps({"status": {"storedVersions": stays}})
    return (
        f"Rewrite the objects (`kubectl get {name} -A -o json | kubectl replace -f -`) and take {dropped} out of "
        f"status.storedVersions (`kubectl patch crd {name} --subresource=status --type=merge -p '{patch}'`)."
    )


def _dropped_message(ref: Ref, dropped: list[str], wanted: Object, live: Object) -> str:
    plural, group = wanted["spec"]["names"]["plural"], wanted["spec"]["group"]
    versions = ", ".join(dropped)
    return (
        f"{ref}: expected every version of status.storedVersions to stay, found that the new file drops {versions}. "
        f"Objects may still be stored as {versions} and would be lost. "
        f"{way_to_forget(f'{plural}.{group}', versions, still_stored(wanted, live))} Then re-run."
    )


def newer_bundle(wanted: Object, live: Object) -> str:
    """The bundle version of a live Gateway API CRD that is newer than the wanted one, else "" (operators.md 4.1)."""
    found, new = bundle_of(live), bundle_of(wanted)
    numbers, wanted_numbers = version_of(found), version_of(new)
    return found if numbers and wanted_numbers and numbers > wanted_numbers else ""


def bundle_of(crd: Object) -> str:
    """The bundle version of a Gateway API CRD, "" for others."""
    return str((crd["metadata"].get("annotations") or {}).get(_BUNDLE, ""))


def _downgrade_message(ref: Ref, found: str, wanted: str) -> str:
    return (
        f"{ref}: expected Gateway API {wanted} or older, found {found}. It is never downgraded: set "
        "ownership.gateway_api to auto or external, and the newer one is kept and used."
    )


def prepare(crd: Object, sha256: str, labels: Mapping[str, str] | None) -> Object:
    """A CRD as it is applied: without status, with the hash of its file and further labels."""
    metadata = {"name": crd["metadata"]["name"]}
    annotations = {**(crd["metadata"].get("annotations") or {}), STAMP: sha256}
    all_labels = {**(crd["metadata"].get("labels") or {}), **(labels or {})}
    return {
        "apiVersion": crd["apiVersion"],
        "kind": KIND,
        "metadata": {**metadata, "annotations": annotations, **({"labels": all_labels} if all_labels else {})},
        "spec": crd["spec"],
    }


def _outline(crd: Object) -> Object:
    """A CRD as it is shown in a diff: what it defines and from which file, without the schemas."""
    spec = crd["spec"]
    return {
        "apiVersion": crd["apiVersion"],
        "kind": KIND,
        "metadata": {"name": crd["metadata"]["name"], "annotations": {STAMP: stamp_of(crd)}},
        "spec": {
            "scope": spec.get("scope"),
            "versions": [
                {"name": v["name"], "served": v.get("served"), "storage": v.get("storage")} for v in spec["versions"]
            ],
        },
    }


# ---- sources ----------------------------------------------------------------------------------------------


def parse(crd: CrdFile) -> Object:
    """The CRD object with this name out of its file (JSON, or YAML with one or more documents)."""
    content = crd.read()
    try:
        if content.lstrip()[:1] == b"{":
            documents = [json.loads(content)]
        else:
            documents = list(yaml.load_all(content, Loader=_LOADER))
    except (ValueError, yaml.YAMLError) as error:
        found_error = type(error).__name__
        raise CrdFileError(f"The file of CRD {crd.name}: expected YAML or JSON, found {found_error}.") from None
    found = []
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == KIND:
            name = (document.get("metadata") or {}).get("name")
            if name == crd.name:
                return document
            found.append(str(name))
    raise CrdFileError(f"The file of CRD {crd.name}: expected a CRD of this name, found {', '.join(found) or 'none'}.")


def _from_object(crd: Object) -> CrdFile:
    content = json.dumps({**crd, "status": None}, sort_keys=True).encode()
    raw = json.dumps(crd).encode()
    return CrdFile(crd["metadata"]["name"], hashlib.sha256(content).hexdigest(), lambda: raw)


def _from_directory(folder: Path, entry: Mapping[str, Any]) -> CrdFile:
    name = str(entry["name"])
    path = next((p for suffix in ("json", "yaml") if (p := folder / f"{name}.{suffix}").exists()), None)
    if path is None:
        raise CrdFileError(
            f"CRD {name}: expected the file {folder / name}.json or .yaml (crd_directory), found neither. Complete "
            "the folder, or unset `crd_directory` to take CRDs from the URLs of the lock."
        )
    content = path.read_bytes()
    return CrdFile(name, hashlib.sha256(content).hexdigest(), lambda: content, bool(entry.get("only_if_absent")))


def _from_lock(entry: Mapping[str, Any], mirror: str | None, cache: Path) -> CrdFile:
    name, url, sha256 = str(entry["name"]), entry.get("url"), entry.get("sha256")
    if not url or not sha256:
        raise CrdFileError(
            f"CRD {name}: expected a url and a sha256 in the lock, found {entry.get('unpinned') or 'none'}. Set "
            "`crd_directory` to a folder that holds this CRD."
        )
    urls = [str(url)]
    if mirror:
        parts = urlsplit(str(url))
        urls.insert(0, f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}")
    return CrdFile(name, str(sha256), lambda: _fetch(name, urls, str(sha256), cache), bool(entry.get("only_if_absent")))


def _fetch(name: str, urls: list[str], sha256: str, cache: Path) -> bytes:
    """The file's content from the cache, or from the first URL that gives it; verified in each case."""
    cached = cache / sha256
    if cached.exists():
        content = cached.read_bytes()
        if hashlib.sha256(content).hexdigest() == sha256:
            return content
    failures = []
    for url in urls:
        try:
            content = download(url)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(redact.text(f"{url}: {error}"))
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == sha256:
            _store(cached, content)
            return content
        failures.append(f"{url}: expected sha256 {sha256}, found {found}")
    raise CrdFileError(
        f"The file of CRD {name} could not be had: {'; '.join(failures)}. Check the network and the mirror; for a "
        "machine without internet set `crd_directory` to a folder with the files."
    )


def download(url: str) -> bytes:
    """What is behind a URL, asked for again after errors that pass.  Raises OSError, ValueError or HTTPException."""
    for attempt in range(1, _DOWNLOAD_ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=_DOWNLOAD_SECONDS) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if (error.code < 500 and error.code != 429) or attempt == _DOWNLOAD_ATTEMPTS:
                raise
        except (OSError, http.client.IncompleteRead):
            if attempt == _DOWNLOAD_ATTEMPTS:
                raise
        time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def _default_cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "inference-platform" / "crds"
