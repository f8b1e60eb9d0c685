"""Stand-ins for the charts that others publish, and a registry on loopback that has them.

They are written for these tests: names of charts, values, objects and images are those of the real ones, as far as the
catalogue and the gates know them; what the objects say comes from the stand-ins of the embedded cluster.  KServe's
controller there is Red Hat's build, so that chart sets the variables that build asks for.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from embedded_cluster.standins.templates import render_documents

from tests.support.oci_registry import Registry

Object = dict[str, Any]
PRESETS = Path(__file__).parent / "published" / "presets.yml"
NAMESPACE = "((.Release.Namespace))"
_ISTIO_ENV = (
    "ENABLE_GATEWAY_API_INFERENCE_EXTENSION",
    "PILOT_ENABLE_GATEWAY_API",
    "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER",
    "PILOT_ENABLE_GATEWAY_API_STATUS",
)


@dataclass(frozen=True)
class Content:
    """A chart: its version, templates, values, the CRDs in its folder ``crds``, and further files."""

    version: str
    templates: list[Object]
    values: Mapping[str, Any]
    crds: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()


def contents(crds: Path) -> dict[str, Content]:
    """Every chart of the distribution, by name; ``crds`` is the folder with CRDs of the embedded cluster."""
    return {
        "base": Content("1.28.10", _crds(crds, "istio"), {"defaultRevision": "default"}),
        "cert-manager": Content("v1.18.4", _cert_manager(crds), {"crds": {"enabled": False}}),
        "istiod": Content("1.28.10", _istiod(), {"global": {"configValidation": True}}),
        "kserve-llmisvc-crd": Content("v0.17.0", _crds(crds, "kserve-llmisvc"), {}),
        "kserve-llmisvc-resources": Content("v0.17.0", _kserve(crds), {"kserve": {"version": "v0.17.0"}}),
        "kserve-runtime-configs": Content(
            "v0.17.0", [], {"kserve": {"llmisvcConfigs": {"enabled": False}}}, files=(PRESETS,)
        ),
        "lws": Content("0.8.0", _lws(), {"image": {"manager": {"tag": "main"}}}, crds=_files(crds / "lws")),
    }


def write(folder: Path, crds: Path) -> dict[str, Path]:
    """The charts as folders below ``folder``, by name."""
    found = {}
    for name, content in contents(crds).items():
        chart = found[name] = folder / name
        (chart / "templates").mkdir(parents=True)
        metadata = {"apiVersion": "v2", "name": name, "version": content.version, "appVersion": content.version}
        (chart / "Chart.yaml").write_text(yaml.safe_dump(metadata))
        (chart / "values.yaml").write_text(yaml.safe_dump(dict(content.values)))
        for kind, files in (("crds", content.crds), ("files", content.files)):
            for file in files:
                (chart / kind).mkdir(exist_ok=True)
                (chart / kind / file.name).write_bytes(file.read_bytes())
        (chart / "templates" / "all.yaml").write_text(_template(name, content))
    return found


def push(charts: Mapping[str, Path], helm: str, registry: Registry, path: str = "charts") -> dict[str, str]:
    """Packages the charts and pushes them to a registry; the sha256 of each archive by name."""
    found = {}
    for name, chart in charts.items():
        place = chart.parent / "packages" / name
        run(helm, "package", str(chart), "--destination", str(place))
        (archive,) = place.glob("*.tgz")
        run(helm, "push", str(archive), registry.oci(path), "--plain-http")
        found[name] = hashlib.sha256(archive.read_bytes()).hexdigest()
    return found


def run(*command: str) -> None:
    """Runs a program; fails the test with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def rendered(template: str, values: Mapping[str, Any]) -> list[Object]:
    """The objects of a stand-in; ((x)) in the values, which YAML can hold anywhere, becomes {{ x }} of Helm."""

    def for_helm(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("((", "{{ ").replace("))", " }}")
        if isinstance(value, dict):
            return {key: for_helm(item) for key, item in value.items()}
        return [for_helm(item) for item in value] if isinstance(value, list) else value

    return [for_helm(obj) for obj in render_documents(template, values)]


def _template(name: str, content: Content) -> str:
    text = "---\n".join(yaml.safe_dump(obj, width=10_000, sort_keys=False) for obj in content.templates)
    if name == "cert-manager":  # its CRDs come only if asked for
        return "".join(_with_condition(obj) for obj in content.templates)
    if content.files:  # presets hold braces of their own
        return '{{ if .Values.kserve.llmisvcConfigs.enabled }}{{ .Files.Get "files/presets.yml" }}{{ end }}\n'
    return text


def _with_condition(obj: Object) -> str:
    text = "---\n" + yaml.safe_dump(obj, width=10_000, sort_keys=False)
    is_crd = obj["kind"] == "CustomResourceDefinition"
    return f"{{{{- if .Values.crds.enabled }}}}\n{text}{{{{- end }}}}\n" if is_crd else text


def _crds(folder: Path, name: str) -> list[Object]:
    return [json.loads(path.read_text()) for path in _files(folder / name)]


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*.json")))


def _image(values: str, name: str = "repository") -> str:
    return f"(({values}.{name})):(({values}.tag))"


def _cert_manager(crds: Path) -> list[Object]:
    images = {
        "cert-manager": _image(".Values.image"),
        "cert-manager-cainjector": _image(".Values.cainjector.image"),
        "cert-manager-webhook": _image(".Values.webhook.image"),
        "acmesolver": _image(".Values.acmesolver.image"),
    }
    values = {"operand_namespace": NAMESPACE, "images": images, "version": "1.18.4"}
    made = rendered("operands/cert_manager.yml.j2", values)
    for obj in made:
        if obj["kind"] == "Deployment":  # upstream's images know their program
            del obj["spec"]["template"]["spec"]["containers"][0]["command"]
    return [*_crds(crds, "cert-manager"), *(obj for obj in made if obj["kind"] != "Namespace")]


def _istiod() -> list[Object]:
    values = {
        "pilot": {
            "image": "((.Values.global.hub))/pilot:((.Values.global.tag))",
            "env": {name: f"((.Values.pilot.env.{name}))" for name in _ISTIO_ENV},
        },
        "global": {
            "hub": "((.Values.global.hub))",
            "tag": "((.Values.global.tag))",
            "istioNamespace": NAMESPACE,
        },
    }
    source = {"metadata": {"name": "default"}, "spec": {"namespace": NAMESPACE, "values": values}}
    mesh = {"rootNamespace": NAMESPACE, "trustDomain": "cluster.local"}
    made = rendered("operands/istiod.yml.j2", {"source": source, "mesh": mesh, "pull_secrets": []})
    return [obj for obj in made if obj["kind"] != "ValidatingWebhookConfiguration"]  # configValidation: false


def _lws() -> list[Object]:
    values = {
        "namespace": NAMESPACE,
        "env": {"RELATED_IMAGE_OPERAND_IMAGE": _image(".Values.image.manager")},
        "source": {"spec": {}},
        "versions": {"serving": "0", "metrics": "0", "config": "0"},
    }
    made = rendered("operands/lws.yml.j2", values)
    for obj in made:
        if obj["kind"] == "Deployment":
            obj["spec"]["replicas"] = 1
    of_openshift = {"ServiceMonitor", "lws-prometheus-k8s"}
    return [obj for obj in made if not {obj["kind"], obj["metadata"]["name"]} & of_openshift]


def _kserve(crds: Path) -> list[Object]:
    values = {
        "applications": NAMESPACE,
        "openshift": False,
        "gateway": "((.Values.kserve.controller.gateway.ingressGateway.kserveGateway))",
        "images": {
            "llmisvc_controller": _image(".Values.kserve.llmisvc.controller", "image"),
            "storage_initializer": _image(".Values.kserve.storage", "image"),
        },
        "parameters": {},
        "pki": {
            "CERT_MANAGER_CA_SECRET_NAME": "rhai-ca",
            "CERT_MANAGER_CA_SECRET_NAMESPACE": "cert-manager",
            "CERT_MANAGER_ISTIO_CA_CERT_PATH": "/var/run/secrets/opendatahub/ca.crt",
            "CERT_MANAGER_ISSUER_REF_KIND": "Issuer",
            "CERT_MANAGER_ISSUER_REF_NAME": "selfsigned-issuer",
        },
        "source": {"spec": {}},
        "version_prefix": "",
        "ca_annotations": {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/llmisvc-webhook-server"},
    }
    made = rendered("operands/kserve.yml.j2", values)
    for obj in made:
        if obj["kind"] == "Deployment":
            env = obj["spec"]["template"]["spec"]["containers"][0]["env"]
            next(item for item in env if item["name"].endswith("CONFIG_PREFIX"))["value"] = "kserve-"
        if obj["metadata"]["name"] == "inferenceservice-config":
            ingress = json.loads(obj["data"]["ingress"])
            obj["data"]["ingress"] = json.dumps(ingress | {"enableLLMInferenceServiceTLS": False, "urlScheme": "http"})
    issuer = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": {"name": "selfsigned-issuer"},
        "spec": {"selfSigned": {}},
    }
    of_red_hat = {"kserve-parameters", "odh-xks-kserve-parameters"}
    kept = [obj for obj in made if obj["metadata"]["name"] not in of_red_hat]
    return [*_crds(crds, "inference-extension"), issuer, *kept]
