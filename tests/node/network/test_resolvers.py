"""What pods and cluster DNS do with resolvers: resolv.conf, questions that nobody answers."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.node.network.lan import until

from cove.client import Informers, ManualClock
from cove.engines.embedded import EmbeddedCluster
from cove.node.network import ResolvConf, resolv_conf
from cove.node.network.dns import DnsServer, Upstreams, Zone
from cove.node.network.dns.upstream import IN_FLIGHT, NoAnswerError

HOST = ResolvConf.parse(
    "# comment\nsearch old.example\nsearch corp.example example\n"
    "nameserver 127.0.0.53 # local\nnameserver 192.0.2.53\noptions edns0 ndots:2\n"
)
DNS = "10.96.0.10"
CLUSTER = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example example\n"


@pytest.mark.parametrize(
    ("policy", "host_network", "config", "expected"),
    [
        pytest.param(
            *("ClusterFirst", False, None),
            f"{CLUSTER}nameserver {DNS}\noptions ndots:5\n",
            id="cluster first",
        ),
        pytest.param(
            *("ClusterFirst", True, None),
            "search corp.example example\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n"
            "options edns0 ndots:2\n",
            id="cluster first on the host's network is the host's",
        ),
        pytest.param(
            *("ClusterFirstWithHostNet", True, None),
            f"{CLUSTER}nameserver {DNS}\noptions ndots:5\n",
            id="with host net",
        ),
        pytest.param(
            *("Default", False, None),
            "search corp.example example\nnameserver 192.0.2.53\noptions edns0 ndots:2\n",
            id="default leaves out the host's loopback",
        ),
        pytest.param(
            *("None", False, {"nameservers": ["192.0.2.1"], "searches": ["a.example"]}),
            "search a.example\nnameserver 192.0.2.1\n",
            id="none is what the pod says",
        ),
        pytest.param(
            "ClusterFirst",
            False,
            {
                "nameservers": [DNS, "192.0.2.1"],
                "searches": ["example", "b.example"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
            },
            f"{CLUSTER[:-1]} b.example\nnameserver {DNS}\nnameserver 192.0.2.1\n"
            "options ndots:2 rotate\n",
            id="dnsConfig is merged",
        ),
    ],
)
def test_resolv_conf_follows_the_policy(
    policy: str, host_network: bool, config: dict[str, Any] | None, expected: str
) -> None:
    """As kubelet writes it."""
    made = resolv_conf("shop", policy, config, HOST, dns=DNS, host_network=host_network)
    assert made == expected


def test_hosts_that_know_only_themselves_leave_pods_cluster_dns() -> None:
    """It asks them in turn."""
    host = ResolvConf(("127.0.0.53",))
    assert resolv_conf("shop", "Default", None, host, dns=DNS) == f"nameserver {DNS}\n"


@given(
    st.lists(st.from_regex(r"[a-z]{1,60}\.example", fullmatch=True), max_size=60),
    st.sampled_from(["ClusterFirst", "Default", "None"]),
)
def test_resolv_conf_keeps_to_what_resolvers_take(searches: list[str], policy: str) -> None:
    """At most 32 domains and 2048 characters, none twice, and readable again."""
    made = resolv_conf("shop", policy, {"searches": searches}, HOST, dns=DNS)
    parsed = ResolvConf.parse(made)
    assert len(parsed.searches) <= 32
    assert len(" ".join(parsed.searches)) <= 2048
    assert len(set(parsed.searches)) == len(parsed.searches)
    assert str(parsed) == made


class Silent:
    """A resolver that takes questions and says nothing."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address: tuple[str, int] = self.socket.getsockname()

    async def asked(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 2048)

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


QUESTION = dns.message.make_query("example.org", "A").to_wire()


async def test_the_next_resolver_is_asked_when_one_is_silent() -> None:
    """After two seconds; when all are, there is no answer."""
    clock = ManualClock()
    with Silent() as one, Silent() as two:
        upstreams = Upstreams(lambda: [one.address, two.address], clock=clock)
        asking = asyncio.ensure_future(upstreams.ask(QUESTION))
        for silent in (one, two):
            asked = await silent.asked()
            assert asked[2:] == QUESTION[2:]
            clock.advance(2)
        with pytest.raises(NoAnswerError):
            await asking


async def test_questions_under_way_are_bounded() -> None:
    """One too many is told at once; who gives up makes room."""
    clock = ManualClock()
    with Silent() as silent:
        upstreams = Upstreams(lambda: [silent.address], clock=clock)
        asking = [asyncio.ensure_future(upstreams.ask(QUESTION)) for _ in range(IN_FLIGHT)]
        await silent.asked()
        with pytest.raises(NoAnswerError, match="too many"):
            await upstreams.ask(QUESTION)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        again = asyncio.ensure_future(upstreams.ask(QUESTION))
        await until(lambda: upstreams._busy == 1)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)


async def test_a_question_without_an_answer_is_servfail(api: EmbeddedCluster) -> None:
    """And one that is no question is FORMERR, or nothing; the server goes on."""
    loop = asyncio.get_running_loop()
    async with Informers(api.client) as informers:
        upstreams = Upstreams(list)
        async with DnsServer(Zone(informers), upstreams, "127.0.0.1") as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect((server.address, server.port))
                sock.send(b"no")
                sock.send(QUESTION[:12])
                assert dns.message.from_wire(await loop.sock_recv(sock, 512)).rcode() == 1
                sock.send(QUESTION[:20])
                assert (await loop.sock_recv(sock, 512))[3] & 0xF == dns.rcode.FORMERR
                sock.send(QUESTION)
                said = dns.message.from_wire(await loop.sock_recv(sock, 512))
                assert said.rcode() == dns.rcode.SERVFAIL
                transfer = dns.message.make_query("cluster.local", "AXFR")
                sock.send(transfer.to_wire())
                said = dns.message.from_wire(await loop.sock_recv(sock, 512))
                assert said.rcode() == dns.rcode.REFUSED
