"""Proxies: one port of this machine that leads to the endpoints of a service, in turn.

For loopback addresses, which the packet filter cannot redirect to pods without opening the
machine's loopback to its neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Self

from cove.client import Clock, SystemClock, Tasks
from cove.node.network._accept import Acceptor
from cove.node.network.endpoints import Endpoint

__all__ = ["Balance", "TcpProxy", "UdpProxy"]

log = logging.getLogger("cove.node")

CHUNK = 64 * 1024
CONNECT = 5.0
# Connections of one port at a time; UDP clients of one port, and the seconds they are kept
# without a packet (the kernel's for flows that were answered).
CONNECTIONS = 4096
CLIENTS = 1024
UDP_IDLE = 120.0
# Packets that wait for a client's socket.
_EARLY = 16
REMEMBERED = 4096


class Balance:
    """Whose turn it is: round robin, or the same again for ``affinity`` seconds (0: never)."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._endpoints: tuple[Endpoint, ...] = ()
        self._affinity = 0
        self._turn = 0
        self._known: OrderedDict[str, tuple[Endpoint, float]] = OrderedDict()

    def set(self, endpoints: Sequence[Endpoint], affinity: int = 0) -> None:
        """The endpoints from now on."""
        self._endpoints, self._affinity = tuple(endpoints), affinity

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints as they are now."""
        return self._endpoints

    def order(self, client: str) -> list[Endpoint]:
        """The endpoints to try for a client, best first."""
        endpoints = self._endpoints
        if not endpoints:
            return []
        self._turn += 1
        start = self._turn % len(endpoints)
        order = [*endpoints[start:], *endpoints[:start]]
        if self._affinity and client in self._known:
            last, when = self._known[client]
            if last in order and self._clock.monotonic() - when < self._affinity:
                order.remove(last)
                order.insert(0, last)
        return order

    def took(self, client: str, endpoint: Endpoint) -> None:
        """The client got that one."""
        if self._affinity:
            self._known.pop(client, None)
            self._known[client] = (endpoint, self._clock.monotonic())
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


class TcpProxy:
    """Listens on an address and port; raises OSError on entering if that cannot be."""

    def __init__(self, address: str, port: int, balance: Balance) -> None:
        self._balance = balance
        self._acceptor = Acceptor(address, port, self._serve, limit=CONNECTIONS)

    async def __aenter__(self) -> Self:
        await self._acceptor.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._acceptor.__aexit__(*exc)

    @property
    def port(self) -> int:
        """The port, also where 0 was asked for."""
        return self._acceptor.port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = str(writer.get_extra_info("peername")[0])
        found = await self._connect(client)
        if found is None:
            # A reset: as if nobody listened.
            writer.transport.abort()
            return
        back, forth = found
        one = asyncio.ensure_future(_copy(reader, forth))
        other = asyncio.ensure_future(_copy(back, writer))
        try:
            # When one side breaks, so does the other.
            await asyncio.gather(one, other)
            forth.close()
            await forth.wait_closed()
        finally:
            one.cancel()
            other.cancel()
            await asyncio.gather(one, other, return_exceptions=True)
            forth.transport.abort()

    async def _connect(
        self, client: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for endpoint in self._balance.order(client):
            try:
                async with asyncio.timeout(CONNECT):
                    streams = await asyncio.open_connection(
                        endpoint.address, endpoint.port, limit=CHUNK
                    )
            except (OSError, TimeoutError) as e:
                log.debug("%s:%s: %s", endpoint.address, endpoint.port, e)
                continue
            self._balance.took(client, endpoint)
            return streams
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    # One direction has ended; the other may go on.
    if writer.can_write_eof():
        writer.write_eof()
    await writer.drain()


class UdpProxy(asyncio.DatagramProtocol):
    """As :class:`TcpProxy`: every client has a socket of its own, closed when it is idle."""

    def __init__(
        self, address: str, port: int, balance: Balance, *, clock: Clock | None = None
    ) -> None:
        self._address, self._port = address, port
        self._balance = balance
        self._clock = clock or SystemClock()
        self._clients: OrderedDict[Any, _Client] = OrderedDict()
        self._tasks = Tasks()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=(self._address, self._port)
        )
        self._transport: asyncio.DatagramTransport = transport
        self._tasks.start(f"idle UDP clients of port {self._port}", self._sweep())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()
        for client in tuple(self._clients.values()):
            client.close()
        self._transport.close()
        await self._gone

    @property
    def port(self) -> int:
        """The port, also where 0 was asked for."""
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if not self._gone.done():
            self._gone.set_result(None)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A packet of a client."""
        client = self._clients.get(addr)
        if client is not None and client.endpoint not in self._balance.endpoints:
            client.close()
            client = None
        if client is None:
            order = self._balance.order(str(addr[0]))
            if not order:
                return
            if len(self._clients) >= CLIENTS:
                next(iter(self._clients.values())).close()
            client = _Client(self, addr, order[0])
            self._clients[addr] = client
            self._balance.took(str(addr[0]), order[0])
            self._tasks.start(f"UDP client of port {self._port}", client.open())
        client.last = self._clock.monotonic()
        self._clients.move_to_end(addr)
        client.send(data)

    def forget(self, addr: Any, client: _Client) -> None:
        """A client's socket is closed."""
        if self._clients.get(addr) is client:
            del self._clients[addr]

    def answer(self, data: bytes, addr: Any) -> None:
        """A packet back to a client."""
        if not self._transport.is_closing():
            self._transport.sendto(data, addr)

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(UDP_IDLE / 4)
            now = self._clock.monotonic()
            for client in tuple(self._clients.values()):
                if now - client.last >= UDP_IDLE:
                    client.close()


class _Client(asyncio.DatagramProtocol):
    """A client's socket towards its endpoint."""

    def __init__(self, proxy: UdpProxy, addr: Any, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.last = 0.0
        self._proxy, self._addr = proxy, addr
        self._early: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect, and send what came meanwhile."""
        with contextlib.suppress(OSError):
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: self, remote_addr=(self.endpoint.address, self.endpoint.port)
            )
            if self._closed:
                transport.close()
                return
            self._transport = transport
            for data in self._early:
                transport.sendto(data)
            self._early.clear()
            return
        self.close()

    def send(self, data: bytes) -> None:
        """To the endpoint."""
        if self._transport is not None:
            self._transport.sendto(data)
        elif len(self._early) < _EARLY:
            self._early.append(data)

    def close(self) -> None:
        """No more packets."""
        self._closed = True
        self._proxy.forget(self._addr, self)
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """An answer."""
        self._proxy.answer(data, self._addr)

    def error_received(self, exc: Exception) -> None:
        """The endpoint refuses: the next packet tries another one."""
        self.close()
