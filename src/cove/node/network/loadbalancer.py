"""LoadBalancer: Services of type LoadBalancer, and node ports, on this machine's loopback.

A service gets 127.0.0.1, or where another service of the cluster has one of its ports there,
an address of 127.88.0.0/16 (Linux answers for all of 127.0.0.0/8).  Node ports are on
127.0.0.1.  A port that cannot be had is told in an event on the Service and tried again.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_network
from typing import Any, Self

from cove.client import (
    Client,
    Clock,
    Informer,
    QueueClosed,
    Recorder,
    SystemClock,
    Tasks,
    UnreachableError,
    WorkQueue,
)
from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.node.network.endpoints import ServicePort, chosen
from cove.node.network.proxy import Balance, TcpProxy, UdpProxy

__all__ = ["CLASS", "LoadBalancer"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]
Place = tuple[str, str, int]

SERVICES = GVR("", "v1", "services")
CLASS = "cove.dev/loopback"
HOST = "127.0.0.1"
MORE = ip_network("127.88.0.0/16")
# Seconds until a port that was taken is tried again.
AGAIN = 5.0


class _Listener:
    """A port that is listened on: (protocol, address, number)."""

    def __init__(self, stack: AsyncExitStack, balance: Balance) -> None:
        self.stack = stack
        self.balance = balance


class LoadBalancer:
    """Listens while it is entered; leaving closes every port and leaves statuses as they are.

    ``ports`` gives a service's ports with their endpoints.  Call :meth:`changed` with a
    service's key when those change.  One worker: addresses are given out one at a time.
    """

    def __init__(
        self,
        client: Client,
        services: Informer,
        ports: Callable[[Doc], list[ServicePort]],
        *,
        clock: Clock | None = None,
    ) -> None:
        self._client = client.named("cove-load-balancer")
        self._services = services
        self._ports = ports
        self._clock = clock or SystemClock()
        self._queue: WorkQueue[str] = WorkQueue(clock=self._clock, base=0.05, limit=30.0)
        self._recorder = Recorder(self._client, "cove-load-balancer", clock=self._clock)
        self._listeners: dict[str, dict[Place, _Listener]] = {}
        self._addresses: dict[str, str] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._recorder)
            stack.push_async_callback(self._close)
            tasks = await stack.enter_async_context(Tasks())
            stack.callback(self._queue.close)
            await self._services.synced.wait()
            for service in self._services:
                # What was given out before stays where it was.
                self._remember(service)
                self.changed(key_of(service))
            tasks.start("load balancer", self._work())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def changed(self, key: str) -> None:
        """A service, or what is behind it, is not as it was."""
        self._queue.add(key)

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be done."""
        return self._queue.idle and self._recorder.quiet

    async def _close(self) -> None:
        for key in tuple(self._listeners):
            await self._listen(key, {}, [])

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._sync(key)
            except (StatusError, UnreachableError) as e:
                level = logging.DEBUG if isinstance(e, StatusError) else logging.INFO
                log.log(level, "load balancer: %s: %s", key, e)
                self._queue.add_rate_limited(key)
            except Exception:
                log.exception("load balancer: %s failed", key)
                self._queue.add_rate_limited(key)
            else:
                self._queue.forget(key)
            finally:
                self._queue.done(key)
            await asyncio.sleep(0)

    def _remember(self, service: Doc) -> None:
        for ip in _given(service):
            if _ours(service) and ip_address(ip).is_loopback:
                self._addresses.setdefault(key_of(service), ip)

    async def _sync(self, key: str) -> None:
        service = self._services.get_key(key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            self._addresses.pop(key, None)
            await self._listen(key, {}, [])
            return
        ports = self._ports(service)
        balanced = _ours(service)
        wanted: dict[Place, ServicePort] = {}
        address = ""
        if balanced:
            address = self._address(key, ports)
            wanted |= {(p.protocol, address, p.port): p for p in ports if _can(p)}
        else:
            self._addresses.pop(key, None)
        wanted |= {(p.protocol, HOST, p.node_port): p for p in ports if p.node_port and _can(p)}
        failed = await self._listen(key, wanted, ports)
        for (protocol, host, number), error in failed:
            message = f"{host}:{number}/{protocol} cannot be listened on: {_why(error)}"
            self._recorder.event(
                reference(service, "v1", "Service"), "Warning", "PortTaken", message
            )
        if failed:
            self._queue.add_after(key, AGAIN)
        taken = {place for place, _ in failed}
        whole = not any(host == address and number in _numbers(ports) for _, host, number in taken)
        if balanced:
            await self._tell(service, address, ports, whole=whole)
        elif not service["spec"].get("loadBalancerClass"):
            await self._withdraw(service)

    # -- addresses

    def _address(self, key: str, ports: list[ServicePort]) -> str:
        """Where a service is: where it was, or the first address whose ports are free."""
        known = self._addresses.get(key)
        if known is not None and self._free(key, known, ports):
            return known
        candidates: Iterable[Any] = (HOST, *MORE.hosts()) if known is None else (known, HOST)
        for candidate in candidates:
            if self._free(key, str(candidate), ports):
                self._addresses[key] = str(candidate)
                return str(candidate)
        if known is not None:
            del self._addresses[key]
            return self._address(key, ports)
        return HOST

    def _free(self, key: str, address: str, ports: list[ServicePort]) -> bool:
        """Whether no other service has, or is to have, one of the ports at an address."""
        wanted = {(p.protocol, p.port) for p in ports}
        for other, listeners in self._listeners.items():
            if other != key and any(a == address and (t, n) in wanted for t, a, n in listeners):
                return False
        for other, given in self._addresses.items():
            if other == key or given != address:
                continue
            service = self._services.get_key(other)
            if service is not None and any(
                (p.get("protocol", "TCP"), p["port"]) in wanted
                for p in service["spec"].get("ports") or ()
            ):
                return False
        return True

    # -- listening

    async def _listen(
        self, key: str, wanted: dict[Place, ServicePort], ports: list[ServicePort]
    ) -> list[tuple[Place, OSError]]:
        """Listen on what is wanted and nothing else; what could not be, and why."""
        listeners = self._listeners.setdefault(key, {})
        for place in [p for p in listeners if p not in wanted]:
            await listeners.pop(place).stack.aclose()
        failed = []
        for place, port in wanted.items():
            known = listeners.get(place)
            if known is None:
                try:
                    known = listeners[place] = await self._open(place)
                except OSError as e:
                    failed.append((place, e))
                    continue
            known.balance.set(chosen(port.endpoints), port.affinity)
        if not listeners:
            del self._listeners[key]
        return failed

    async def _open(self, place: Place) -> _Listener:
        protocol, address, number = place
        balance = Balance(clock=self._clock)
        proxy: TcpProxy | UdpProxy
        if protocol == "TCP":
            proxy = TcpProxy(address, number, balance)
        else:
            proxy = UdpProxy(address, number, balance, clock=self._clock)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(proxy)
            return _Listener(stack.pop_all(), balance)

    # -- status

    async def _tell(
        self, service: Doc, address: str, ports: list[ServicePort], *, whole: bool
    ) -> None:
        """Write the address once its ports are open; a service that lost one keeps it."""
        if not whole and not _given(service):
            return
        ingress: Doc = {"ip": address, "ipMode": "Proxy"}
        refused = [p for p in ports if not _can(p)]
        if refused:
            ingress["ports"] = [
                {"port": p.port, "protocol": p.protocol}
                | ({} if _can(p) else {"error": "ProtocolNotSupported"})
                for p in ports
            ]
        await self._write(service, {"ingress": [ingress]})

    async def _withdraw(self, service: Doc) -> None:
        """A service that is none of ours any more loses what we gave it."""
        if service["spec"].get("type") != "LoadBalancer" and _given(service):
            await self._write(service, {"ingress": None})

    async def _write(self, service: Doc, balancer: Doc) -> None:
        now = (service.get("status") or {}).get("loadBalancer") or {}
        if (now.get("ingress") or None) == balancer["ingress"]:
            return
        metadata = service["metadata"]
        await self._client.patch(
            SERVICES,
            metadata["name"],
            {"metadata": {"uid": metadata["uid"]}, "status": {"loadBalancer": balancer}},
            metadata["namespace"],
            type="merge",
            subresource="status",
        )


def _ours(service: Doc) -> bool:
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and spec.get("loadBalancerClass") in (None, "", CLASS)


def _can(port: ServicePort) -> bool:
    """Whether the port is one that a proxy can listen on."""
    return port.protocol in ("TCP", "UDP")


def _numbers(ports: list[ServicePort]) -> set[int]:
    return {p.port for p in ports}


def _given(service: Doc) -> list[str]:
    status = (service.get("status") or {}).get("loadBalancer") or {}
    return [i["ip"] for i in status.get("ingress") or () if i.get("ip")]


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; it is tried again until that one ends"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need root"
    return error.strerror or str(error)
