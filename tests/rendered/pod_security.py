"""The "restricted" level of the Kubernetes Pod Security Standards, which includes "baseline", as a function.

Written from the published standard (kubernetes.io, Pod Security Standards), for Linux pods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ALLOWED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Returns why a pod spec would be refused in a namespace at level restricted; empty if it would not."""
    found = list(_pod_violations(pod))
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind, []):
            found += _container_violations(pod.get("securityContext", {}), container)
    return found


def _pod_violations(pod: Mapping[str, Any]) -> Iterator[str]:
    for setting in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(setting):
            yield f"{setting} is true"
    for volume in pod.get("volumes", []):
        for source in volume.keys() - {"name"} - ALLOWED_VOLUMES:
            yield f"volume {volume['name']} is of type {source}"
    for sysctl in pod.get("securityContext", {}).get("sysctls", []):
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']} is not a safe one"
    yield from _common_violations("pod", pod.get("securityContext", {}))


def _container_violations(pod_context: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    if context.get("privileged"):
        yield f"{name}: privileged is true"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if not context.get("runAsNonRoot", pod_context.get("runAsNonRoot")):
        yield f"{name}: runAsNonRoot is not true"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: capabilities.drop lacks ALL"
    for capability in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capability {capability} is added"
    profile = context.get("seccompProfile", pod_context.get("seccompProfile", {})).get("type")
    if profile not in PROFILES:
        yield f"{name}: seccompProfile is {profile}"
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount is {context['procMount']}"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"{name}: hostPort {port['hostPort']}"
    yield from _common_violations(name, context)


def _common_violations(where: str, context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0:
        yield f"{where}: runAsUser is 0"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{where}: seLinuxOptions {dict(selinux)}"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield f"{where}: appArmorProfile {context['appArmorProfile']}"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{where}: windowsOptions.hostProcess is true"
