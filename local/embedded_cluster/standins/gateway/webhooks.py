"""istiod's admission webhooks: it serves them and completes the configurations that its chart made (section 1.1).

The certificate authority goes into every webhook of both configurations. The validator's failurePolicy goes from
Ignore to Fail once istiod has seen its own invalid object refused through the API server. What is validated here is
that one rule (a Gateway of networking.istio.io needs a server); injection is answered without a change.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from embedded_cluster.kube import ApiError
from embedded_cluster.standins.gateway.mesh_ca import Authority
from embedded_cluster.standins.gateway.settings import Settings

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

PORT = 15017
CERTIFICATE_FOLDER = "/var/run/secrets/istio-dns"
API_VERSION = "admissionregistration.k8s.io/v1"
PROBE_RETRY_SECONDS = 0.5
NO_SERVERS = "configuration is invalid: gateway must have at least one server"


async def serve(pod: PodEnvironment, settings: Settings, authority: Authority, tasks: asyncio.TaskGroup) -> None:
    """Open the webhook port and keep both configurations complete from then on."""
    certificate, key = authority.serving_pair([f"istiod{settings.suffix}.{settings.namespace}.svc"])
    folder = pod.mounted(CERTIFICATE_FOLDER)
    files = folder / "cert-chain.pem", folder / "key.pem"
    for path, text in zip(files, (certificate, key), strict=True):
        path.touch(mode=0o600)
        path.write_text(text)
    application = web.Application(client_max_size=4 * 1024 * 1024)
    application.router.add_post("/{path:.*}", _answer)
    await pod.serve(PORT, application, tls=files)

    bundle = base64.b64encode(authority.root_certificate.encode()).decode()
    refused = asyncio.Event()
    names = {
        "MutatingWebhookConfiguration": f"istio-sidecar-injector{settings.suffix}",
        "ValidatingWebhookConfiguration": f"istio-validator{settings.suffix}-{settings.namespace}",
    }
    for kind, name in names.items():
        tasks.create_task(_complete(pod, kind, name, bundle, refused), name=f"webhook {name}")
    tasks.create_task(_probe(pod, settings, names["ValidatingWebhookConfiguration"], bundle, refused), name="probe")


def completed(configuration: Mapping[str, Any], bundle: str, *, fail: bool) -> dict[str, Any]:
    """The configuration with the CA bundle, and failurePolicy Fail when `fail`."""
    result = copy.deepcopy(dict(configuration))
    for webhook in result.get("webhooks") or []:
        webhook["clientConfig"]["caBundle"] = bundle
        if fail:
            webhook["failurePolicy"] = "Fail"
    return result


def review(request: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The AdmissionReview response to a review request that came to `/path`."""
    obj = request.get("object") or {}
    kind = request.get("kind") or {}
    answer: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    gateway = (kind.get("group"), kind.get("kind")) == ("networking.istio.io", "Gateway")
    if path.startswith("validate") and gateway and not (obj.get("spec") or {}).get("servers"):
        answer |= {"allowed": False, "status": {"code": 400, "message": NO_SERVERS}}
    return answer


async def _answer(request: web.Request) -> web.Response:
    body = await request.json()
    response = review(body["request"], request.match_info["path"])
    return web.json_response({"apiVersion": body["apiVersion"], "kind": "AdmissionReview", "response": response})


async def _complete(pod: PodEnvironment, kind: str, name: str, bundle: str, refused: asyncio.Event) -> None:
    """Put back what belongs into the configuration whenever it changes."""
    async for event, live in pod.client.watch(API_VERSION, kind, field_selector=f"metadata.name={name}"):
        if event != "DELETED":
            await _update(pod, live, bundle, fail=kind.startswith("Validating") and refused.is_set())


async def _update(pod: PodEnvironment, live: dict[str, Any], bundle: str, *, fail: bool) -> None:
    wanted = completed(live, bundle, fail=fail)
    if wanted == live:
        return
    try:
        await pod.client.update(wanted, manager="pilot-discovery")
    except ApiError as error:
        if error.status != 409:  # a conflict means a newer version, whose event comes next
            raise
        pod.log.info("%s %s: %s (will retry)", live["kind"], live["metadata"]["name"], error.message)


async def _probe(pod: PodEnvironment, settings: Settings, name: str, bundle: str, refused: asyncio.Event) -> None:
    """Offer an invalid object (dry run) until the validator refuses it, then make the validator mandatory."""
    api_version, kind = "networking.istio.io/v1", "Gateway"
    probe = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": "istiod-webhook-readiness-probe",
            "namespace": settings.namespace,
            "labels": {"istio.io/rev": settings.revision},
        },
        "spec": {},
    }
    while True:
        try:
            resource = await pod.client.resource(api_version, kind)
            await pod.client.request("POST", resource.path(settings.namespace), body=probe, query={"dryRun": "All"})
        except (ApiError, aiohttp.ClientError, OSError) as error:
            if NO_SERVERS in str(error):
                break
            pod.log.debug("webhook probe: %s", error)
        await asyncio.sleep(PROBE_RETRY_SECONDS)
    refused.set()
    live = await pod.client.get(API_VERSION, "ValidatingWebhookConfiguration", name)
    if live is not None:
        await _update(pod, live, bundle, fail=True)
