"""Names: where Caddy asks which endpoints a backend has.

A name per backend and port of its pods, answered with the addresses of the moment.  Pods
that come and go change these answers alone: a new configuration would end idle connections
of clients, and with them now and then a request.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from cove.node.ingress._listener import Listener

__all__ = ["Names"]


class Names:
    """Answers for the names in ``table``, a TCP port of 127.0.0.1; replace it to change them."""

    def __init__(self) -> None:
        self.table: Mapping[str, Sequence[str]] = {}
        self._listener = Listener(self._answer, "127.0.0.1", udp=False)
        self._stack = AsyncExitStack()

    @property
    def address(self) -> str:
        """What Caddy's resolver is told: a network address of Caddy's notation."""
        return f"tcp/{self._listener.address}:{self._listener.port}"

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._listener)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        addresses = self.table.get(question.name.to_text().lower())
        if not addresses:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return response
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
        found = [a for a in addresses if ipaddress.ip_address(a).version == version]
        if found:
            response.answer.append(
                dns.rrset.from_text_list(question.name, 0, "IN", question.rdtype, found)
            )
        return response
