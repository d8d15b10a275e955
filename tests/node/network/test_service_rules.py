"""The rules for services, as text: what is in them, and what always holds of them."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.node.network import Bridge
from cove.node.network._run import run
from cove.node.network.endpoints import Endpoint, ServicePort, chosen, service_ports
from cove.node.network.flows import fronts, stale
from cove.node.network.rules import Machine, render

MACHINE = Machine(
    key="0c0ffee0",
    bridge=Bridge(
        interface="br0", subnet=IPv4Network("10.244.0.0/24"), gateway=IPv4Address("10.244.0.1")
    ),
    pod_subnet=IPv4Network("10.244.0.0/16"),
    service_subnet=IPv4Network("10.96.0.0/12"),
    nodes={"10.244.0.1": "", "10.244.0.250": "n1", "10.244.0.251": "n2"},
    pods={"10.244.0.5": "n1", "10.244.0.6": "n2"},
)
ONE, TWO = Endpoint("10.244.0.5", 8080, "n1"), Endpoint("10.244.0.6", 8080, "n2")
WEB = ServicePort(
    namespace="shop", service="web", port=80, cluster_ips=("10.96.0.7",), endpoints=(ONE, TWO)
)


def lines(port: ServicePort, machine: Machine = MACHINE) -> list[str]:
    """The rules that one service adds, with its chains' letters in place of their names."""
    every = render([port], machine).text().splitlines()
    none = set(render([], machine).text().splitlines())
    own = [line for line in every if line not in none and not line.startswith(":")]
    return [
        re.sub(r"COVE-0c0ffee0-([A-Z])[0-9A-F]{12}", r"\1", line).replace("COVE-0c0ffee0-", "")
        for line in own
    ]


def matching(port: ServicePort, *words: str) -> list[str]:
    return [line for line in lines(port) if all(w in line for w in words)]


def test_a_cluster_address_is_balanced_over_its_endpoints() -> None:
    """The first of two gets half of the connections, the second the rest."""
    about = '-m comment --comment "shop/web:80/TCP"'
    assert lines(WEB) == [
        f"-A CIP -d 10.96.0.7/32 -p tcp -m tcp --dport 80 {about} -j S",
        "-A E -s 10.244.0.5/32 -j MASQ",
        "-A E -p tcp -j DNAT --to-destination 10.244.0.5:8080",
        "-A E -s 10.244.0.6/32 -j MASQ",
        "-A E -p tcp -j DNAT --to-destination 10.244.0.6:8080",
        f"-A S {about} -m statistic --mode random --probability 0.5000000000 -j E",
        f"-A S {about} -j E",
    ]


@pytest.mark.parametrize(
    ("change", "words", "expected"),
    [
        pytest.param({"endpoints": ()}, ("10.96.0.7",), 0, id="nobody: refused with the range"),
        pytest.param({"endpoints": (), "node_port": 30080}, ("NODE", "REJECT"), 1, id="node port"),
        pytest.param(
            {"endpoints": (), "external_ips": ("192.0.2.9",)}, ("EXT", "REJECT"), 1, id="external"
        ),
        pytest.param({"affinity": 60}, ("--rcheck --seconds 60 --reap",), 2, id="affinity"),
        pytest.param({"affinity": 60}, ("--set --rsource -j DNAT",), 2, id="affinity is kept"),
        pytest.param({"protocol": "SCTP"}, ("-p sctp -m sctp --dport 80",), 1, id="sctp"),
        pytest.param({"internal_local": True}, ("-A I -s 10.244.0.5/32 -j L",), 1, id="local in"),
        pytest.param(
            {"external_local": True, "node_port": 30080},
            ("-A X -d 10.244.0.250/32 -j L",),
            1,
            id="local out",
        ),
        pytest.param(
            {"external_local": True, "node_port": 30080, "endpoints": (ONE,)},
            ("-A X -d 10.244.0.251/32 -j RETURN",),
            1,
            id="a node without endpoints gets nothing",
        ),
        pytest.param(
            {"balancer_ips": ("192.0.2.9",), "source_ranges": ("198.51.100.0/24",)},
            ("192.0.2.9", "-s 198.51.100.0/24"),
            1,
            id="source ranges",
        ),
        pytest.param(
            {"balancer_ips": ("192.0.2.9",), "source_ranges": ("198.51.100.0/24",)},
            ("192.0.2.9", "DROP"),
            1,
            id="and nobody else",
        ),
    ],
)
def test_what_services_ask_for_is_in_the_rules(
    change: dict[str, Any], words: tuple[str, ...], expected: int
) -> None:
    """So many rules with these words."""
    assert len(matching(replace(WEB, **change), *words)) == expected


def test_machines_that_filter_no_bridge_masquerade_their_pods() -> None:
    """Answers then come back through the host."""
    text = render([WEB], replace(MACHINE, masquerade_pods=True)).text()
    assert "-s 10.244.0.0/16 -d 10.96.0.0/12 -j COVE-0c0ffee0-MASQ" in text


def test_chains_no_longer_needed_are_removed_with_the_change() -> None:
    """In the same transaction; jumps that are missing are put first."""
    text = render([], MACHINE).text(
        {"nat": ["COVE-0c0ffee0-SOLD", "COVE-0c0ffee0-CIP"]}, {"filter": ["FORWARD"]}
    )
    assert ":COVE-0c0ffee0-SOLD - [0:0]" in text
    assert "-X COVE-0c0ffee0-SOLD" in text
    assert "-X COVE-0c0ffee0-CIP" not in text
    assert "-I FORWARD 1 -j COVE-0c0ffee0-FWD" in text


addresses = st.integers(1, 254).map(lambda n: f"10.244.0.{n}")
endpoints = st.builds(
    Endpoint,
    addresses,
    st.integers(1, 65535),
    st.sampled_from(["", "n1", "n2"]),
    st.booleans(),
    st.booleans(),
)
ports = st.builds(
    ServicePort,
    namespace=st.just("shop"),
    service=st.from_regex(r"[a-z]{1,63}", fullmatch=True),
    name=st.from_regex(r"[a-z]{0,15}", fullmatch=True),
    protocol=st.sampled_from(["TCP", "UDP", "SCTP"]),
    port=st.integers(1, 65535),
    node_port=st.sampled_from([0, 30000, 32767]),
    cluster_ips=st.just(("10.96.0.7",)),
    external_ips=st.sampled_from([(), ("192.0.2.9",)]),
    balancer_ips=st.sampled_from([(), ("192.0.2.10",)]),
    source_ranges=st.sampled_from([(), ("198.51.100.0/24",)]),
    external_local=st.booleans(),
    internal_local=st.booleans(),
    affinity=st.sampled_from([0, 60]),
    endpoints=st.lists(endpoints, max_size=5).map(tuple),
)


@given(st.lists(ports, max_size=6))
def test_rules_are_whole(some: list[ServicePort]) -> None:
    """Every chain that is jumped to is there, names are short enough, and they are the same
    for the same cluster."""
    rules = render(some, MACHINE)
    assert rules.text() == render(some, MACHINE).text()
    for table, chains in rules.tables.items():
        assert all(len(name) <= 28 for name in chains)
        for name in rules.jumps[table].values():
            assert name in chains
        for listed in chains.values():
            for rule in listed:
                target = f" {rule}".split(" -j ")[1].split()[0]
                assert not target.startswith("COVE-") or target in chains


@pytest.mark.requires("root")
@settings(max_examples=10, deadline=None)
@given(some=st.lists(ports, max_size=6))
def test_iptables_takes_every_rule(some: list[ServicePort]) -> None:
    """Without doing it."""
    import asyncio

    text = render(some, MACHINE).text()
    asyncio.run(run("iptables-restore", "--test", "--noflush", "-w", stdin=text))


# -- services and slices


def service(**spec: Any) -> dict[str, Any]:
    spec = {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "name": "h"}], **spec}
    return {"metadata": {"namespace": "shop", "name": "web"}, "spec": spec}


def piece(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.5"], **e} for e in found],
        "ports": [{"name": "h", "port": 8080}],
        **more,
    }


@pytest.mark.parametrize(
    ("conditions", "ready", "lingering"),
    [
        pytest.param({}, True, False, id="unknown is ready"),
        pytest.param({"ready": True}, True, False, id="ready"),
        pytest.param(
            {"ready": False, "serving": True, "terminating": True}, False, True, id="terminating"
        ),
    ],
)
def test_conditions_say_who_gets_traffic(
    conditions: dict[str, bool], ready: bool, lingering: bool
) -> None:
    """As upstream reads them."""
    (port,) = service_ports(service(), [piece({"conditions": conditions})])
    assert port.endpoints == (Endpoint("10.244.0.5", 8080, "", ready, lingering),)


def test_who_is_not_ready_gets_nothing() -> None:
    """Nor who terminates and does not serve."""
    for conditions in ({"ready": False}, {"ready": False, "terminating": True, "serving": False}):
        (port,) = service_ports(service(), [piece({"conditions": conditions})])
        assert port.endpoints == ()


def test_those_who_terminate_are_taken_when_nobody_else_is_there() -> None:
    """But only then."""
    going = replace(ONE, ready=False, lingering=True)
    assert chosen([going, TWO]) == (TWO,)
    assert chosen([going]) == (going,)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"clusterIP": "None"}, id="headless"),
        pytest.param({"type": "ExternalName", "clusterIP": ""}, id="external name"),
    ],
)
def test_services_without_an_address_have_no_rules(spec: dict[str, Any]) -> None:
    """DNS is all they have."""
    assert service_ports(service(**spec), []) == []


def test_the_api_servers_loopback_is_not_a_pods() -> None:
    """Nor is what is not there at all."""
    kubernetes = {
        "metadata": {"namespace": "default", "name": "kubernetes"},
    }
    kubernetes["spec"] = {"clusterIP": "10.96.0.1", "ports": [{"port": 443, "name": "h"}]}
    local = piece({"addresses": ["127.0.0.1"]})
    for slices in ([local], []):
        (port,) = service_ports(kubernetes, slices, ("10.244.0.1", 6443))
        assert port.endpoints == (Endpoint("10.244.0.1", 6443),)
    (port,) = service_ports(kubernetes, [piece({"addresses": ["192.0.2.3"]})], ("10.244.0.1", 1))
    assert port.endpoints[0].address == "192.0.2.3"


def test_flows_to_who_is_gone_are_ended() -> None:
    """And those that were sent when nobody was there."""
    udp = replace(WEB, protocol="UDP", node_port=30053)
    before, after = (fronts([replace(udp, endpoints=e)], ["10.244.0.1"]) for e in ((ONE,), (TWO,)))
    assert stale(before, after) == [
        ("-p", "udp", "--orig-dst", ip, "--orig-port-dst", port, "--dst-nat", "10.244.0.5")
        for ip, port in (("10.244.0.1", "30053"), ("10.96.0.7", "80"))
    ]
    none = fronts([replace(udp, endpoints=())], [])
    assert stale(none, after) == [("-p", "udp", "--orig-dst", "10.96.0.7", "--orig-port-dst", "80")]
    assert stale(fronts([WEB], []), {}) == []
