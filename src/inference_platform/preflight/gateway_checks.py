"""The checks of what an inventory names and somebody else made: a Gateway, issuers of cert-manager."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from inference_platform.cluster.objects import Object
from inference_platform.findings import WARNING
from inference_platform.models.rules.cluster import admits
from inference_platform.platform.gateway import BY_ISSUER, EXTERNAL, PLATFORM_ISSUER, SELF_SIGNED_ISSUER
from inference_platform.preflight.registry import Objection, Scene, check
from inference_platform.preflight.snapshot import dig, place

GATEWAYS, ISSUERS, AUTHORITIES = "gateways", "issuers", "authorities"
#: The platform asks for an authority of a hundred years. One of fewer than these is renewed in the platform's life.
_LASTING_YEARS = 10
_CERT_MANAGER_CRD = "certificates.cert-manager.io"
_GATEWAY_CRD = "gateways.gateway.networking.k8s.io"


def parts_for(plan: Mapping[str, Any]) -> set[str]:
    """The parts of the snapshot that the checks here need for a plan: nothing is read that nobody asked for."""
    paths = {path for path, *_ in _issuers(plan)}
    return {
        *({GATEWAYS} if plan["gateway"]["ownership"] == EXTERNAL else ()),
        *({ISSUERS} if paths else ()),
        *({AUTHORITIES} if _AUTHORITY in paths else ()),
    }


@check("IP-PRE-070", "The Gateway of one's own is there and takes the routes of the models", reads=[GATEWAYS, "crds"])
def own_gateway(scene: Scene) -> Iterator[Objection]:
    wanted = scene.plan["gateway"]
    if wanted["ownership"] != EXTERNAL:
        return
    gateway = _named(scene.seen.of(GATEWAYS), wanted["namespace"], wanted["name"])
    if gateway is None:
        there = [place(item) for item in scene.seen.of(GATEWAYS)]
        served = _serves(scene, _GATEWAY_CRD)
        yield Objection(
            "gateway.external",
            f"Gateway {wanted['namespace']}/{wanted['name']}",
            ", ".join(there) or ("no Gateway" if served else "no Gateway API yet"),
            "Correct name and namespace, or make the Gateway."
            if served
            else "Make it as soon as the layer gateway_api is laid; the run waits.",
            "" if served else WARNING,
        )
        return
    listeners = [item for item in dig(gateway, "spec", "listeners", default=[]) if item["protocol"] in _HTTP]
    if not listeners:
        yield Objection(place(gateway), "a listener of protocol HTTP or HTTPS", "none", "Give it one.")
        return
    for namespace in scene.model_namespaces:
        known = scene.labels_of(namespace)
        if not any(admits(item, wanted["namespace"], namespace, known) for item in listeners):
            yield Objection(
                place(gateway),
                f"a listener that admits routes of namespace {namespace}",
                "; ".join(f"{item['name']}: {_admission(item)}" for item in listeners),
                "Set gateway.namespace_labels to the labels that its allowedRoutes select, or change allowedRoutes.",
            )


_HTTP = ("HTTP", "HTTPS")


def _admission(listener: Object) -> str:
    found = dig(listener, "allowedRoutes", "namespaces", default={})
    wanted = dig(found, "selector", "matchLabels", default={})
    shown = ", ".join(f"{name}={value}" for name, value in sorted(wanted.items()))
    return f"{found.get('from', 'Same')}{f' ({shown})' if shown else ''}"


@check("IP-PRE-071", "Issuers that the inventory names are there and sign what they are asked for", reads=[ISSUERS])
def issuers(scene: Scene) -> Iterator[Objection]:
    for path, kind, namespace, name in _issuers(scene.plan):
        issuer = _of_the_platform(kind, name) or _named(
            [item for item in scene.seen.of(ISSUERS) if item["kind"] == kind], namespace, name
        )
        if issuer is None:
            yield _missing(scene, path, f"{kind} {f'{namespace}/' if namespace else ''}{name}")
            continue
        conditions = dig(issuer, "status", "conditions", default=[])
        ready: Object = next((item for item in conditions if item["type"] == "Ready"), {})
        if ready.get("status") != "True":
            found = ready.get("message") or "no condition Ready"
            yield Objection(place(issuer), "Ready", found, "Look at `kubectl describe`.")
        yield from (_of_authority if path == _AUTHORITY else _of_gateway)(scene, issuer)


_OF_HTTP01 = 80


@check("IP-PRE-072", "The authority below an issuer of one's own lasts", reads=[AUTHORITIES], severity=WARNING)
def authority(scene: Scene) -> Iterator[Objection]:
    """cert-manager renews one that ends, with another key, and nobody but a run brings that to the gateway."""
    for item in scene.seen.of(AUTHORITIES):
        times = dig(item, "status", default={})
        ours = item["metadata"]["namespace"] == scene.plan["namespaces"]["cert_manager"]
        if not ours or "notAfter" not in times or _years(times["notBefore"], times["notAfter"]) >= _LASTING_YEARS:
            continue
        renewed = times.get("renewalTime", times["notAfter"])
        yield Objection(
            place(item),
            f"an authority that lasts {_LASTING_YEARS} years or more",
            f"one that ends {times['notAfter']}; cert-manager makes another, with a new key, on {renewed}",
            "Have the issuer allow a longer one. Or renew it yourself before that day and run site.yml at once: until "
            "then requests to models fail whose certificate the new one has signed (docs/gateway.md).",
        )


def _years(begin: str, end: str) -> float:
    """The time between two stamps of Kubernetes, in years."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)) / timedelta(days=365)


_AUTHORITY, _GATEWAY = "certificate_authority.issuer", "gateway.https.issuer"


def _issuers(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(setting, kind, namespace, name) of the issuers that are not what the setting defaults to."""
    https = plan["gateway"]["https"]
    wanted = [(_AUTHORITY, plan["authority"]["issuer"], plan["namespaces"]["cert_manager"], SELF_SIGNED_ISSUER)]
    if https["certificate"] == BY_ISSUER:
        wanted.append((_GATEWAY, https["issuer"], plan["gateway"]["namespace"], PLATFORM_ISSUER))
    for path, issuer, namespace, default in wanted:
        if issuer != default:
            yield path, issuer["kind"], namespace if issuer["kind"] == "Issuer" else "", issuer["name"]


def _of_the_platform(kind: str, name: str) -> Object | None:
    """The issuer of self-signed certificates as the platform makes it, be it there already or not."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    if {"kind": kind, "name": name} != SELF_SIGNED_ISSUER:
        return None
    return {"kind": kind, "metadata": {"name": name}, "spec": {"selfSigned": {}}, "status": ready}


def _serves(scene: Scene, crd: str) -> bool:
    return any(item["metadata"]["name"] == crd for item in scene.seen.of("crds"))


def _missing(scene: Scene, path: str, name: str) -> Objection:
    """Before cert-manager is there nobody can have made an issuer, so that is only told."""
    served = _serves(scene, _CERT_MANAGER_CRD)
    there = ", ".join(map(place, scene.seen.of(ISSUERS)))
    return Objection(
        path,
        name,
        there or ("no issuer" if served else "no cert-manager yet"),
        "Correct its kind and name, or make it." if served else "Make it as soon as cert-manager runs; the run waits.",
        "" if served else WARNING,
    )


def _of_authority(_: Scene, issuer: Object) -> Iterator[Objection]:
    if "acme" in issuer.get("spec", {}):
        yield Objection(
            place(issuer),
            "an issuer that signs authorities",
            "one of ACME, which signs servers only",
            "Name an issuer of type CA, Vault or self-signed in certificate_authority.issuer, or none.",
        )


def _of_gateway(scene: Scene, issuer: Object) -> Iterator[Objection]:
    spec = issuer.get("spec", {})
    if "selfSigned" in spec:
        yield Objection(
            place(issuer),
            "an issuer whose authority clients know",
            "one of self-signed certificates",
            "Give every client the certificate itself (and again at each renewal), or use an issuer with an authority.",
            WARNING,
        )
    wildcards = [name for name in scene.plan["gateway"]["https"]["hostnames"] if name.startswith("*.")]
    solvers = dig(spec, "acme", "solvers", default=[])
    http = scene.plan["gateway"]["http"]
    by_http = "acme" in spec and not any("dns01" in item for item in solvers)
    if by_http and not (http["enabled"] and http["port"] == _OF_HTTP01):
        yield Objection(
            place(issuer),
            f"a plain HTTP listener on port {_OF_HTTP01}, where ACME asks for http01",
            f"port {http['port']}" if http["enabled"] else "none",
            "Enable gateway.http with that port, or add a dns01 solver to the issuer. (If something in front of the "
            "gateway leads there, nothing is wrong.)",
            WARNING,
        )
    if wildcards and by_http:
        yield Objection(
            place(issuer),
            f"a dns01 solver for {', '.join(wildcards)}",
            "solvers by http01 only",
            "Add a dns01 solver to the issuer, or list the names one by one.",
        )


def _named(objects: list[Object], namespace: str, name: str) -> Object | None:
    for item in objects:
        if (dig(item, "metadata", "namespace", default=""), item["metadata"]["name"]) == (namespace, name):
            return item
    return None
