"""The gateway and the certificate authority: what an inventory says about them, checked and complete.

Names and certificates follow platform.md 4; what a Gateway of another owner needs is observed-gateway.md 5.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_platform.findings import Finding, show
from inference_platform.problems import Reporter
from inference_platform.schema import load_schema, or_list

MANAGED, EXTERNAL = "managed", "external"
#: How the gateway's certificate comes about: asked for, filled by the user, or not needed.
BY_ISSUER, BY_SECRET, WITHOUT = "issuer", "secret", "none"

#: Made by the cloud manager, or by the pki layer in its place (platform.md 4.4).
PLATFORM_ISSUER = {"kind": "ClusterIssuer", "name": "rhai-ca-issuer"}
SELF_SIGNED_ISSUER = {"kind": "ClusterIssuer", "name": "opendatahub-selfsigned-issuer"}
SERVING_SECRET = "inference-gateway-cert-secret"
#: Metrics of the agent, health, which is in the gateway's Service too, and metrics (observed-gateway.md 2.1).
PORTS_OF_THE_PROXY = (15020, 15021, 15090)

#: Where the listener of OpenShift's Gateway is set up.
_LISTENER_OF_OPENSHIFT = "What the listener can have otherwise is in inference_gateway_values, below openshift-gateway."

_ALLOWED = {"labelled": "Selector", "all": "All"}
_OF_ANY_GATEWAY = frozenset({"external", "namespace_labels"})
#: What only the chart of the platform's gateway takes: what it is, and the value that says nothing.
_OF_THE_OWN_CHART: Mapping[str, tuple[str, Any]] = {
    "gateway_load_balancer": ("load balancer", "default"),
    "inference_gateway_service_annotations": ("annotations of a Service", {}),
    "inference_gateway_values": ("values of a chart", {}),
}


def complete(written: Mapping[str, Any]) -> dict[str, Any]:
    """The setting ``gateway`` with the defaults of its schema; ``external``, ``issuer`` and ``secret`` have none."""
    return _with_defaults(written, load_schema("inventory")["properties"]["gateway"])


def _with_defaults(written: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(written)
    for name, part in described["properties"].items():
        if name in found or "default" in part:
            value = found.get(name, part.get("default"))
            found[name] = _with_defaults(value, part) if "properties" in part else value
        elif name in ("http", "https"):
            found[name] = _with_defaults({}, part)
    return found


def check(
    settings: Mapping[str, Any], own: tuple[str, str], report: Reporter, *, own_listeners: bool = False
) -> Iterator[Finding]:
    """What contradicts itself.

    ``own`` is (namespace, name) of the platform's Gateway. ``own_listeners``: its listeners and
    certificate are those of the provider, as on OpenShift.
    """
    written = settings.get("gateway") or {}
    if "external" in written:
        yield from _beside_external(settings, written, own, report)
    elif own_listeners:
        yield from _beside_the_providers(written, report)
    else:
        yield from _unused(written.get("https") or {}, report)
        yield from _listeners(complete(written), report)


def _beside_external(
    settings: Mapping[str, Any], written: Mapping[str, Any], own: tuple[str, str], report: Reporter
) -> Iterator[Finding]:
    named = written["external"]
    for path in sorted([("gateway", key) for key in written.keys() - _OF_ANY_GATEWAY]):
        yield report.error(
            "IP-PLT-010",
            path,
            "nothing about listeners beside gateway.external",
            show(written[path[1]]),
            f"Remove {'.'.join(path)}: a Gateway of your own is set up by you. Or remove gateway.external.",
        )
    for name, (what, unused) in _OF_THE_OWN_CHART.items():
        if settings.get(name, unused) != unused:
            yield report.error(
                "IP-PLT-010",
                (name,),
                f"no {what} beside gateway.external",
                show(settings[name]),
                f"Remove {name}: a Gateway of your own brings its own. Or remove gateway.external.",
            )
    if (named["namespace"], named["name"]) == own:
        yield report.error(
            "IP-PLT-011",
            ("gateway", "external"),
            "a Gateway of your own",
            f"{'/'.join(own)}, the platform's",
            "Remove gateway.external to use the platform's gateway, or name another Gateway.",
        )


def _beside_the_providers(written: Mapping[str, Any], report: Reporter) -> Iterator[Finding]:
    (label,) = complete({})["namespace_labels"].items()
    admitted = f"Namespaces with the label {'='.join(label)} may attach routes; those of models have it."
    instead = {"namespace_labels": admitted, "allowed_routes": admitted}
    for key in sorted(written):
        yield report.error(
            "IP-PLT-018",
            ("gateway", key),
            "nothing but gateway.external, since the provider makes listener and certificate",
            show(written[key]),
            f"Remove gateway.{key}. {instead.get(key, _LISTENER_OF_OPENSHIFT)}",
        )


def _unused(https: Mapping[str, Any], report: Reporter) -> Iterator[Finding]:
    """What is written for HTTPS while it is off: nobody writes it to have plain HTTP."""
    ignored = [key for key in ("hostnames", "issuer", "secret") if https.get(key)]
    if ignored and not https.get("enabled"):
        yield report.error(
            "IP-PLT-019",
            ("gateway", "https", "enabled"),
            f"true beside {or_list(ignored)}",
            show(https.get("enabled", False)),
            "Set gateway.https.enabled to true, or remove the rest.",
        )


def _listeners(gateway: Mapping[str, Any], report: Reporter) -> Iterator[Finding]:
    http, https = gateway["http"], gateway["https"]
    if not http["enabled"] and not https["enabled"]:
        yield report.error(
            "IP-PLT-012",
            ("gateway", "http", "enabled"),
            "at least one listener",
            "http and https disabled",
            "Enable one of them, or name a Gateway of your own in gateway.external.",
        )
    if http["redirect"] and not (http["enabled"] and https["enabled"]):
        missing = "https" if http["enabled"] else "http"
        yield report.error(
            "IP-PLT-013",
            ("gateway", "http", "redirect"),
            "both listeners",
            f"gateway.{missing}.enabled false",
            f"Set gateway.{missing}.enabled to true, or take redirect away.",
        )
    for name, listener in (("http", http), ("https", https)):
        if listener["enabled"] and listener["port"] in PORTS_OF_THE_PROXY:
            yield report.error(
                "IP-PLT-039",
                ("gateway", name, "port"),
                "a port that the gateway's proxy does not use itself",
                show(listener["port"]),
                f"Choose another one; the proxy has {or_list(list(map(str, PORTS_OF_THE_PROXY)))}.",
            )
    if https["enabled"]:
        yield from _https(http, https, report)


def _https(http: Mapping[str, Any], https: Mapping[str, Any], report: Reporter) -> Iterator[Finding]:
    if http["enabled"] and http["port"] == https["port"]:
        yield report.error(
            "IP-PLT-014",
            ("gateway", "https", "port"),
            "another port than that of http",
            f"{https['port']} for both",
            "Change one of them.",
        )
    if not https["hostnames"]:
        yield report.error(
            "IP-PLT-015",
            ("gateway", "https", "hostnames"),
            "at least one name that clients ask for",
            "none",
            "List the DNS names of the gateway: a client accepts only a certificate for the name it asked for.",
        )
    if "secret" in https and "issuer" in https:
        yield report.error(
            "IP-PLT-016",
            ("gateway", "https", "secret"),
            "a Secret that you fill, or an issuer that fills one",
            "both",
            "Remove gateway.https.secret or gateway.https.issuer.",
        )


#: Makers of the authority that have no cloud manager.
OPENSHIFT = "OpenShift"
_OWN_ISSUER = (
    "Set cloud_manager to none where the provider can do without, or remove certificate_authority.issuer and set "
    "gateway.https.issuer alone."
)
_OWN_CERTIFICATE = {
    OPENSHIFT: "Remove certificate_authority. A certificate of your own goes into a Secret beside the Gateway, which "
    "inference_gateway_values.openshift-gateway.https.secretName names, with serviceCA: false (docs/openshift.md).",
}


def check_authority(settings: Mapping[str, Any], maker: str, report: Reporter) -> Iterator[Finding]:
    """An authority below an issuer where somebody else (``maker``, "" for nobody) makes it, or below itself."""
    if "issuer" not in (settings.get("certificate_authority") or {}):
        return
    if not maker and authority(settings)["issuer"] == PLATFORM_ISSUER:
        yield report.error(
            "IP-PLT-030",
            ("certificate_authority", "issuer"),
            "an issuer that is there before the authority",
            f"{PLATFORM_ISSUER['kind']} {PLATFORM_ISSUER['name']}, which signs with this very authority",
            "Name an issuer of your own, or remove certificate_authority: the authority then signs itself.",
        )
    if maker:
        yield report.error(
            "IP-PLT-017",
            ("certificate_authority", "issuer"),
            f"no issuer, since {maker} makes the authority and takes every change of it back",
            "an issuer",
            _OWN_CERTIFICATE.get(maker, _OWN_ISSUER),
        )


def plan(settings: Mapping[str, Any], own: tuple[str, str]) -> dict[str, Any]:
    """What the plan says: ownership, namespace, name, http, https, allowed_from, namespace_labels.

    ``own`` is (namespace, name) of the platform's Gateway.  ``https.certificate`` says how the certificate comes about.
    """
    written = complete(settings.get("gateway") or {})
    external = written.get("external")
    namespace, name = (external["namespace"], external["name"]) if external else own
    https = written["https"]
    issuer = {"kind": "ClusterIssuer", **https.get("issuer", PLATFORM_ISSUER)}
    return {
        "ownership": EXTERNAL if external else MANAGED,
        "namespace": namespace,
        "name": name,
        "http": written["http"],
        "https": {
            "enabled": https["enabled"],
            "port": https["port"],
            "hostnames": list(https["hostnames"]),
            "secret": https.get("secret", SERVING_SECRET),
            "issuer": issuer,
            "certificate": (BY_SECRET if "secret" in https else BY_ISSUER) if https["enabled"] else WITHOUT,
            # No other issuer knows these names to be ours; one of ACME refuses the whole certificate for them.
            "internal_names": issuer == PLATFORM_ISSUER,
        },
        "allowed_from": _ALLOWED[written["allowed_routes"]],
        "namespace_labels": dict(written["namespace_labels"]),
    }


def authority(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the plan says of the authority: the issuer that signs it."""
    issuer = (settings.get("certificate_authority") or {}).get("issuer", SELF_SIGNED_ISSUER)
    return {"issuer": {"kind": "ClusterIssuer", **issuer}}
