"""DnsService: the Service ``kube-dns``, by whose address pods find cluster DNS.

Every cluster has it at the tenth address of the service range.  Ours has no selector, and an
EndpointSlice that leads to the server on the bridge.  A chart that brings its own DNS gives
the Service a selector: then it is theirs, and our slice is taken back.  Where there is no such
Service but another one with its label, that one is used, and none is made.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from ipaddress import IPv4Network
from typing import Any, Self

from cove.client import Client, Clock, Informers, SystemClock, Tasks, UnreachableError
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.node.network.endpoints import SERVICE_NAME

__all__ = ["NAME", "NAMESPACE", "DnsService", "tenth"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]

SERVICES = GVR("", "v1", "services")
SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")

NAMESPACE, NAME, SLICE = "kube-system", "kube-dns", "kube-dns-cove"
LABEL = {"k8s-app": "kube-dns"}
MANAGER = {"endpointslice.kubernetes.io/managed-by": "dns.cove.dev"}
# Seconds until what failed is tried again.
AGAIN = 1.0


def tenth(subnet: IPv4Network) -> str:
    """Where clusters have their DNS."""
    return str(subnet.network_address + 10)


class DnsService:
    """Keeps the Service and its slice while it is entered; they stay when it is left.

    A restart finds them and puts the slice where the server is then.  ``address`` is the one
    that pods are to ask.
    """

    def __init__(
        self,
        client: Client,
        informers: Informers,
        *,
        subnet: IPv4Network,
        server: tuple[str, int],
        clock: Clock | None = None,
    ) -> None:
        self.address = ""
        self._client = client.named("cove-dns")
        self._services = informers.informer(SERVICES)
        self._server = server
        self._wanted = tenth(subnet)
        self._clock = clock or SystemClock()
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(Tasks())
            await self._services.synced.wait()
            await self._settle()
            self._services.add_handler(self._see)
            stack.callback(self._services.remove_handler, self._see)
            tasks.start("the Service kube-dns", self._keep())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _see(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if any(o is not None and (_is_dns(o) or self._at_tenth(o)) for o in (old, new)):
            self._changed.set()

    def _at_tenth(self, service: Doc) -> bool:
        return bool(service["spec"].get("clusterIP") == self._wanted)

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._settle()
            except (StatusError, UnreachableError) as e:
                log.info("kube-dns: %s", e)
                self._changed.set()
                await self._clock.sleep(AGAIN)

    async def _settle(self) -> None:
        """Make the objects what they have to be, and know the address."""
        own = self._services.get(NAMESPACE, NAME)
        if own is not None and _selects(own):
            await self._take_back()
            self.address = own["spec"]["clusterIP"]
            return
        if own is None or "deletionTimestamp" in own["metadata"]:
            theirs = next((s for s in self._services if _is_dns(s) and _selects(s)), None)
            if theirs is not None:
                self.address = theirs["spec"]["clusterIP"]
                return
            own = await self._create()
        await self._put_slice(own)
        self.address = own["spec"]["clusterIP"]

    async def _create(self) -> Doc:
        try:
            return await self._client.create(SERVICES, _service(self._wanted))
        except StatusError as e:
            if e.reason == "AlreadyExists":
                return await self._client.get(SERVICES, NAME, NAMESPACE)
            if e.code != 422:
                raise
            # Somebody has the tenth address: any other does as well.
            return await self._client.create(SERVICES, _service(""))

    async def _put_slice(self, service: Doc) -> None:
        address, port = self._server
        slice_: Doc = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": SLICE,
                "namespace": NAMESPACE,
                "labels": {SERVICE_NAME: NAME, **LABEL, **MANAGER},
                "ownerReferences": [
                    {
                        "apiVersion": "v1",
                        "kind": "Service",
                        "name": NAME,
                        "uid": service["metadata"]["uid"],
                    }
                ],
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [
                {"name": p["name"], "protocol": p["protocol"], "port": port}
                for p in service["spec"]["ports"]
                if p["port"] == 53
            ],
        }
        await self._client.apply(SLICES, slice_, field_manager="cove-dns", force=True)

    async def _take_back(self) -> None:
        try:
            await self._client.delete(SLICES, SLICE, NAMESPACE)
        except StatusError as e:
            if e.code != 404:
                raise


def _is_dns(service: Doc) -> bool:
    metadata = service["metadata"]
    if metadata["namespace"] != NAMESPACE:
        return False
    labels = metadata.get("labels") or {}
    return bool(metadata["name"] == NAME or labels.get("k8s-app") == "kube-dns")


def _selects(service: Doc) -> bool:
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("clusterIP") not in (None, "", "None")


def _service(address: str) -> Doc:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                **LABEL,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            **({"clusterIP": address} if address else {}),
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }
