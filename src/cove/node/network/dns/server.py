"""DnsServer: answers over UDP and TCP, from a zone and from the machine's resolvers.

Source: RFC 1035, RFC 2308 (answers that something is not there), RFC 6891 (EDNS)
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import struct
from typing import Any, Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.message import Message
from dns.rdatatype import RdataType

from cove.client import Clock, SystemClock, Tasks
from cove.node.network._accept import Acceptor
from cove.node.network.dns.upstream import NoAnswerError, Upstreams
from cove.node.network.dns.zone import TTL, Answer, Record, Zone

__all__ = ["DnsServer"]

log = logging.getLogger("cove.node")

# Bytes of an answer over UDP: without EDNS, and the most with it (what never is fragmented).
PLAIN, MOST = 512, 1232
# CNAMEs followed for one question.
CHAIN = 8
# TCP connections at a time, and the seconds they may be idle.
CONNECTIONS = 256
IDLE = 30.0
_ATTEMPTS = 16


class DnsServer:
    """Serves while it is entered, on one address; ``port`` 0 takes one free for both.

    Answers about the cluster are made at once; others are awaited, at most as many at a time
    as :class:`Upstreams` takes.
    """

    def __init__(
        self,
        zone: Zone,
        upstreams: Upstreams,
        address: str,
        port: int = 0,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.address, self.port = address, port
        self._zone = zone
        self._upstreams = upstreams
        self._clock = clock or SystemClock()
        self._tasks = Tasks()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._zone.synced()
        for attempt in range(_ATTEMPTS):
            try:
                await self._bind()
            except OSError as e:
                # The port that is free for UDP need not be for TCP.
                last = attempt == _ATTEMPTS - 1
                if self.port or last or e.errno != errno.EADDRINUSE:
                    raise
            else:
                break
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            transport, datagrams = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=(self.address, self.port)
            )
            stack.push_async_callback(datagrams.wait_closed)
            stack.callback(transport.close)
            port = transport.get_extra_info("sockname")[1]
            stack.push_async_callback(self._tasks.close)
            await stack.enter_async_context(
                Acceptor(self.address, port, self._serve, limit=CONNECTIONS)
            )
            self._stack = stack.pop_all()
        self.port = port

    # -- UDP

    def datagram(self, data: bytes, transport: asyncio.DatagramTransport, addr: Any) -> None:
        """A question over UDP."""
        question = _parse(data)
        if isinstance(question, bytes):
            if question:
                transport.sendto(question, addr)
            return
        limit = max(PLAIN, min(question.payload, MOST)) if question.edns >= 0 else PLAIN
        now = self._at_once(question)
        if now is not None:
            transport.sendto(_wire(now, limit), addr)
            return

        async def later() -> None:
            answer = await self._asked(question, data, tcp=False)
            if not transport.is_closing():
                transport.sendto(_wire(answer, limit), addr)

        self._tasks.start("DNS question", later())

    # -- TCP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            timer = self._clock.call_later(IDLE, writer.transport.abort)
            try:
                size = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(size)
            finally:
                timer.cancel()
            question = _parse(data)
            if isinstance(question, bytes):
                answer = question
            else:
                made = self._at_once(question)
                if made is None:
                    made = await self._asked(question, data, tcp=True)
                answer = _wire(made, 0xFFFF)
            if not answer:
                return
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()

    # -- answers

    def _at_once(self, question: Message) -> Message | bytes | None:
        """The answer, if nobody has to be asked for it."""
        refused = _refused(question)
        if refused is not None:
            return refused
        asked = question.question[0]
        answer = self._zone.answer(asked.name.to_text(), asked.rdtype)
        if answer is None or any(r.type == RdataType.CNAME for r in answer.records):
            return None
        return _response(question, answer)

    async def _asked(self, question: Message, data: bytes, *, tcp: bool) -> Message | bytes:
        """The answer that others are asked for, whole or the end of a chain of CNAMEs."""
        asked = question.question[0]
        name, type_ = asked.name.to_text(), asked.rdtype
        chain: list[Record] = []
        for _ in range(CHAIN):
            answer = self._zone.answer(name, type_)
            if answer is None:
                break
            aliases = [r for r in answer.records if r.type == RdataType.CNAME]
            if not aliases or type_ == RdataType.CNAME:
                return _response(question, answer, chain)
            chain += aliases
            name = aliases[0].text
        try:
            if not chain:
                return await self._upstreams.ask(data, tcp=tcp)
            if answer is not None:
                raise NoAnswerError("the chain of aliases is too long")
            further = dns.message.make_query(name, type_, use_edns=0, payload=MOST)
            said = await self._upstreams.ask(further.to_wire(), tcp=tcp)
            return _joined(question, chain, dns.message.from_wire(said, ignore_trailing=True))
        except (NoAnswerError, dns.exception.DNSException) as e:
            log.debug("%s: %s", name, e)
            failed = _plain(question)
            failed.set_rcode(dns.rcode.SERVFAIL)
            return failed


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set_result(None)

    async def wait_closed(self) -> None:
        await self._gone

    def datagram_received(self, data: bytes, addr: Any) -> None:
        # Not every loop's transport is an instance of what it is documented to be.
        self._server.datagram(data, cast(asyncio.DatagramTransport, self._transport), addr)


def _parse(data: bytes) -> Message | bytes:
    """The question, or what to answer to something that is none (nothing at all if empty)."""
    if len(data) < 12 or data[2] & 0x80:
        return b""  # an answer, or too short to answer
    try:
        return dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        flags = (data[2] & 0x79) | 0x80
        return data[:2] + bytes((flags, 0x80 | dns.rcode.FORMERR)) + bytes(8)


def _refused(question: Message) -> Message | None:
    """The answer to what is not answered."""
    code: dns.rcode.Rcode | None = None
    if question.opcode() != dns.opcode.QUERY:
        code = dns.rcode.NOTIMP
    elif len(question.question) != 1:
        code = dns.rcode.FORMERR
    elif question.edns > 0:
        code = dns.rcode.BADVERS
    elif question.question[0].rdclass != dns.rdataclass.IN or _transfer(question):
        code = dns.rcode.REFUSED
    if code is None:
        return None
    response = _plain(question)
    response.set_rcode(code)
    return response


def _transfer(question: Message) -> bool:
    return question.question[0].rdtype in (RdataType.AXFR, RdataType.IXFR)


def _plain(question: Message) -> Message:
    response: Message = dns.message.make_response(question, recursion_available=True)
    if question.edns >= 0:
        response.use_edns(0, payload=MOST)
    return response


def _response(question: Message, answer: Answer, chain: list[Record] | None = None) -> Message:
    response = _plain(question)
    response.flags |= dns.flags.AA
    for record in (*(chain or ()), *answer.records):
        _put(response, response.answer, record)
    for record in answer.additional:
        _put(response, response.additional, record)
    if not answer.records:
        _put(response, response.authority, answer.authority)
        if not answer.exists:
            response.set_rcode(dns.rcode.NXDOMAIN)
    return response


def _joined(question: Message, chain: list[Record], said: Message) -> Message:
    """What a resolver said of the end of a chain, with the chain before it."""
    response = _plain(question)
    for record in chain:
        _put(response, response.answer, record)
    response.answer += said.answer
    response.authority += said.authority
    response.set_rcode(said.rcode())
    response.flags |= said.flags & dns.flags.TC
    return response


def _put(response: Message, section: list[dns.rrset.RRset], record: Record) -> None:
    name = dns.name.from_text(record.name)
    asked = response.question[0].name
    rrset = response.find_rrset(
        section,
        # Resolvers compare what they asked with what they get, some of them to the letter.
        asked if name == asked else name,
        dns.rdataclass.IN,
        record.type,
        create=True,
    )
    rrset.add(record.rdata(), TTL)


def _wire(response: Message | bytes, limit: int) -> bytes:
    """A message, cut off where the limit is."""
    if isinstance(response, bytes):
        return response
    return response.to_wire(max_size=limit, prefer_truncation=True)
