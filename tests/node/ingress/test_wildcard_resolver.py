"""The resolver of development domains, asked by a real client over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from cove.node.ingress import Resolver, instructions

CASES = [
    ("web.cove.localhost", "A", "NOERROR", "127.0.0.1"),
    ("a.b.c.Cove.localhost", "A", "NOERROR", "127.0.0.1"),
    ("cove.localhost", "A", "NOERROR", "127.0.0.1"),
    ("web.cove.localhost", "AAAA", "NOERROR", ""),
    ("web.cove.localhost", "MX", "NOERROR", ""),
    ("cove.localhost", "SOA", "NOERROR", "ns.cove.localhost."),
    ("x.shop.test", "A", "NOERROR", "127.0.0.1"),
    ("notcove.localhost", "A", "REFUSED", ""),
    ("example.com", "A", "REFUSED", ""),
]


@pytest.mark.parametrize(("name", "kind", "code", "answer"), CASES)
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_names_of_the_domains_are_this_machine(
    protocol: str, name: str, kind: str, code: str, answer: str
) -> None:
    """Others are refused; what there is not is answered with a start of authority."""
    async with Resolver(["cove.localhost", "shop.test"]) as resolver:
        ask = dns.asyncquery.udp if protocol == "udp" else dns.asyncquery.tcp
        query = dns.message.make_query(name, kind)
        response = await ask(query, resolver.address, port=resolver.port, timeout=10)
    assert dns.rcode.to_text(response.rcode()) == code
    text = response.answer[0][0].to_text() if response.answer else ""
    assert text.startswith(answer)
    assert bool(response.answer) == bool(answer)
    assert bool(response.authority) == (code == "NOERROR" and not answer)


async def test_what_is_no_query_is_not_answered() -> None:
    """Nor does it harm anybody: the next question is."""
    async with Resolver(["cove.localhost"]) as resolver:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"nonsense", (resolver.address, resolver.port))
        reader, writer = await asyncio.open_connection(resolver.address, resolver.port)
        writer.write(b"\0\3abc")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        query = dns.message.make_query("a.cove.localhost", "A")
        response = await dns.asyncquery.udp(query, resolver.address, port=resolver.port, timeout=10)
    assert response.answer


async def test_a_port_that_is_taken_is_an_error() -> None:
    """And nothing is left open."""
    async with Resolver(["a.test"]) as first:
        with pytest.raises(OSError):
            async with Resolver(["b.test"], port=first.port):
                pass


def test_each_platform_is_told_what_to_do() -> None:
    """A file and its text; names below localhost need nothing in most places."""
    told = instructions(["cove.localhost", "shop.test"], "127.0.0.1", 5353)
    assert [i.platform for i in told] == ["any", "systemd-resolved", "macOS", "macOS"]
    assert "DNS=127.0.0.1:5353\nDomains=~cove.localhost ~shop.test\n" in told[1].text
    assert told[3].file == "/etc/resolver/shop.test"
    assert told[3].text == "nameserver 127.0.0.1\nport 5353\n"
