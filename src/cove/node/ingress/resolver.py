"""Resolver: a DNS server by which every name of a development domain is this machine.

It knows the declared domains and nothing else; what a cluster's pods ask is answered by
:mod:`cove.node.network`.

Source: RFC 1035, RFC 2308 (negative answers)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from cove.node.ingress._listener import Listener

__all__ = ["Instruction", "Resolver", "instructions"]

TTL = 60


class Instruction(NamedTuple):
    """How one platform's resolver is pointed at a :class:`Resolver`.

    ``file`` is to hold ``text``, "" where there is nothing to write; ``sentence`` says what
    to do.
    """

    platform: str
    sentence: str
    file: str = ""
    text: str = ""


def instructions(domains: Sequence[str], address: str, port: int) -> list[Instruction]:
    """What to do on each platform so that the names of ``domains`` are asked of the resolver."""
    others = [d for d in domains if d != "localhost" and not d.endswith(".localhost")]
    out = []
    if len(others) < len(domains):
        out.append(
            Instruction(
                "any",
                "Browsers, curl and systemd-resolved take every name below localhost for this "
                "machine by themselves: nothing to do for them.",
            )
        )
    named = " ".join(f"~{d}" for d in domains)
    out.append(
        Instruction(
            "systemd-resolved",
            "Write the file as root and run: systemctl restart systemd-resolved",
            "/etc/systemd/resolved.conf.d/cove.conf",
            f"[Resolve]\nDNS={address}:{port}\nDomains={named}\n",
        )
    )
    for domain in domains:
        out.append(
            Instruction(
                "macOS",
                "Write the file as root; it counts at once.",
                f"/etc/resolver/{domain}",
                f"nameserver {address}\nport {port}\n",
            )
        )
    return out


class Resolver:
    """``async with Resolver(["cove.localhost"]) as resolver``: UDP and TCP on one port.

    Every name at or below ``domains`` has the address ``answer``; every other name is
    refused.  ``port`` 0 takes a free one.  Raises OSError for a port that is taken.
    """

    def __init__(
        self,
        domains: Sequence[str],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        answer: str = "127.0.0.1",
    ) -> None:
        self.domains: tuple[str, ...] = ()
        self._zones: list[dns.name.Name] = []
        for domain in domains:
            self.add(domain)
        self._type = dns.rdatatype.A
        if ipaddress.ip_address(answer).version == 6:
            self._type = dns.rdatatype.AAAA
        self._text = answer
        self._listener = Listener(self.answer, address, port)
        self._stack = AsyncExitStack()

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._listener.address

    @property
    def port(self) -> int:
        """The port it listens on, for UDP and TCP."""
        return self._listener.port

    @property
    def instructions(self) -> list[Instruction]:
        """How to point the machine at it."""
        return instructions(self.domains, self.address, self.port)

    def add(self, domain: str) -> None:
        """Answer for one more, at any time; a name alone is a domain with that one name."""
        self._zones.append(dns.name.from_text(domain.lower()))
        self.domains = (*self.domains, domain)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._listener)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The answer to a query of one question."""
        question = query.question[0]
        response = dns.message.make_response(query)
        zones = [z for z in self._zones if question.name.is_subdomain(z)]
        if not zones or question.rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA
        zone = max(zones, key=len)
        wanted = question.rdtype
        if wanted in (self._type, dns.rdatatype.ANY):
            response.answer.append(
                dns.rrset.from_text(question.name, TTL, "IN", self._type, self._text)
            )
        elif wanted == dns.rdatatype.SOA and question.name == zone:
            response.answer.append(_soa(zone))
        elif wanted == dns.rdatatype.NS and question.name == zone:
            response.answer.append(dns.rrset.from_text(zone, TTL, "IN", "NS", f"ns.{zone}"))
        else:
            # The name exists, other data of it does not: an answer without any.
            response.authority.append(_soa(zone))
        return response


def _soa(zone: dns.name.Name) -> dns.rrset.RRset:
    text = f"ns.{zone} hostmaster.{zone} 1 3600 600 86400 {TTL}"
    return dns.rrset.from_text(zone, TTL, "IN", "SOA", text)
