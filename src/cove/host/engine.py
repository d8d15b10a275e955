"""Engines: the connection to a container engine that an application's containers share.

Nothing is asked of an engine before somebody needs it.  What the application makes there is
labelled with who made it, and is gone when it ends; what a crash left is reaped first.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from cove.host.errors import ResourceError

if TYPE_CHECKING:
    from cove.host.host import Host
    from cove.node.docker.connection import Engine

__all__ = ["APP", "HOST", "Engines"]

# Which application made it, and for which resource; beside the labels of all that cove makes.
APP, RESOURCE = "dev.cove.app", "dev.cove.resource"
# The name of this machine inside containers.
HOST = "host.docker.internal"


class Engines:
    """The engine of one host: ``await engines.get()``; left, all of the session is gone."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._engine: Engine | None = None
        self._network = ""
        self.key = sha256(str(host.folder.path).encode()).hexdigest()[:8]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def get(self) -> Engine:
        """The engine; raises ResourceError that says what to do if there is none."""
        async with self._lock:
            if self._engine is None:
                self._engine = await self._open()
            return self._engine

    async def _open(self) -> Engine:
        from cove.node.docker import EngineError, find_engine
        from cove.node.docker.engine import extra_installed

        if not extra_installed():
            raise ResourceError("containers need more of cove: pip install 'cove[containers]'")
        try:
            address = find_engine(self._host.container_engine)
        except EngineError as e:
            raise ResourceError(str(e)) from e
        if address is None:
            raise ResourceError(
                "there is no container engine: start Docker or Podman (`cove doctor` says where "
                "it was looked for)"
            )
        from cove.node.docker.connection import Engine
        from cove.node.docker.reaper import reap

        try:
            engine = await self._stack.enter_async_context(Engine(address))
        except EngineError as e:
            raise ResourceError(str(e)) from e
        await reap(engine)
        return engine

    def labels(self, resource: str, *, persistent: bool = False) -> dict[str, str]:
        """What marks a thing of the application; a persistent one outlives this process."""
        from cove.node.docker.labels import CLUSTER, HOME, INSTANCE, PID

        return {
            CLUSTER: f"{self._host.app.name}-{self.key}",
            INSTANCE: self.key,
            PID: str(os.getpid()),
            # Reaped when the process is gone, or, of a persistent one, the folder.
            HOME: str(self._host.folder.path) if persistent else "",
            APP: self._host.app.name,
            RESOURCE: resource,
        }

    async def network(self) -> str:
        """The name of the network that the application's containers are on, made if need be."""
        engine = await self.get()
        async with self._lock:
            if not self._network:
                name = f"cove-{self._host.app.name}-{self.key}"
                if not any(n.get("Name") == name for n in await engine.networks()):
                    config: dict[str, Any] = {
                        "Name": name,
                        "Driver": "bridge",
                        "CheckDuplicate": True,
                        "Labels": self.labels("", persistent=self._keeps()),
                    }
                    await engine.create_network(config)
                self._network = name
                self._stack.push_async_callback(self._remove_network, engine, name)
            return self._network

    async def _remove_network(self, engine: Engine, name: str) -> None:
        if not self._keeps() or self._host.discarding:
            await engine.remove_network(name)

    def _keeps(self) -> bool:
        """Whether containers of the application outlive it, and so does their network."""
        return any(getattr(r, "persistent", False) for r in self._host.app.resources.values())

    async def gateway(self) -> str:
        """The address of this machine that ``host.docker.internal`` leads to in containers.

        Raises ResourceError where they cannot reach this machine.
        """
        from cove.engines.door import door_host
        from cove.node.docker import EngineError

        engine = await self.get()
        try:
            return await door_host(engine.address)
        except EngineError as e:
            raise ResourceError(str(e)) from e
