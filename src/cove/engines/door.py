"""Door: where containers of this machine reach a server of it.

They know the machine as ``host.docker.internal``, an address that nobody on loopback
answers on.  An embedded server listens there itself (:func:`open_door`); in front of any
other one stands a :class:`Relay`.  TLS is between the container and the server: what
passes through here is not looked at.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from cove.client import Tasks
from cove.engines._work import finished
from cove.kube.status import CoveError
from cove.node.docker import EngineAddress, EngineError, find_engine

if TYPE_CHECKING:
    from cove.engines.embedded import EmbeddedCluster

__all__ = ["PIECE", "DoorError", "Relay", "door_host", "engine_for", "open_door", "pump"]

log = logging.getLogger("cove")

Doc = dict[str, Any]
LOOPBACK = "127.0.0.1"
PIECE = 64 * 1024


class DoorError(CoveError):
    """Containers cannot be given a way to a server of this machine."""


def engine_for(asked: str | None, what: str) -> EngineAddress:
    """The engine that containers run in.  Raises EngineError saying that ``what`` needs one."""
    address = find_engine(asked)
    if address is None:
        raise EngineError(
            f"{what}: there is no container engine, or cove was told to use none "
            "(`cove doctor` says which); start Docker or Podman, or name one with "
            "container_engine or COVE_CONTAINER_ENGINE"
        )
    return address


async def door_host(address: EngineAddress, *, platform: str = sys.platform) -> str:
    """The address of this machine that an engine's ``host-gateway`` leads to.

    Where the engine runs in a virtual machine of its own (macOS), that is loopback.
    Raises EngineError.
    """
    if platform != "linux":
        return LOOPBACK
    from cove.node.docker.connection import DockerError, Engine

    try:
        async with Engine(address) as engine:
            networks = {n["Name"]: n for n in await engine.networks()}
    except DockerError as e:
        raise EngineError(f"{address} does not tell its networks: {e}") from e
    default = networks.get("bridge") or networks.get("podman") or {}
    for config in (default.get("IPAM") or {}).get("Config") or ():
        if config.get("Gateway") and ":" not in config["Gateway"]:
            return str(config["Gateway"])
    raise EngineError(
        f"{address} has no default network: what its containers call host.docker.internal "
        "is not known"
    )


async def open_door(cluster: EmbeddedCluster, stack: AsyncExitStack) -> tuple[str, int] | None:
    """Have the cluster serve its machine's containers until ``stack`` is left: host and port.

    The same port as the last time if that is free, which is written into the cluster's
    folder.  None, with a word in the log, where there is no engine or no such address.
    """
    from cove.server.http import PortTakenError  # who only asks for a cluster loads no server

    folder = cluster.folder
    last = folder.door if folder is not None else None
    if folder is not None:
        (folder.path / "door").unlink(missing_ok=True)
    try:
        what = "there is no door for containers"
        engine = await finished(engine_for, cluster.settings.container_engine, what)
        host = await door_host(engine)
        try:
            port = await cluster.listen_at(host, stack, last[1] if last else 0)
        except PortTakenError:
            port = await cluster.listen_at(host, stack)
    except (EngineError, PortTakenError) as e:
        log.warning("containers do not reach the API server: %s", e)
        return None
    if folder is not None:
        folder.write("door", f"{host}:{port}\n".encode())
    return host, port


class Relay:
    """Carries connections to ``host`` on to ``target``: ``async with Relay(…) as relay``.

    :attr:`port` is the one it got, a free one.  Left, nobody listens and no connection is
    open any more.  Raises :class:`DoorError` where ``host`` is no address of this machine.
    """

    def __init__(self, host: str, target: tuple[str, int]) -> None:
        self.host = host
        self.target = target
        self.port = 0
        self._tasks = Tasks()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        try:
            self._listener = await asyncio.start_server(self._connected, self.host, 0, limit=PIECE)
        except OSError as e:
            if e.errno == errno.EADDRNOTAVAIL:
                raise DoorError(
                    f"{self.host}, which containers call host.docker.internal, is no address of "
                    "this machine: the container engine runs elsewhere"
                ) from e
            raise DoorError(f"{self.host} cannot be listened on: {e.strerror or e}") from e
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._listener is not None
        self._listener.close()
        await self._tasks.close()
        await self._listener.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(f"relay to {self.target[0]}", self._carry(reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            there, back = await asyncio.open_connection(*self.target, limit=PIECE)
            writers.append(back)
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, back))
                both.create_task(pump(there, writer))
        except OSError as e:
            log.debug("the relay to %s:%d: %s", *self.target, e)
        except ExceptionGroup as e:
            if e.split(OSError)[1] is not None:
                raise
        finally:
            for each in writers:
                each.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until that side ends, and say so to the other."""
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
