"""What a stand-in program sees of its pod.

The node agent makes one PodEnvironment per container start and calls the stand-in's
`async def main(pod: PodEnvironment) -> None` with it. Returning is exit code 0, raising is
exit code 1 (the traceback goes to the pod's log, so it shows in the crash loop message).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from embedded_cluster.kube import KubeClient, Object

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
PRIVILEGED_PORTS_END = 1024


@dataclass
class PodEnvironment:
    """One container start of one pod, as its program sees it.

    `command`, `args` and `env` are resolved as a kubelet does ($(VAR), fieldRef, Secret and
    ConfigMap keys). `client` is authenticated as the pod's ServiceAccount. `mounts` maps each
    mountPath to a folder (or file, for a subPath) with the volume's content, which follows
    changes of Secrets and ConfigMaps. `pod` is the Pod object at start. `locate` tells where on
    this machine a pod's address and port are.
    """

    namespace: str
    name: str
    uid: str
    image: str
    command: list[str]
    args: list[str]
    env: dict[str, str]
    service_account: str
    client: KubeClient
    mounts: dict[str, Path]
    cluster_dir: Path
    crds_dir: Path
    charts_dir: Path
    helm: Path
    kubeconfig: Path
    log: logging.Logger
    pod: Object
    listen_address: str
    on_ready: Callable[[bool], None]
    on_listen: Callable[[int, int], None]
    locate: Callable[[str, int], tuple[str, int]] = lambda address, port: (address, port)
    _runners: list[web.ServerRunner] = field(default_factory=list)
    _tls: list[tuple[ssl.SSLContext, Path, Path]] = field(default_factory=list)

    def ready(self, value: bool = True) -> None:
        """Say whether the container is ready (it starts unready)."""
        self.on_ready(value)

    def mounted(self, mount_path: str) -> Path:
        """Host path of a mountPath; raises FileNotFoundError naming what the pod does mount."""
        path = self.mounts.get(mount_path)
        if path is None:
            found = ", ".join(sorted(self.mounts)) or "nothing"
            raise FileNotFoundError(
                f"pod {self.namespace}/{self.name} mounts nothing at {mount_path}; it mounts {found}"
            )
        return path

    async def serve(self, port: int, handler: Handler | web.Application, tls: tuple[Path, Path] | None = None) -> None:
        """Answer HTTP on a port of the pod; returns once the port is open.

        `handler` is an aiohttp application or a coroutine function from request to response.
        `tls` is (certificate file, key file); they are read again when the mounted Secret
        changes. Services and webhooks that target this pod reach the port.
        """
        context = None
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*map(str, tls))
            self._tls.append((context, *tls))
        runner: Any = (
            web.AppRunner(handler) if isinstance(handler, web.Application) else web.ServerRunner(web.Server(handler))
        )
        await runner.setup()
        self._runners.append(runner)
        wanted = port if port >= PRIVILEGED_PORTS_END else 0
        site = web.TCPSite(runner, self.listen_address, wanted, ssl_context=context, reuse_address=True)
        await site.start()
        host_port = runner.addresses[0][1]
        self.on_listen(port, host_port)
        self.log.info("listening on port %d", port)

    def reload_tls(self) -> None:
        """Read certificate files again; the node agent calls this after a mount changed."""
        for context, certificate, key in self._tls:
            context.load_cert_chain(str(certificate), str(key))

    async def close(self) -> None:
        """Close ports and connections; the node agent calls this when the container ends."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        await self.client.close()
