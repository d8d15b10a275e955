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
from collections.abc import Awaitable, Callable
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
    from cove.node.docker.connection import Engine
    from cove.node.docker.nodes import ContainerNodes
    from cove.node.network import Bridge, ClusterNetwork
    from cove.node.registry import Registry

__all__ = ["Containers", "planned"]

log = logging.getLogger("cove")

# Names below it are this machine's, without anybody's doing: RFC 6761.
DOMAIN = "cove.localhost"

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


async def _together(*work: Awaitable[object]) -> None:
    """Await all of it; the first failure ends the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
        if self._cluster.folder is not None:
            return self._cluster.folder.path
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cove-")))

    async def _enter(self, stack: AsyncExitStack) -> None:
        from cove.node.docker.connection import Engine
        from cove.node.docker.network import DockerNetwork
        from cove.node.docker.nodes import ContainerNodes
        from cove.node.docker.reaper import reap
        from cove.server.metrics import publish_metrics

        cluster = self._cluster
        engine = await stack.enter_async_context(Engine(self.address))
        await reap(engine)
        await self._reap_network(engine)
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
        await _together(services, beside.registry(stack), beside.ingress(stack, self._claims))
        found = services.result()
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
        self.addresses = beside.addresses
        for sentence in self.missing:
            log.warning("%s", sentence)

    def _claims(self, address: str) -> bool:
        return self._nodes is not None and self._nodes.claims(address)

    async def _reap_network(self, engine: Engine) -> None:
        """Remove rules and routes of clusters that nobody will come back for."""
        from cove.node.network import missing, reap

        if missing():
            return
        alive = {_key_of(folder) for folder in clusters()} | {self._key}
        for network in await engine.networks({CLUSTER: ""}):
            alive.add((network.get("Labels") or {}).get(INSTANCE, ""))
        await reap(alive)

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
        domains = (DOMAIN, *cluster.settings.domains)
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


class Beside:
    """Ingress and the image registry: what runs beside the nodes, if it can be had."""

    def __init__(self, containers: Containers, folder: Path, gateway: str) -> None:
        # What a user needs to know: registry, http, https, resolver.
        self.addresses: dict[str, str] = {}
        self._containers = containers
        self._cluster = containers.cluster
        self._folder = folder
        self._gateway = gateway
        self._registry: Registry | None = None

    async def reference(self, image: str) -> str:
        """What the engine pulls for an image as pods name it."""
        return image if self._registry is None else await self._registry.reference(image)

    async def registry(self, stack: AsyncExitStack) -> None:
        """The registry, on the port it had before if that is free."""
        if not self._cluster.settings.registry:
            return
        from cove.node.registry import NoRegistryError, Registry, RegistryError
        from cove.node.registry.hosting import announce

        last = self._last_port("registry")
        for port in dict.fromkeys((last, 0)):
            registry = Registry(
                self._folder / "registry",
                port=port,
                gateways=[self._gateway],
                clock=self._cluster.clock,
            )
            try:
                self._registry = await stack.enter_async_context(registry)
                break
            except NoRegistryError as e:
                self._containers.missing.append(f"there is no image registry: {e}")
                return
            except (RegistryError, OSError) as e:
                if not port:
                    self._containers.missing.append(f"there is no image registry: {e}")
                    return
        self.addresses["registry"] = registry.address
        await announce(self._containers.client, registry.port)

    async def ingress(self, stack: AsyncExitStack, claims: Callable[[str], bool]) -> None:
        """The proxy for Ingresses, and a resolver for their names."""
        settings = self._cluster.settings
        if not settings.ingress:
            return
        from cove.node.ingress import CaddyError, IngressProxy, ListenError, Resolver

        domains = (DOMAIN, *settings.domains)
        # A cluster in memory is one of many: the ports that everybody knows are not for it.
        ports = None if self._cluster.folder is not None else 0
        try:
            proxy = await stack.enter_async_context(
                IngressProxy(
                    self._containers.client,
                    authority=lambda: self._cluster.authority,
                    folder=self._folder / "ingress",
                    informers=self._containers.informers,
                    addresses=["127.0.0.1", self._gateway],
                    http_port=ports,
                    https_port=ports,
                    domains=domains,
                    claims=claims,
                    clock=self._cluster.clock,
                )
            )
            resolver = await stack.enter_async_context(Resolver(domains))
        except (CaddyError, ListenError, OSError) as e:
            self._containers.missing.append(f"there is no ingress: {e}")
            return
        self.addresses["http"] = f"127.0.0.1:{proxy.http_port}"
        self.addresses["https"] = f"127.0.0.1:{proxy.https_port}"
        self.addresses["resolver"] = f"127.0.0.1:{resolver.port}"

    def _last_port(self, name: str) -> int:
        if self._cluster.folder is None:
            return 0
        address = self._cluster.folder.addresses.get(name, "")
        port = address.rpartition(":")[2]
        return int(port) if port.isdecimal() else 0
