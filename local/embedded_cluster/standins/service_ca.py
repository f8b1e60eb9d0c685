"""Stand-in for OpenShift's service CA: certificates for Services, and its authority where it is asked for.

Facts: operators.md 5 (service.beta.openshift.io annotations replace cert-manager's), platform.md 3.1 (the Secret with
the signing key: openshift-service-ca/signing-key).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from embedded_cluster.kube import ApiError, owner_reference
from embedded_cluster.standins.engine import CRD, CRD_API, MetadataClient
from embedded_cluster.standins.gateway.mesh_ca import Authority
from embedded_cluster.standins.objects import dig
from embedded_cluster.standins.program import program

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

MANAGER = "service-ca-operator"
NAMESPACE, SIGNING_KEY = "openshift-service-ca", "signing-key"
SECRET_ANNOTATION = "service.beta.openshift.io/serving-cert-secret-name"
INJECT_ANNOTATION = "service.beta.openshift.io/inject-cabundle"
ADMISSION = "admissionregistration.k8s.io/v1"
INJECTED = (
    (ADMISSION, "ValidatingWebhookConfiguration"),
    (ADMISSION, "MutatingWebhookConfiguration"),
    (CRD_API, CRD),
    ("v1", "ConfigMap"),
)
RETRY_SECONDS = 1.0

Object = dict[str, Any]


async def signing_authority(pod: PodEnvironment) -> Authority:
    """The authority of the signing Secret, made when there is none."""
    live = await pod.client.get("v1", "Secret", SIGNING_KEY, NAMESPACE)
    if live is not None:
        parts = {name: base64.b64decode(live["data"][name]).decode() for name in ("tls.crt", "tls.key")}
        return Authority(parts["tls.crt"], parts["tls.key"])
    authority = Authority.create()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SIGNING_KEY, "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": authority.root_certificate, "tls.key": authority.key},
    }
    await pod.client.create(secret, manager=MANAGER)
    return authority


def wants_bundle(obj: Mapping[str, Any]) -> bool:
    """Whether the object asks for the authority."""
    return str(dig(obj, "metadata", "annotations", INJECT_ANNOTATION)) == "true"


def injection(obj: Mapping[str, Any], bundle: str) -> Object | None:
    """The merge patch that gives an object the authority (PEM); None when it has it or has no place for it."""
    encoded = base64.b64encode(bundle.encode()).decode()
    if obj["kind"] == "ConfigMap":
        has = dig(obj, "data", "service-ca.crt") == bundle
        return None if has else {"data": {"service-ca.crt": bundle}}
    if obj["kind"] == CRD:
        client = dig(obj, "spec", "conversion", "webhook", "clientConfig")
        if client is None or client.get("caBundle") == encoded:
            return None
        return {"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": encoded}}}}}
    webhooks = obj.get("webhooks") or []
    if all(item["clientConfig"].get("caBundle") == encoded for item in webhooks):
        return None
    given = [{**item, "clientConfig": {**item["clientConfig"], "caBundle": encoded}} for item in webhooks]
    return {"webhooks": given}


class ServiceCa:
    """Serves all Services and objects with the annotations."""

    def __init__(self, pod: PodEnvironment, authority: Authority) -> None:
        self.pod = pod
        self.client = pod.client
        self.authority = authority

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_services())
            for api_version, kind in INJECTED:
                tasks.create_task(self._inject(api_version, kind))

    async def _serve_services(self) -> None:
        async for event, service in self.client.watch("v1", "Service"):
            name = dig(service, "metadata", "annotations", SECRET_ANNOTATION)
            if name and event != "DELETED":
                await self._until_done(lambda service=service, name=name: self._make_certificate(service, name))

    async def _make_certificate(self, service: Mapping[str, Any], name: str) -> None:
        """The Secret that a Service asks for, unless it is there; it goes with the Service."""
        metadata = service["metadata"]
        host = f"{metadata['name']}.{metadata['namespace']}.svc"
        if await self.client.get("v1", "Secret", name, metadata["namespace"]) is not None:
            return
        certificate, key = self.authority.serving_pair([host, f"{host}.cluster.local"])
        owner = {**service, "apiVersion": "v1", "kind": "Service"}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "ownerReferences": [owner_reference(owner, controller=False)],
            },
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": certificate + self.authority.root_certificate, "tls.key": key},
        }
        await self.client.create(secret, manager=MANAGER)

    async def _inject(self, api_version: str, kind: str) -> None:
        # CRDs are big: only those that ask are read in full.
        client = MetadataClient(self.client) if kind == CRD else self.client
        async for event, seen in client.watch(api_version, kind):
            if event == "DELETED" or not wants_bundle(seen):
                continue
            obj = await self.client.get(api_version, kind, seen["metadata"]["name"]) if kind == CRD else seen
            if obj is None:
                continue
            patch = injection({**obj, "kind": kind}, self.authority.root_certificate)
            if patch is not None:
                metadata = obj["metadata"]
                address = api_version, kind, metadata["name"], patch, metadata.get("namespace")
                await self._until_done(lambda address=address: self.client.patch(*address, manager=MANAGER))

    async def _until_done(self, write: Any) -> None:
        """Try until the write is done, or its object is gone."""
        while True:
            try:
                await write()
                return
            except ApiError as error:
                if error.status in (404, 409):
                    return  # gone, or changed meanwhile: the watch brings it again
                self.pod.log.error("%s (will retry)", error)
            except aiohttp.ClientError as error:
                self.pod.log.error("%r (will retry)", error)
            await asyncio.sleep(RETRY_SECONDS)


@program
async def main(pod: PodEnvironment) -> None:
    """Run the service CA in this pod."""
    authority = await signing_authority(pod)
    pod.ready()
    await ServiceCa(pod, authority).run()
