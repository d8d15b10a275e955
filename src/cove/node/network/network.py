"""ClusterNetwork: everything that makes a cluster's addresses work, started and stopped whole."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Self

from cove.client import Client, Clock, Handler, Informer, Informers, SystemClock
from cove.client.meta import key_of
from cove.kube.gvk import GVR
from cove.node.network._ports import BridgePorts
from cove.node.network._run import CommandError
from cove.node.network.alive import Alive, held
from cove.node.network.bridge import Bridge
from cove.node.network.dns import (
    DnsServer,
    DnsService,
    Upstreams,
    Zone,
    host_resolv_conf,
    resolv_conf,
)
from cove.node.network.endpoints import ServicePort, service_key, service_ports
from cove.node.network.flows import Flows
from cove.node.network.loadbalancer import LoadBalancer
from cove.node.network.machine import MachineLacksError, missing
from cove.node.network.packetfilter import PacketFilter, reap_rules
from cove.node.network.routes import Routes, reap_routes
from cove.node.network.rules import Machine, Rules, render
from cove.node.nodes import SIMULATED

__all__ = ["ClusterNetwork", "reap"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]
Address = tuple[str, int]

PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")
SERVICES = GVR("", "v1", "services")
SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
_RESOLV_CONF = Path("/etc/resolv.conf")


class ClusterNetwork:
    """Services, node ports, load balancers and DNS of a cluster, while it is entered.

    ``bridge`` is the one that the pods are on, and ``api`` where they reach the API server.
    ``key``, eight hexadecimal digits, names what is changed on this machine: no two clusters
    may have the same at a time, and a cluster that comes back should have its own again.
    ``upstreams`` are the resolvers (host, port) for names that are not the cluster's, None
    for the machine's own; ``wildcards`` are suffixes whose names are all one address, and
    :attr:`wildcards` may be changed at any time.

    Entering raises :class:`MachineLacksError` where the machine has not what it takes; nothing
    is changed then.  Leaving removes every rule and route; objects of the cluster stay.
    """

    def __init__(
        self,
        client: Client,
        *,
        informers: Informers,
        bridge: Bridge,
        service_subnet: IPv4Network,
        pod_subnet: IPv4Network,
        api: Address,
        key: str,
        upstreams: Sequence[Address] | None = None,
        wildcards: Mapping[str, str] | None = None,
        domain: str = "cluster.local",
        clock: Clock | None = None,
    ) -> None:
        if len(key) != 8 or set(key) - set("0123456789abcdef"):
            raise ValueError(f"the key of a cluster's network is eight hexadecimal digits: {key!r}")
        self.bridge = bridge
        self.domain = domain
        self._client = client
        self._informers = informers
        self._service_subnet, self._pod_subnet = service_subnet, pod_subnet
        self._api = api
        self._key = key
        self._clock = clock or SystemClock()
        self._upstreams = tuple(upstreams) if upstreams is not None else None
        self._wildcards: MutableMapping[str, str] = dict(wildcards or {})
        self._stack = AsyncExitStack()
        self._ports = BridgePorts(bridge.interface)
        self._flows = Flows()
        self._known: list[ServicePort] = []
        self._node_addresses: dict[str, str] = {}
        self._own: list[tuple[str, int]] = []

    async def __aenter__(self) -> Self:
        lacks = missing()
        if lacks:
            raise MachineLacksError(lacks)
        try:
            async with AsyncExitStack() as stack:
                await self._start(stack)
                self._stack = stack.pop_all()
        except CommandError as e:
            raise MachineLacksError([f"It does not let itself be changed: {e}."]) from e
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        stack.enter_context(Alive(self._key))
        gateway = str(self.bridge.gateway)
        pods, services = self._pod_subnet, self._service_subnet
        routes = await stack.enter_async_context(
            Routes(self._key, pods=pods, services=services, source=self.bridge.gateway)
        )
        await stack.enter_async_context(self._ports)
        self._informers_of_ours()
        for informer in (self._services, self._slices, self._pods, self._nodes):
            await informer.synced.wait()
        self._zone = Zone(
            self._informers,
            domain=self.domain,
            subnets=(pods, services),
            wildcards=self._wildcards,
        )
        upstreams = Upstreams(self._resolvers, clock=self._clock)
        server = await stack.enter_async_context(
            DnsServer(self._zone, upstreams, gateway, clock=self._clock)
        )
        self._own = [("udp", server.port), ("tcp", server.port)]
        if self._api[0] == gateway:
            self._own.append(("tcp", self._api[1]))
        self._dns = await stack.enter_async_context(
            DnsService(
                self._client,
                self._informers,
                subnet=services,
                server=(gateway, server.port),
                clock=self._clock,
            )
        )
        self._zone.server = self._dns.address
        self._filter = await stack.enter_async_context(
            PacketFilter(
                self._key,
                self._rules,
                applied=self._applied,
                look=routes.check,
                clock=self._clock,
            )
        )
        self._balancer = await stack.enter_async_context(
            LoadBalancer(self._client, self._services, self._ports_of, clock=self._clock)
        )
        self._follow(stack, self._services, self._service_changed)
        self._follow(stack, self._slices, self._slice_changed)
        self._follow(stack, self._nodes, self._node_changed)
        self._follow(stack, self._pods, self._pod_changed)

    def _informers_of_ours(self) -> None:
        informer = self._informers.informer
        self._services, self._slices = informer(SERVICES), informer(SLICES)
        self._pods, self._nodes = informer(PODS), informer(NODES)
        self._slices.add_index("service-name", lambda s: [k] if (k := service_key(s)) else [])
        self._pods.add_index("address", _pod_addresses)

    @staticmethod
    def _follow(stack: AsyncExitStack, informer: Informer, handler: Handler) -> None:
        informer.add_handler(handler)
        stack.callback(informer.remove_handler, handler)

    # -- what others ask

    @property
    def dns_address(self) -> str:
        """The address of cluster DNS, for pods."""
        return self._dns.address

    @property
    def wildcards(self) -> MutableMapping[str, str]:
        """Suffixes whose names are all one address: change it as you like."""
        return self._zone.wildcards

    @property
    def quiet(self) -> bool:
        """Whether everything known so far has been put to work."""
        return self._filter.quiet and self._balancer.quiet

    async def settled(self) -> None:
        """Return when the packet filter does what is known so far."""
        await self._filter.settled()

    async def check(self) -> None:
        """Put back what somebody else removed of rules and routes, now and not at times."""
        await self._filter.check()

    def claims(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether something of the cluster really is at an address of its ranges.

        That is a pod that runs on the bridge, the bridge itself or a node's address, and
        addresses of services, which are refused if nothing is behind them.
        """
        text = str(address)
        if address == self.bridge.gateway or text in self._node_addresses:
            return True
        if any(self._runs(pod) for pod in self._pods.indexed("address", text)):
            return True
        return bool(self._services.indexed("cluster-ip", text))

    def resolv_conf(self, pod: Doc) -> str:
        """The resolv.conf of a pod's containers."""
        spec = pod["spec"]
        return resolv_conf(
            pod["metadata"]["namespace"],
            spec.get("dnsPolicy", "ClusterFirst"),
            spec.get("dnsConfig"),
            host_resolv_conf(_RESOLV_CONF),
            dns=self.dns_address,
            domain=self.domain,
            host_network=bool(spec.get("hostNetwork")),
        )

    # -- what the parts are told

    def _rules(self) -> Rules:
        self._ports.turn_back()
        self._known = sorted(
            (port for service in self._services for port in self._ports_of(service)),
            key=lambda p: (p.namespace, p.service, p.name, p.protocol, p.port),
        )
        self._node_addresses = self._nodes_here()
        machine = Machine(
            key=self._key,
            bridge=self.bridge,
            pod_subnet=self._pod_subnet,
            service_subnet=self._service_subnet,
            nodes=self._node_addresses,
            pods=self._pod_nodes() if self._by_node() else {},
            own=self._own,
            masquerade_pods=not self._ports.filtered,
        )
        return render(self._known, machine)

    async def _applied(self) -> None:
        await self._flows.changed(self._known, self._node_addresses)

    def _ports_of(self, service: Doc) -> list[ServicePort]:
        return service_ports(
            service, self._slices.indexed("service-name", key_of(service)), self._api
        )

    def _nodes_here(self) -> dict[str, str]:
        """Addresses of this machine that stand for nodes, and for which."""
        out = {str(self.bridge.gateway): ""}
        for node in self._nodes:
            metadata = node["metadata"]
            if SIMULATED in (metadata.get("labels") or {}):
                continue
            for entry in (node.get("status") or {}).get("addresses") or ():
                if entry["type"] != "InternalIP":
                    continue
                address = ip_address(entry["address"])
                if address.version == 4 and not address.is_loopback:
                    out.setdefault(str(address), metadata["name"])
        return out

    def _by_node(self) -> bool:
        return any(port.internal_local for port in self._known)

    def _pod_nodes(self) -> dict[str, str]:
        return {
            address: pod["spec"].get("nodeName", "")
            for pod in self._pods
            for address in _pod_addresses(pod)
            if self._runs(pod) and ip_address(address).version == 4
        }

    def _runs(self, pod: Doc) -> bool:
        """Whether a pod with an address is really there."""
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return False
        node = self._nodes.get(None, pod["spec"].get("nodeName") or "")
        labels = (node or {}).get("metadata", {}).get("labels") or {}
        return SIMULATED not in labels

    def _resolvers(self) -> Sequence[Address]:
        if self._upstreams is not None:
            return self._upstreams
        own = (self.dns_address, str(self.bridge.gateway))
        said = host_resolv_conf(_RESOLV_CONF).nameservers
        return [(address, 53) for address in said if address not in own]

    # -- what changes

    def _service_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._filter.poke()
        self._balancer.changed(key_of(new or old or {}))
        self._zone.server = self._dns.address

    def _slice_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._filter.poke()
        for key in {service_key(s) for s in (old, new) if s is not None}:
            if key:
                self._balancer.changed(key)

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if old is None or new is None or _addresses_of(old) != _addresses_of(new):
            self._filter.poke()

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if self._by_node() and (_where(old) != _where(new)):
            self._filter.poke()


async def reap(keys_alive: Collection[str] = ()) -> None:
    """Remove what clusters left behind on this machine.

    Those that run now are known; ``keys_alive`` are more whose rules are to stay, such as
    those of clusters that will come back.  Does nothing where :func:`missing` finds something: there nothing can be.
    """
    if missing():
        return
    alive = {*keys_alive, *held()}
    await reap_rules(alive)
    await reap_routes(alive)


def _pod_addresses(pod: Doc) -> list[str]:
    if pod["spec"].get("hostNetwork"):
        return []
    status = pod.get("status", {})
    found = [p["ip"] for p in status.get("podIPs") or ()] or [status.get("podIP")]
    return [address for address in found if address]


def _where(pod: Doc | None) -> tuple[Any, ...]:
    if pod is None:
        return ()
    phase = pod.get("status", {}).get("phase")
    return (*_pod_addresses(pod), pod["spec"].get("nodeName"), phase in ("Succeeded", "Failed"))


def _addresses_of(node: Doc) -> Any:
    return (node.get("status") or {}).get("addresses")
