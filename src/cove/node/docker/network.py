"""The network of a cluster's pods in the engine: a bridge of its own.

Made on entering, removed on leaving; one that a crash left is taken over if it fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any, Self

from cove.node.docker.connection import DockerError, Engine
from cove.node.docker.engine import EngineError
from cove.node.docker.labels import CLUSTER
from cove.node.network.bridge import Bridge

__all__ = ["DockerNetwork"]

Doc = dict[str, Any]


class DockerNetwork:
    """``async with DockerNetwork(engine, name, key, subnet, labels) as network``.

    ``key`` is 8 hexadecimal digits: the bridge is called ``cove`` and those.  Raises
    EngineError when the subnet is in use.
    """

    def __init__(
        self, engine: Engine, name: str, key: str, subnet: IPv4Network, labels: Mapping[str, str]
    ) -> None:
        self.name = name
        self.bridge = Bridge(
            interface=f"cove{key}", subnet=subnet, gateway=IPv4Address(int(subnet[1]))
        )
        self._engine = engine
        # What everything on it is marked with too.
        self.labels = dict(labels)

    async def __aenter__(self) -> Self:
        for known in await self._engine.networks({CLUSTER: self.labels[CLUSTER]}):
            if known["Name"] == self.name:
                if await self._fits(known):
                    return self
                await self._remove()
        try:
            await self._engine.create_network(self._config())
        except DockerError as e:
            if "overlap" in str(e).lower():
                raise EngineError(await self._in_use()) from e
            raise EngineError(f"the network {self.name} cannot be made: {e}") from e
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._remove()

    async def _remove(self) -> None:
        """Once nobody is on it any more: a container that is being removed holds it."""
        for attempt in range(20):
            try:
                await self._engine.remove_network(self.name)
                return
            except DockerError:
                if attempt == 19:
                    raise
                await asyncio.sleep(0.1)

    async def _fits(self, known: Doc) -> bool:
        subnets = [c.get("Subnet") for c in (known.get("IPAM") or {}).get("Config") or ()]
        return subnets == [str(self.bridge.subnet)]

    def _config(self) -> Doc:
        bridge = self.bridge
        return {
            "Name": self.name,
            "CheckDuplicate": True,
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": str(bridge.subnet), "Gateway": str(bridge.gateway)}]},
            "Options": {"com.docker.network.bridge.name": bridge.interface},
            "Labels": self.labels,
        }

    async def _in_use(self) -> str:
        subnet = self.bridge.subnet
        for known in await self._engine.networks():
            for config in (known.get("IPAM") or {}).get("Config") or ():
                other = config.get("Subnet")
                if other and ip_network(other).overlaps(subnet):
                    return (
                        f"the pod subnet {subnet} is in use by the engine's network "
                        f"{known['Name']} ({other}); choose another with --pod-subnet"
                    )
        return (
            f"the pod subnet {subnet} overlaps with a network of this machine; choose another "
            "with --pod-subnet"
        )
