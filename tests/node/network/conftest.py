"""A real API server with controllers, and pods that are network namespaces on a bridge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from tests.node.network.lan import Lan, Outside, Pod, one_at_a_time, until

from cove.client import Informers
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR
from cove.node.network import ClusterNetwork

Doc = dict[str, Any]

PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")
SERVICES = GVR("", "v1", "services")
SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")


class World:
    """A cluster, its network and its pods."""

    def __init__(self, lan: Lan, cluster: EmbeddedCluster, network: ClusterNetwork) -> None:
        self.lan, self.cluster, self.network = lan, cluster, network
        self.client = cluster.client
        self._pods = 0

    async def pod(
        self, app: str, *, node: str = "n1", ready: bool = True, serve: bool = True, **spec: Any
    ) -> Pod:
        """A pod that answers on port 8080, TCP and UDP, with its address."""
        pod = self.lan.pod()
        self._pods += 1
        name = spec.pop("name", f"{app}-{self._pods}")
        if serve:
            await pod.serve()
            await pod.serve(protocol="UDP")
        await self.client.create(
            PODS,
            {
                "metadata": {"name": name, "labels": {"app": app}},
                "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}], **spec},
            },
            "default",
        )
        await self.set_status(name, pod, ready=ready)
        return pod

    async def set_status(self, name: str, pod: Pod, *, ready: bool) -> None:
        status = {
            "phase": "Running",
            "podIP": pod.address,
            "podIPs": [{"ip": pod.address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        await self.client.patch(
            PODS, name, {"status": status}, "default", type="strategic", subresource="status"
        )

    async def service(self, name: str, endpoints: int = -1, **spec: Any) -> Doc:
        """A service, once the packet filter knows it with that many endpoints (-1: any)."""
        ports = spec.pop("ports", [{"port": 80, "targetPort": 8080}])
        spec = {"selector": {"app": name}, "ports": ports, **spec}
        doc = {"metadata": {"name": name}, "spec": spec}
        made = await self.client.create(SERVICES, doc, "default")
        await self.known(name, endpoints)
        return made

    async def known(self, name: str, endpoints: int = -1) -> None:
        """Return when the network works with a service's endpoints, that many of them."""

        def there() -> bool:
            ports = [p for p in self.network._known if p.service == name]
            counts = [len(p.endpoints) for p in ports]
            return bool(ports) and (endpoints < 0 or all(c == endpoints for c in counts))

        await until(there)
        await self.network.settled()

    async def get(self, name: str) -> Doc:
        return await self.client.get(SERVICES, name, "default")


@asynccontextmanager
async def world_on(number: int, key: str, **options: Any) -> AsyncIterator[World]:
    """A cluster on the lan of that number."""
    async with AsyncExitStack() as stack:
        lan = await stack.enter_async_context(Lan(number, options.pop("services", "")))
        cluster = await stack.enter_async_context(
            embedded(
                nodes=0,
                service_subnet=str(lan.services),
                pod_subnet=str(lan.bridge.subnet),
                disable_admission=["ServiceAccount"],
            )
        )
        for name in ("n1", "n2"):
            await cluster.client.create(NODES, {"metadata": {"name": name}})
        informers = await stack.enter_async_context(Informers(cluster.client))
        network = await stack.enter_async_context(
            ClusterNetwork(
                cluster.client,
                informers=informers,
                bridge=lan.bridge,
                service_subnet=ip_network(lan.services),
                pod_subnet=lan.bridge.subnet,
                api=(str(lan.bridge.gateway), 6443),
                key=key,
                upstreams=options.pop("upstreams", ()),
                **options,
            )
        )
        yield World(lan, cluster, network)


@pytest.fixture
async def nothing_leaves() -> AsyncIterator[None]:
    """These tests one after the other, and no packet of theirs outside of this machine."""
    lock = one_at_a_time()
    await asyncio.to_thread(lock.__enter__)
    try:
        outside = Outside()
        yield
        assert outside.leaked() == []
    finally:
        lock.__exit__(None, None, None)


@pytest.fixture
async def world(nothing_leaves: None) -> AsyncIterator[World]:
    """One cluster and its network."""
    async with world_on(0, "5eed0000") as one:
        yield one
