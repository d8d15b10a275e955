"""Containers: what an embedded cluster needs around it so that its pods run.

A container engine, a network in it, the API server's door for pods, addresses of services,
cluster DNS, ingress, an image registry, and the nodes.  What cannot be had on a machine —
addresses of services take root — is told and left out; the pods run all the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from contextlib import AsyncExitStack
from hashlib import sha256
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cove.engines._work import together
from cove.engines.beside import DOMAIN, Beside, registry_alias
from cove.engines.home import ClusterFolder, clusters
from cove.engines.subnets import release
from cove.node.docker import EngineAddress, EngineError
from cove.node.docker.labels import CLUSTER, HOME, INSTANCE, PID

if TYPE_CHECKING:
    from cove.client import Client, Informers
    from cove.engines._running import Quiet
    from cove.engines.embedded import EmbeddedCluster
    from cove.node.docker.nodes import ContainerNodes
    from cove.node.network import Bridge, ClusterNetwork

__all__ = ["Containers"]

log = logging.getLogger("cove")


Doc = dict[str, Any]


def _key(cluster: EmbeddedCluster) -> str:
    """Eight hexadecimal digits that a cluster has at every start, and no other one has."""
    if cluster.folder is not None:
        return _key_of(cluster.folder)
    return sha256(f"{os.getpid()} {id(cluster)}".encode()).hexdigest()[:8]


def _key_of(folder: ClusterFolder) -> str:
    return sha256(str(folder.path).encode()).hexdigest()[:8]


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
        self.cluster = self._cluster = cluster
        self.client = self._client = client
        self.informers = self._informers = informers
        # Where what runs beside the pods is: registry, http, https, resolver.
        self.addresses: dict[str, str] = {}
        self._stack = AsyncExitStack()
        self._key = _key(cluster)
        self._nodes: ContainerNodes | None = None
        self._parts: list[Quiet] = []
        self._beside: Beside | None = None
        self._found: ClusterNetwork | None = None
        self._gateway = ""

    def register_host(self, host: str) -> None:
        """Have one more host's name lead to the ingress: in pods, and where the resolver is asked.

        Raises LookupError where there is no ingress.
        """
        if self._beside is None or self._beside.resolver is None:
            raise LookupError(f"the cluster {self.cluster.name} has no ingress")
        self._beside.resolver.add(host)
        if self._found is not None:
            self._found.wildcards[host] = self._gateway

    @property
    def quiet(self) -> bool:
        """Whether nodes, packet filter and proxy have caught up with the cluster."""
        return all(part.quiet for part in self._parts)

    @property
    def nodes(self) -> ContainerNodes:
        """The nodes."""
        assert self._nodes is not None, "they have not started"
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
        if self._cluster.data is not None:
            return self._cluster.data
        if self._cluster.folder is not None:
            return self._cluster.folder.path
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cove-")))

    async def _enter(self, stack: AsyncExitStack) -> None:
        from cove.engines.hostports import HostPorts
        from cove.node.docker.connection import Engine
        from cove.node.docker.network import DockerNetwork
        from cove.node.docker.nodes import ContainerNodes
        from cove.node.docker.reaper import reap
        from cove.server.metrics import publish_metrics

        cluster = self._cluster
        engine = await stack.enter_async_context(Engine(self.address))
        await reap(engine)
        await self._reap_network()
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
        gateway = str(network.bridge.gateway)
        port = await cluster.listen_at(gateway, stack)
        beside = Beside(self, folder, gateway)
        services = asyncio.ensure_future(self._services(stack, network.bridge, (gateway, port)))
        await together(services, beside.registry(stack), beside.ingress(stack, self._claims))
        found = services.result()
        # The machine has routes to them now, which everybody sees.
        release(cluster.settings)
        nodes = self._nodes = ContainerNodes(
            self._client,
            engine,
            network,
            cluster.settings.nodes,
            cluster=cluster.name,
            folder=folder,
            ca=lambda: cluster.credentials.authority.decode(),
            informers=self._informers,
            resolv_conf=found.resolv_conf if found is not None else None,
            local=beside.reference,
            clock=cluster.clock,
        )
        await stack.enter_async_context(nodes)
        cluster.api.kubelet = nodes.kubelet
        publish_metrics(cluster.api)
        cluster.api.outgoing.claimed = nodes.claims if found is None else found.claims
        ports = {int(k): int(v) for k, _, v in (p.partition(":") for p in cluster.settings.ports)}
        if ports:
            opened = await stack.enter_async_context(HostPorts(self._client, nodes.kubelet, ports))
            self.missing += opened.missing
        self.addresses = beside.addresses
        self._beside, self._found = beside, found
        self._gateway = gateway
        self._parts = [p for p in (nodes, found, beside.proxy) if p is not None]
        for sentence in self.missing:
            log.warning("%s", sentence)

    def _claims(self, address: str) -> bool:
        return self._nodes is not None and self._nodes.claims(address)

    async def _reap_network(self) -> None:
        """Remove rules and routes of clusters that nobody will come back for."""
        from cove.node.network import missing, reap

        if missing():
            return
        # Pods of a cluster whose process was killed still run, and call services.
        await reap({_key_of(folder) for folder in clusters()} | {self._key})

    async def _services(
        self, stack: AsyncExitStack, bridge: Bridge, api: tuple[str, int]
    ) -> ClusterNetwork | None:
        """Addresses of services and cluster DNS, where the machine allows it."""
        from cove.node.network import ClusterNetwork, MachineLacksError

        cluster = self._cluster
        services = ip_network(cluster.settings.service_subnet)
        if not isinstance(services, IPv4Network):
            self.missing.append(f"services have no addresses: the subnet {services} is IPv6")
            return None
        domains = (DOMAIN, *cluster.settings.domains, registry_alias(cluster.name))
        try:
            return await stack.enter_async_context(
                ClusterNetwork(
                    self._client,
                    informers=self._informers,
                    bridge=bridge,
                    service_subnet=services,
                    pod_subnet=bridge.subnet,
                    api=api,
                    key=self._key,
                    wildcards=dict.fromkeys(domains, api[0]),
                    clock=cluster.clock,
                )
            )
        except MachineLacksError as e:
            self.missing.append(f"services and cluster DNS do not work: {e}")
            return None
