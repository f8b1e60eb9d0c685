"""How this istiod was asked to run: command line, environment, and the ConfigMaps of its chart.

Unknown flags end the program as they do with the real one. Environment names and their defaults are those of
istiod 1.27 (section 0: the inference extension is off unless asked for, the gateway switches are on).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from embedded_cluster.standins.gateway.snapshot import CONTROLLER, Object, Snapshot
from embedded_cluster.standins.program import ProgramError

FLAGS = frozenset(
    {
        "caCertFile", "clusterAliases", "clusterID", "clusterRegistriesNamespace", "configDir", "ctrlz_address",
        "ctrlz_port", "domain", "grpcAddr", "httpAddr", "httpsAddr", "keepaliveInterval",
        "keepaliveMaxServerConnectionAge", "keepaliveTimeout", "kubeconfig", "kubernetesApiBurst",
        "kubernetesApiQPS", "log_as_json", "log_caller", "log_output_level", "log_rotate", "log_stacktrace_level",
        "log_target", "meshConfig", "monitoringAddr", "namespace", "networksConfig", "profile", "registries",
        "secureGRPCAddr", "shutdownDuration", "tls-cipher-suites", "tlsCertFile", "tlsKeyFile", "vklog",
    }
)  # fmt: skip
SWITCHES = {
    "gateway_api": ("PILOT_ENABLE_GATEWAY_API", True),
    "gateway_status": ("PILOT_ENABLE_GATEWAY_API_STATUS", True),
    "gateway_deployments": ("PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER", True),
    "gateway_classes": ("PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER", True),
    "copies_metadata": ("PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS", True),
    "alpha_protocols": ("PILOT_ENABLE_ALPHA_GATEWAY_API", False),
    "inference_extension": ("ENABLE_GATEWAY_API_INFERENCE_EXTENSION", False),
}
_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})


@dataclass(frozen=True)
class Settings:
    """The switches of this istiod."""

    pod_name: str = "istiod"
    namespace: str = "istio-system"
    revision: str = "default"
    domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    gateway_api: bool = True
    gateway_status: bool = True
    gateway_deployments: bool = True
    gateway_classes: bool = True
    copies_metadata: bool = True
    alpha_protocols: bool = False
    inference_extension: bool = False
    controller: str = CONTROLLER

    @classmethod
    def of_pod(cls, words: Sequence[str], env: Mapping[str, str]) -> Settings:
        """Settings from the command line (without the program's own name) and the environment.

        Raises ProgramError for what the real program would not start with.
        """
        flags = parse_flags(words)
        return cls(
            pod_name=env.get("POD_NAME") or cls.pod_name,
            namespace=flags.get("namespace") or env.get("POD_NAMESPACE") or cls.namespace,
            revision=env.get("REVISION") or cls.revision,
            domain=flags.get("domain") or cls.domain,
            cluster_id=env.get("CLUSTER_ID") or cls.cluster_id,
            controller=env.get("PILOT_GATEWAY_API_CONTROLLER_NAME") or cls.controller,
            **{name: _switch(env, variable, default) for name, (variable, default) in SWITCHES.items()},
        )

    @property
    def suffix(self) -> str:
        """What object names of a revision other than `default` end in."""
        return "" if self.revision == "default" else f"-{self.revision}"


@dataclass(frozen=True)
class ProxyValues:
    """What a gateway's pod takes from the values of the istiod chart."""

    image: str = "proxyv2"
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    log_level: str = "warning"
    component_log_level: str = "misc:error"
    output_level: str = "default:info"
    mesh_id: str = "cluster.local"
    trust_domain: str = "cluster.local"
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "2", "memory": "1Gi"},
        }
    )
    proxy_metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot, settings: Settings) -> ProxyValues:
        """Values from the ConfigMaps `istio-sidecar-injector` (key values) and `istio` (key mesh)."""
        injector = snapshot.get("ConfigMap", settings.namespace, f"istio-sidecar-injector{settings.suffix}")
        values = (_document(injector, "values").get("global")) or {}
        config = mesh_config(snapshot, settings)
        proxy = values.get("proxy") or {}
        image = proxy.get("image") or cls.image
        if "/" not in image:
            image = f"{values.get('hub') or 'docker.io/istio'}/{image}:{values.get('tag') or 'latest'}"
        trust_domain = config.get("trustDomain") or cls.trust_domain
        return cls(
            image=image,
            pull_policy=values.get("imagePullPolicy") or cls.pull_policy,
            pull_secrets=tuple(values.get("imagePullSecrets") or ()),
            log_level=proxy.get("logLevel") or cls.log_level,
            component_log_level=proxy.get("componentLogLevel") or cls.component_log_level,
            output_level=(values.get("logging") or {}).get("level") or cls.output_level,
            mesh_id=values.get("meshID") or trust_domain,
            trust_domain=trust_domain,
            resources=proxy.get("resources") or cls().resources,
            proxy_metadata=(config.get("defaultConfig") or {}).get("proxyMetadata") or {},
        )


def mesh_config(snapshot: Snapshot, settings: Settings) -> dict[str, Any]:
    """The mesh configuration, key mesh of ConfigMap `istio`."""
    return _document(snapshot.get("ConfigMap", settings.namespace, f"istio{settings.suffix}"), "mesh")


def parse_flags(words: Sequence[str]) -> dict[str, str]:
    """The flags of `pilot-discovery discovery ...`, as --name=value or --name value."""
    if not words or words[0] != "discovery":
        found = words[0] if words else ""
        raise ProgramError(f'unknown command "{found}" for "pilot-discovery" (expected discovery)')
    flags: dict[str, str] = {}
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-"):
            raise ProgramError(f'"discovery" accepts no arguments, found "{word}"')
        if name not in FLAGS:
            raise ProgramError(f"unknown flag: {word.partition('=')[0]}")
        if not equals and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        flags[name] = value
    return flags


def _switch(env: Mapping[str, str], name: str, default: bool) -> bool:
    """A boolean variable; text that is no boolean counts as the default, as in the real program."""
    value = env.get(name, "")
    return True if value in _TRUE else False if value in _FALSE else default


def _document(config_map: Object | None, key: str) -> dict[str, Any]:
    text = ((config_map or {}).get("data") or {}).get(key)
    if not text:
        return {}
    # The values are JSON, which is faster to read than YAML; the mesh configuration is YAML.
    parsed = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    return parsed if isinstance(parsed, dict) else {}
