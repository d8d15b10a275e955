"""Listener: DNS messages over UDP and TCP on one port, for whoever knows the answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode

from cove.client import Tasks

__all__ = ["Answerer", "Listener"]

log = logging.getLogger("cove.node")

Answerer = Callable[[dns.message.Message], dns.message.Message]

# What fits into a datagram unless the client says more (RFC 1035), and the most that is sent.
PLAIN = 512
LARGEST = 1232
# Seconds that a connection may say nothing.
IDLE = 30.0


class Listener:
    """Answers queries: ``async with Listener(answer, "127.0.0.1", 0) as listener``.

    ``port`` 0 takes one that is free for both; ``udp`` False listens on TCP alone.  Raises
    OSError for a port that is taken.
    """

    def __init__(self, answer: Answerer, address: str, port: int = 0, *, udp: bool = True) -> None:
        self.address = address
        self.port = port
        self._answer = answer
        self._udp = udp
        self._tasks = Tasks()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._tasks.close)
            # What is free for one protocol may be taken for the other.
            attempts = 1 if self.port or not self._udp else 16
            for attempt in range(attempts):
                try:
                    await self._listen(stack)
                    break
                except OSError:
                    if attempt == attempts - 1:
                        raise
            self._stack = stack.pop_all()
        return self

    async def _listen(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as made:
            server = await asyncio.start_server(self._accepted, self.address, self.port)
            made.push_async_callback(_closed, server)
            port: int = server.sockets[0].getsockname()[1]
            if self._udp:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(self.address, port)
                )
                made.callback(transport.close)
            self.port = port
            # Connections end before their server is waited for.
            made.push_async_callback(self._tasks.close)
            stack.push_async_callback(made.pop_all().aclose)

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start("dns connection", self._converse(reader, writer))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    query = await reader.readexactly(size)
                answer = self.respond(query, 65535)
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def respond(self, wire: bytes, limit: int = 0) -> bytes | None:
        """The answer to a message, None for what is not even one.

        ``limit`` 0: what the query says may be sent as a datagram.
        """
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR:
            return None
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            answer = dns.message.make_response(query)
            answer.set_rcode(dns.rcode.NOTIMP)
        else:
            answer = self._answer(query)
        size = limit or min(max(query.payload, PLAIN), LARGEST)
        try:
            return answer.to_wire(max_size=size)
        except dns.exception.TooBig:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC
            return short.to_wire(max_size=size)


async def _closed(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own is no subclass of the type it documents.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._listener.respond(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("dns: %s", exc)
