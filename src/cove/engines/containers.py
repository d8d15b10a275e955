"""Containers: what an embedded cluster needs around it so that its pods run.

A container engine, a network in it, the API server's door for pods, addresses of services,
cluster DNS, ingress, an image registry, and the nodes.  What cannot be had on a machine —
addresses of services take root — is told and left out; the pods run all the same.
"""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import AsyncExitStack
from hashlib import sha256
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cove.engines.home import ClusterFolder, Settings, clusters
from cove.kube.status import CoveError
from cove.node.docker import EngineAddress, EngineError, find_engine
from cove.node.docker.labels import CLUSTER, HOME, INSTANCE, PID

if TYPE_CHECKING:
    from cove.client import Client, Informers
    from cove.engines.embedded import EmbeddedCluster
    from cove.node.docker.nodes import ContainerNodes

__all__ = ["Containers", "planned"]

log = logging.getLogger("cove")

Doc = dict[str, Any]

POD_SUBNETS = [f"10.{244 + n}.0.0/16" for n in range(12)] + [
    f"10.{n}.0.0/16" for n in range(200, 244)
]
# /16 each, out of 10.96.0.0/12 and what follows it.
SERVICE_SUBNETS = ["10.96.0.0/12"] + [f"10.{n}.0.0/16" for n in range(112, 200)]


def _routes() -> list[IPv4Network]:
    """The networks this machine has routes to, but for the default one."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        _, destination, _, _, _, _, _, mask, *_ = line.split()
        address = int.from_bytes(bytes.fromhex(destination)[::-1], "big")
        bits = int.from_bytes(bytes.fromhex(mask)[::-1], "big").bit_count()
        if bits:
            found.append(ip_network((address, bits)))
    return [n for n in found if isinstance(n, IPv4Network)]


def _free(wanted: str, choices: list[str], taken: list[IPv4Network]) -> str:
    """The wanted subnet, or where it was not chosen (it is the first choice) a free one."""
    if wanted != choices[0]:
        return wanted
    for text in choices:
        subnet = IPv4Network(text)
        if not any(subnet.overlaps(other) for other in taken):
            return text
    return wanted


def planned(settings: Settings, folder: ClusterFolder | None) -> Settings:
    """The settings with subnets that nobody else on this machine has.

    Pods that run have addresses of the machine: no two clusters can have the same.  A
    cluster that exists keeps what it has, and what was asked for stays what it is.
    """
    if not settings.nodes or (folder is not None and folder.exists):
        return settings
    try:
        if find_engine(settings.container_engine) is None:
            return settings
    except EngineError:
        return settings  # whoever starts the cluster says so
    taken = _routes()
    for other in clusters():
        if folder is None or other.name != folder.name:
            try:
                known = other.settings
            except CoveError:
                continue
            taken += [IPv4Network(known.pod_subnet), IPv4Network(known.service_subnet)]
    from dataclasses import replace

    return replace(
        settings,
        pod_subnet=_free(settings.pod_subnet, POD_SUBNETS, taken),
        service_subnet=_free(settings.service_subnet, SERVICE_SUBNETS, taken),
    )


def _key(cluster: EmbeddedCluster) -> str:
    """Eight hexadecimal digits that a cluster has at every start, and no other one has."""
    where = str(cluster.folder.path) if cluster.folder else f"{os.getpid()} {id(cluster)}"
    return sha256(where.encode()).hexdigest()[:8]


class Containers:
    """``async with Containers(cluster, address, …) as containers``; see the module.

    :attr:`missing` are sentences on what this machine lacks.
    """

    def __init__(
        self,
        cluster: EmbeddedCluster,
        address: EngineAddress,
        client: Client,
        informers: Informers,
    ) -> None:
        self.address = address
        self.missing: list[str] = []
        self._cluster = cluster
        self._client = client
        self._informers = informers
        self._stack = AsyncExitStack()
        self._key = _key(cluster)

    @property
    def nodes(self) -> ContainerNodes:
        """The nodes."""
        return self._nodes

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._enter(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._cluster.api.kubelet = None
        await self._stack.aclose()

    def _folder(self, stack: AsyncExitStack) -> Path:
        if self._cluster.folder is not None:
            return self._cluster.folder.path
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cove-")))

    async def _enter(self, stack: AsyncExitStack) -> None:
        from cove.node.docker.connection import Engine
        from cove.node.docker.network import DockerNetwork
        from cove.node.docker.nodes import ContainerNodes
        from cove.node.docker.reaper import reap

        cluster = self._cluster
        engine = await stack.enter_async_context(Engine(self.address))
        await reap(engine)
        name = f"cove-{cluster.name}-{self._key}"
        labels = {
            CLUSTER: f"{cluster.name}-{self._key}",
            INSTANCE: self._key,
            PID: str(os.getpid()),
            HOME: str(cluster.folder.path) if cluster.folder is not None else "",
        }
        subnet = ip_network(cluster.settings.pod_subnet)
        if not isinstance(subnet, IPv4Network):
            raise EngineError(
                f"the pod subnet {subnet} is IPv6: pods that run have IPv4 addresses; choose "
                "another with --pod-subnet"
            )
        folder = self._folder(stack)
        network = await stack.enter_async_context(
            DockerNetwork(engine, name, self._key, subnet, labels)
        )
        await cluster.listen_at(str(network.bridge.gateway), stack)
        self._nodes = ContainerNodes(
            self._client,
            engine,
            network,
            cluster.settings.nodes,
            cluster=cluster.name,
            folder=folder,
            ca=lambda: cluster.credentials.authority.decode(),
            informers=self._informers,
            clock=cluster.clock,
        )
        await stack.enter_async_context(self._nodes)
        cluster.api.kubelet = self._nodes.kubelet
        cluster.api.outgoing.claimed = self._nodes.claims
        for sentence in self.missing:
            log.warning("%s", sentence)
