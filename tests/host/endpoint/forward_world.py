"""A cluster whose pods are listeners of this machine, and documents for it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.host.endpoint import ForwardStatus
from cove.kube.gvk import GVR

Doc = dict[str, Any]

PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")


def service(port: int = 80, target: int | str | None = 8080, **spec: Any) -> Doc:
    """The service web; more of its spec by name."""
    one: Doc = {"port": port, "name": "http"}
    if target is not None:
        one["targetPort"] = target
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [one], **spec},
    }


def pod(name: str = "web-0", *, ready: bool = True, phase: str = "Running", **labels: str) -> Doc:
    """A pod as stored; its container has the port ``http``, 8080."""
    container = {
        "name": "main",
        "image": "busybox",
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid of {name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels or {"app": "web"},
        },
        "spec": {"nodeName": "real", "containers": [container]},
        "status": state_of(ready=ready, phase=phase),
    }


def state_of(*, ready: bool = True, phase: str = "Running") -> Doc:
    """A pod's status."""
    return {
        "phase": phase,
        "containerStatuses": [
            {"name": "main", "ready": ready, "image": "", "imageID": "", "restartCount": 0}
        ],
        "conditions": [{"type": "Ready", "status": str(ready)}],
    }


class World:
    """A cluster, and a client over HTTPS."""

    def __init__(self, cluster: EmbeddedCluster, client: Client) -> None:
        self.cluster = cluster
        self.client = client

    async def pod(self, name: str = "web-0", *, node: str = "real", **state: Any) -> Doc:
        """Make a pod with that state."""
        made = pod(name)
        del made["metadata"]["uid"], made["metadata"]["creationTimestamp"], made["status"]
        made["spec"]["nodeName"] = node
        await self.client.create(PODS, made)
        return await self.state(name, **state)

    async def state(self, name: str = "web-0", **state: Any) -> Doc:
        """Change a pod's state."""
        return await self.client.patch(
            PODS, name, {"status": state_of(**state)}, "default", subresource="status"
        )

    async def remove(self, name: str = "web-0") -> None:
        """Delete a pod at once."""
        await self.client.delete(PODS, name, "default", grace=0)


class Told:
    """What a forwarder has told, and waiting for more."""

    def __init__(self) -> None:
        self.statuses: list[ForwardStatus] = []
        self._news = asyncio.Condition()

    async def __call__(self, status: ForwardStatus) -> None:
        async with self._news:
            self.statuses.append(status)
            self._news.notify_all()

    @property
    def phases(self) -> list[str]:
        """The phases, in order."""
        return [s.phase for s in self.statuses]

    async def until(self, fits: Callable[[ForwardStatus], bool]) -> ForwardStatus:
        """The latest status, as soon as it fits."""
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: bool(self.statuses) and fits(self.statuses[-1]))
            return self.statuses[-1]

    async def phase(self, phase: str) -> ForwardStatus:
        """The latest status, as soon as it has a phase."""
        return await self.until(lambda s: s.phase == phase)

    async def reason(self, text: str) -> ForwardStatus:
        """The latest status, as soon as its reason holds a text."""
        return await self.until(lambda s: text in s.reason)


async def exchange(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """What comes back for ``data``."""
    reader, writer = await asyncio.open_connection(host, port)

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    try:
        _, back = await asyncio.gather(send(), reader.read(-1))
        return back
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def is_broken_off(port: int) -> bool:
    """Whether a connection to a port is accepted and reset."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionResetError:
        return True  # before it was looked at
    try:
        await reader.read(-1)
    except ConnectionResetError:
        return True
    finally:
        writer.close()
    return False


def is_free(port: int) -> bool:
    """Whether somebody else could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listeners(port: int) -> list[socket.socket]:
    """Copies of this process's sockets that listen on a port."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            one = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue
        try:
            listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and one.getsockname()[1] == port:
                found.append(one)
                continue
        except (OSError, IndexError, TypeError):
            pass
        one.close()
    return found


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))
