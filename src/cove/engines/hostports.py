"""Ports of this machine that lead to NodePorts: ``8080 → 30051``, as a load balancer would.

They need no root and no addresses of services: a connection is carried into a ready pod of
the Service that has the NodePort when it is made.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from cove.client import Client, Tasks
from cove.engines.door import PIECE, pump
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError

if TYPE_CHECKING:
    from cove.server.kubelet import Kubelet

__all__ = ["HostPorts"]

log = logging.getLogger("cove")

Doc = Mapping[str, Any]

SERVICES = GVR("", "v1", "services")
PODS = GVR("", "v1", "pods")
SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")


class HostPorts:
    """``async with HostPorts(client, kubelet, {8080: 30051}) as ports``; loopback only.

    :attr:`missing` are sentences on ports that somebody else has.
    """

    def __init__(self, client: Client, kubelet: Kubelet, ports: Mapping[int, int]) -> None:
        self.missing: list[str] = []
        self._client = client
        self._kubelet = kubelet
        self._ports = dict(ports)
        self._tasks = Tasks()
        self._listeners: list[asyncio.Server] = []
        self._turn = itertools.count()

    async def __aenter__(self) -> Self:
        for port, node_port in self._ports.items():

            def connected(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                node_port: int = node_port,
            ) -> None:
                self._tasks.start(f"node port {node_port}", self._carry(reader, writer, node_port))

            try:
                listener = await asyncio.start_server(connected, "127.0.0.1", port, limit=PIECE)
            except OSError as e:
                self.missing.append(
                    f"localhost:{port} does not lead to the NodePort {node_port}: "
                    f"{(e.strerror or str(e)).lower()}; free the port, or map another"
                )
            else:
                self._listeners.append(listener)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for listener in self._listeners:
            listener.close()
        await self._tasks.close()
        for listener in self._listeners:
            await listener.wait_closed()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, node_port: int
    ) -> None:
        writers = [writer]
        try:
            pod, port = await self._target(node_port)
            there, back = await self._kubelet.connect(pod, port)
            writers.append(back)
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, back))
                both.create_task(pump(there, writer))
        except (OSError, CoveError) as e:
            log.info("the NodePort %d: %s", node_port, e)
        except ExceptionGroup as e:
            if e.split(OSError)[1] is not None:
                raise
        finally:
            for each in writers:
                each.transport.abort()

    async def _target(self, node_port: int) -> tuple[Doc, int]:
        """A ready pod and its port, one after the other; raises StatusError if there is none."""
        service, wanted = await self._service(node_port)
        metadata = service["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        slices = await self._client.list(
            SLICES, namespace, label_selector=f"kubernetes.io/service-name={name}"
        )
        found = [
            (endpoint["targetRef"]["name"], port["port"])
            for each in slices.items
            for port in each.get("ports") or ()
            if (port.get("name") or "") == wanted and port.get("port")
            for endpoint in each.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready") is not False
            and (endpoint.get("targetRef") or {}).get("kind") == "Pod"
        ]
        if not found:
            raise StatusError(503, "ServiceUnavailable", f"{namespace}/{name} has no ready pod")
        pod, port = found[next(self._turn) % len(found)]
        return await self._client.get(PODS, pod, namespace), int(port)

    async def _service(self, node_port: int) -> tuple[Doc, str]:
        for service in (await self._client.list(SERVICES)).items:
            for port in (service.get("spec") or {}).get("ports") or ():
                if port.get("nodePort") == node_port:
                    return service, str(port.get("name") or "")
        raise StatusError(404, "NotFound", f"no service has the NodePort {node_port}")
