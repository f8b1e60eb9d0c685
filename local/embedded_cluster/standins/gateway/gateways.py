"""Status of a Gateway and its listeners (sections 2.2 to 2.4)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from embedded_cluster.standins.gateway.classes import UNMANAGED
from embedded_cluster.standins.gateway.conditions import Verdict, good, merged
from embedded_cluster.standins.gateway.objects import child_name, is_managed
from embedded_cluster.standins.gateway.routes import Problem, listener_kinds
from embedded_cluster.standins.gateway.selectors import reference_granted
from embedded_cluster.standins.gateway.settings import Settings
from embedded_cluster.standins.gateway.snapshot import Key, Object, Snapshot, generation_of

ALPHA_SWITCH = "PILOT_ENABLE_ALPHA_GATEWAY_API"
NOTHING_WRONG = "No errors found"


@dataclass(frozen=True)
class SeenEndpoints:
    """Whether a Service had an endpoint when it was last looked at.

    A new endpoint is noticed at once. A lost one is noticed only when the Service itself changes next, so
    Programmed=True outlives the pods.
    """

    service_version: str
    present: bool


@dataclass
class Assignment:
    """What came of assigning the Gateway to its Services."""

    internal: list[str] = field(default_factory=list)  # host:port
    external: list[str] = field(default_factory=list)  # load balancer addresses
    pending: set[str] = field(default_factory=set)  # hosts whose load balancer has no address
    warnings: list[str] = field(default_factory=list)
    usable: bool = True

    def warn(self, text: str, *, usable: bool = True) -> None:
        """Note a warning once."""
        if text not in self.warnings:
            self.warnings.append(text)
        self.usable = self.usable and usable


def look_at_endpoints(service: Object, snapshot: Snapshot, last: SeenEndpoints | None) -> SeenEndpoints:
    """Endpoints of a Service: pods that it selects and that have an IP, ready or not."""
    version = service["metadata"].get("resourceVersion", "")
    present = _has_endpoint(service, snapshot)
    if last is not None and last.service_version == version:
        present = present or last.present
    return SeenEndpoints(version, present)


def _has_endpoint(service: Object, snapshot: Snapshot) -> bool:
    selector, namespace = service["spec"].get("selector") or {}, service["metadata"]["namespace"]
    if not selector:
        return False
    for (pod_namespace, _), pod in snapshot.objects.get("Pod", {}).items():
        status, labels = pod.get("status") or {}, pod["metadata"].get("labels") or {}
        finished = status.get("phase") in ("Succeeded", "Failed")
        if pod_namespace == namespace and status.get("podIP") and not finished and selector.items() <= labels.items():
            return True
    return False


def service_hosts(gateway: Object, settings: Settings) -> tuple[list[str], Problem | None]:
    """(host names of the Services that carry the Gateway, what was wrong with the addresses asked for)."""
    namespace = gateway["metadata"]["namespace"]
    if is_managed(gateway):
        return [f"{child_name(gateway)}.{namespace}.svc.{settings.domain}"], None
    hosts, skipped = [], []
    for address in gateway["spec"]["addresses"]:
        if address.get("type", "Hostname") != "Hostname":
            skipped.append(address["value"])
        else:
            value = address["value"]
            hosts.append(value if "." in value else f"{value}.{namespace}.svc.{settings.domain}")
    if skipped:
        text = f"only Hostname is supported, ignoring [{' '.join(skipped)}]"
        return hosts, Problem("UnsupportedAddress", text)
    return hosts, None


def assign(
    gateway: Object,
    hosts: Iterable[str],
    snapshot: Snapshot,
    settings: Settings,
    endpoints: Mapping[Key, SeenEndpoints],
) -> Assignment:
    """Resolves the Gateway's Services: existence, ports, endpoints and load balancer addresses."""
    result = Assignment()
    ports = sorted({listener["port"] for listener in gateway["spec"]["listeners"]})
    for host in hosts:
        service = _service_of(host, gateway["metadata"]["namespace"], snapshot, settings, result)
        if service is None:
            continue
        key = service["metadata"]["namespace"], service["metadata"]["name"]
        seen = endpoints.get(key)
        if seen is None or not seen.present:
            result.warn(f'no instances found for hostname "{host}"')
            continue
        offered = {port["port"]: port.get("targetPort", port["port"]) for port in service["spec"].get("ports") or []}
        for port in ports:
            _assign_port(result, service, host, port, offered)
    result.internal.sort()
    return result


def _service_of(host: str, namespace: str, snapshot: Snapshot, settings: Settings, result: Assignment) -> Object | None:
    """The Service of a host name in the Gateway's own namespace."""
    name, _, rest = host.partition(".")
    found_namespace = rest.removesuffix(f".svc.{settings.domain}")
    service = snapshot.get("Service", found_namespace, name) if found_namespace != rest else None
    if service is None:
        result.warn(f'hostname "{host}" not found', usable=False)
    elif found_namespace != namespace:
        text = f'hostname "{host}" not found in namespace "{namespace}", but it was found in namespace(s) '
        result.warn(f'{text}["{found_namespace}"]', usable=False)
        return None
    return service


def _assign_port(result: Assignment, service: Object, host: str, port: int, offered: Mapping[int, Any]) -> None:
    if port not in offered:
        hints = sorted(number for number, target in offered.items() if target == port)
        text = f'port {port} not found for hostname "{host}"'
        if hints:
            text += (
                " (hint: the service port should be specified, not the workload port. "
                f"Did you mean one of these ports: [{' '.join(map(str, hints))}]?)"
            )
        result.warn(text, usable=bool(hints))
        return
    result.internal.append(f"{host}:{port}")
    if service["spec"].get("type") != "LoadBalancer":
        return
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    for entry in ingress:
        address = entry.get("ip") or entry.get("hostname")
        if address and address not in result.external:
            result.external.append(address)
    if not ingress:
        result.pending.add(host)
        result.warn(f'address pending for hostname "{host}"')


def gateway_status(
    gateway: Object,
    controller: str,
    snapshot: Snapshot,
    settings: Settings,
    endpoints: Mapping[Key, SeenEndpoints],
    attached: Mapping[tuple[Key, str], int],
    now: str,
) -> dict[str, Any]:
    """The whole status of a Gateway of one of istiod's classes."""
    if controller == UNMANAGED:
        return _remote_status(gateway, now)
    status = dict(gateway.get("status") or {})
    hosts, problem = service_hosts(gateway, settings)
    assignment = assign(gateway, hosts, snapshot, settings, endpoints)
    accepted = (
        Verdict("Accepted", "False", problem.reason, problem.message)
        if problem
        else good("Accepted", "Accepted", "Resource accepted")
    )
    verdicts = [accepted, _programmed(hosts, assignment)]
    status["conditions"] = merged(status.get("conditions") or [], verdicts, generation_of(gateway), now)
    addresses = assignment.external or _internal_hosts(assignment)
    if addresses:  # never removed again, only replaced
        status["addresses"] = [_address(value) for value in addresses]
    known = {entry["name"]: entry for entry in status.get("listeners") or []}
    key = gateway["metadata"]["namespace"], gateway["metadata"]["name"]
    status["listeners"] = [
        listener_status(
            gateway, listener, known.get(listener["name"]), attached.get((key, listener["name"]), 0),
            snapshot, settings, now,
        )
        for listener in gateway["spec"]["listeners"]
    ]  # fmt: skip
    return status


def _remote_status(gateway: Object, now: str) -> dict[str, Any]:
    before = gateway.get("status") or {}
    verdicts = [
        good("Accepted", "Accepted", "Resource accepted"),
        good("Programmed", "Programmed", "This Gateway is remote; Istio will not program it"),
    ]
    status: dict[str, Any] = {
        "conditions": merged(before.get("conditions") or [], verdicts, generation_of(gateway), now)
    }
    if gateway["spec"].get("addresses"):
        status["addresses"] = gateway["spec"]["addresses"]
    return status


def _programmed(hosts: list[str], assignment: Assignment) -> Verdict:
    services = joined(assignment.internal)
    if not hosts:
        return Verdict("Programmed", "False", "UnsupportedAddress", "Failed to assign to any requested addresses")
    if assignment.warnings:
        reason = "AddressNotAssigned" if assignment.usable else "AddressNotUsable"
        start = "Failed to assign to any requested addresses"
        if services:
            start = f"Assigned to service(s) {services}, but failed to assign to all requested addresses"
        return Verdict("Programmed", "False", reason, f"{start}: {'; '.join(assignment.warnings)}")
    text = f"Resource programmed, assigned to service(s) {services}" if services else "Resource programmed"
    return good("Programmed", "Programmed", text)


def joined(words: list[str]) -> str:
    """`A`, `A and B`, `A, B, and C`."""
    if len(words) < 3:
        return " and ".join(words)
    return f"{', '.join(words[:-1])}, and {words[-1]}"


def _internal_hosts(assignment: Assignment) -> list[str]:
    hosts = dict.fromkeys(entry.rpartition(":")[0] for entry in assignment.internal)
    return [host for host in hosts if host not in assignment.pending]


def _address(value: str) -> dict[str, str]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return {"type": "Hostname", "value": value}
    return {"type": "IPAddress", "value": value}


def listener_status(
    gateway: Object,
    listener: Object,
    before: Object | None,
    attached: int,
    snapshot: Snapshot,
    settings: Settings,
    now: str,
) -> dict[str, Any]:
    """Status of one listener; it is Programmed whether or not the Gateway is."""
    kinds, kinds_valid = listener_kinds(listener)
    verdicts = {
        "Accepted": good("Accepted", "Accepted", NOTHING_WRONG),
        "Conflicted": good("Conflicted", "NoConflicts", NOTHING_WRONG, status="False"),
        "Programmed": good("Programmed", "Programmed", NOTHING_WRONG),
        "ResolvedRefs": good("ResolvedRefs", "ResolvedRefs", NOTHING_WRONG),
    }
    if tls := tls_problem(gateway, listener, snapshot):
        verdicts["ResolvedRefs"] = Verdict("ResolvedRefs", "False", tls.reason, tls.message)
        verdicts["Programmed"] = Verdict("Programmed", "False", "Invalid", "Bad TLS configuration")
    if unsupported := protocol_problem(listener["protocol"], settings):
        verdicts["Accepted"] = Verdict("Accepted", "False", "UnsupportedProtocol", unsupported)
    if not kinds_valid:
        verdicts["ResolvedRefs"] = Verdict("ResolvedRefs", "False", "InvalidRouteKinds", "Invalid route kinds")
    existing = (before or {}).get("conditions") or []
    return {
        "name": listener["name"],
        "attachedRoutes": attached,
        "supportedKinds": kinds,
        "conditions": merged(existing, verdicts.values(), generation_of(gateway), now),
    }


def protocol_problem(protocol: str, settings: Settings) -> str:
    """Why the protocol cannot be served; empty when it can."""
    if protocol in ("HTTP", "HTTPS") or (protocol in ("TCP", "TLS") and settings.alpha_protocols):
        return ""
    if protocol in ("TCP", "TLS"):
        return f'protocol "{protocol}" is supported, but only when {ALPHA_SWITCH}=true is configured'
    return f'protocol "{protocol}" is unsupported'


def tls_problem(gateway: Object, listener: Object, snapshot: Snapshot) -> Problem | None:
    """What is wrong with the certificate of a listener that terminates TLS."""
    tls = listener.get("tls")
    if not tls or tls.get("mode", "Terminate") != "Terminate":
        return None
    references = tls.get("certificateRefs") or []
    if len(references) != 1:
        return Problem("InvalidCertificateRef", "exactly 1 certificateRefs should be present for TLS termination")
    reference, own = references[0], gateway["metadata"]["namespace"]
    namespace, name = reference.get("namespace", own), reference["name"]
    shown = f"{reference.get('group', '')}/{reference.get('kind', 'Secret')}/{name}.{reference.get('namespace', '')}"
    if (reference.get("group", ""), reference.get("kind", "Secret")) != ("", "Secret"):
        text = f"invalid certificate reference {shown}, only secret is allowed"
        return Problem("InvalidCertificateRef", text)
    secret = snapshot.get("Secret", namespace, name)
    if secret is None:
        text = f"invalid certificate reference {shown}, secret {namespace}/{name} not found"
        return Problem("InvalidCertificateRef", text)
    keys = sorted(secret.get("data") or {})
    if not {"tls.crt", "tls.key"} <= set(keys):
        expected = "didn't have expected keys (cert and key) or (tls.crt and tls.key)"
        text = f"invalid certificate reference {shown}, found secret, but {expected}; found: {', '.join(keys)}"
        return Problem("InvalidCertificateRef", text)
    granted = namespace == own or reference_granted(
        snapshot, kind="Gateway", namespace=own, to_group="", to_kind="Secret", to_namespace=namespace, to_name=name
    )
    if not granted:
        return Problem(
            "RefNotPermitted",
            f'certificateRef {name}/{namespace} not accessible to a Gateway in namespace "{own}" '
            "(missing a ReferenceGrant?)",
        )
    return None
