"""Cluster DNS, asked by dig: the names of the specification."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from tests.conftest import Done, execute
from tests.node.network.conftest import NODES, SERVICES, SLICES, World, world_on
from tests.node.network.lan import until

pytestmark = [
    pytest.mark.requires("root"),
    pytest.mark.skipif(not shutil.which("dig"), reason="dig is missing"),
]


class Upstream(asyncio.DatagramProtocol):
    """A resolver that knows one name."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = dns.message.from_wire(data)
        name = question.question[0].name.to_text()
        self.asked.append(name)
        answer = dns.message.make_response(question)
        if name == "example.org.":
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "203.0.113.7"))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), addr)


async def _dug(*command: str) -> Done:
    """What dig said, asked once more if its port was known to the kernel from the test before.

    All tests have their DNS at one address and each at a port of its own. A flow of UDP is remembered for up to two minutes:
    a dig that happens on the port of one of the last fifty is led to a resolver that is gone.
    """
    done = await execute(*command)
    return await execute(*command) if "connection refused" in done.out else done


class Named(World):
    """A world with DNS to ask."""

    upstream: Upstream

    async def dig(self, *words: str, pod: str = "") -> list[str]:
        """The status, then the answer's records as dig tells them, sorted."""
        server = (f"@{self.network.dns_address}",)
        within = ("ip", "netns", "exec", pod) if pod else ()
        done = await _dug(
            *(*within, "dig", *server, *words, "+noall", "+comments", "+answer", "+authority"),
            *("+tries=1", "+time=10"),
        )
        out = []
        status = ""
        for line in done.out.splitlines():
            if "status:" in line:
                status = line.split("status: ")[1].split(",")[0]
            elif line and not line.startswith(";"):
                name, _ttl, _class, type, data = line.split(None, 4)
                out.append(f"{name} {type} {data}")
        return [status, *sorted(out)]


SOA = "cluster.local. SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"


@pytest.fixture
async def named(nothing_leaves: None) -> AsyncIterator[Named]:
    loop = asyncio.get_running_loop()
    transport, upstream = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    address = transport.get_extra_info("sockname")
    async with world_on(0, "5eed0000", upstreams=[address]) as world:
        named = Named(world.lan, world.cluster, world.network)
        named.upstream = upstream
        yield named
    transport.close()


async def test_services_have_their_names(named: Named) -> None:
    """A, SRV, PTR; over TCP, from pods, in any case."""
    pod = await named.pod("web")
    service = await named.service(
        "web", 1, ports=[{"name": "http", "port": 80, "targetPort": 8080}]
    )
    ip = service["spec"]["clusterIP"]
    name = "web.default.svc.cluster.local"
    assert await named.dig(name) == ["NOERROR", f"{name}. A {ip}"]
    assert await named.dig(name, "+tcp") == ["NOERROR", f"{name}. A {ip}"]
    assert await named.dig(name, pod=pod.name) == ["NOERROR", f"{name}. A {ip}"]
    assert await named.dig(name, "+tcp", pod=pod.name) == ["NOERROR", f"{name}. A {ip}"]
    assert await named.dig("Web.Default.SVC.cluster.LOCAL") == [
        "NOERROR",
        f"Web.Default.SVC.cluster.LOCAL. A {ip}",
    ]
    port = f"_http._tcp.{name}"
    assert await named.dig(port, "SRV") == ["NOERROR", f"{port}. SRV 0 100 80 {name}."]
    reverse = ".".join(reversed(ip.split("."))) + ".in-addr.arpa."
    assert await named.dig("-x", ip) == ["NOERROR", f"{reverse} PTR {name}."]


async def test_what_is_not_there_and_what_has_no_such_record(named: Named) -> None:
    """NXDOMAIN and an empty answer are two things; both say how long they are good for."""
    await named.service("web", 0, ports=[{"name": "http", "port": 80}])
    for missing in (
        "no.default.svc.cluster.local",
        "web.nowhere.svc.cluster.local",
        "x.web.default.svc.cluster.local",
        "_no._tcp.web.default.svc.cluster.local",
        "web.default.cluster.local",
        "1-2-3.default.pod.cluster.local",
    ):
        assert await named.dig(missing) == ["NXDOMAIN", SOA]
    for empty in (
        ("web.default.svc.cluster.local", "AAAA"),
        ("default.svc.cluster.local", "A"),
        ("_tcp.web.default.svc.cluster.local", "A"),
        ("_http._tcp.web.default.svc.cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("cluster.local", "A"),
    ):
        assert await named.dig(*empty) == ["NOERROR", SOA]
    assert (await named.dig("-x", "10.214.0.77"))[0] == "NXDOMAIN"
    assert named.upstream.asked == []


async def test_headless_services_have_their_members_names(named: Named) -> None:
    """Pods with a host name and subdomain by that, others by their address."""
    one = await named.pod("db", hostname="db-0", subdomain="db")
    two = await named.pod("db")
    hidden = await named.pod("db", ready=False, hostname="db-2", subdomain="db")
    ports = [{"name": "sql", "port": 5432}]
    await named.client.create(
        SERVICES,
        {
            "metadata": {"name": "db"},
            "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": ports},
        },
        "default",
    )
    name = "db.default.svc.cluster.local"

    async def complete() -> bool:
        return len(await named.dig(name)) == 3

    await until(complete)
    both = sorted(f"{name}. A {p.address}" for p in (one, two))
    assert await named.dig(name) == ["NOERROR", *both]
    dashed = two.address.replace(".", "-")
    assert await named.dig(f"db-0.{name}") == ["NOERROR", f"db-0.{name}. A {one.address}"]
    assert await named.dig(f"{dashed}.{name}") == ["NOERROR", f"{dashed}.{name}. A {two.address}"]
    assert (await named.dig(f"db-2.{name}"))[0] == "NXDOMAIN"
    srv = f"_sql._tcp.{name}"
    assert await named.dig(srv, "SRV") == [
        "NOERROR",
        *sorted(f"{srv}. SRV 0 50 5432 {host}.{name}." for host in ("db-0", dashed)),
    ]
    assert (await named.dig("-x", one.address))[1].endswith(f" PTR db-0.{name}.")
    assert (await named.dig("-x", hidden.address))[0] == "NXDOMAIN"
    await named.client.patch(
        SERVICES, "db", {"spec": {"publishNotReadyAddresses": True}}, "default"
    )

    async def published() -> bool:
        return len(await named.dig(name)) == 4

    await until(published)
    assert await named.dig(f"db-2.{name}") == ["NOERROR", f"db-2.{name}. A {hidden.address}"]


async def test_external_names_are_followed(named: Named) -> None:
    """To names outside and to names of the cluster; the whole chain is in the answer."""
    inside = (await named.service("web", 0))["spec"]["clusterIP"]
    for name, target in (("out", "example.org"), ("in", "web.default.svc.cluster.local")):
        spec = {"type": "ExternalName", "externalName": target}
        await named.client.create(SERVICES, {"metadata": {"name": name}, "spec": spec}, "default")
    await until(lambda: named.network._services.get("default", "in"))
    out, alias = "out.default.svc.cluster.local.", "in.default.svc.cluster.local."
    assert await named.dig(out) == [
        "NOERROR",
        "example.org. A 203.0.113.7",
        f"{out} CNAME example.org.",
    ]
    assert await named.dig(alias) == [
        "NOERROR",
        f"{alias} CNAME web.default.svc.cluster.local.",
        f"web.default.svc.cluster.local. A {inside}",
    ]
    assert await named.dig(out, "CNAME") == ["NOERROR", f"{out} CNAME example.org."]


async def test_pods_and_the_version_have_names(named: Named) -> None:
    """Addresses with dashes below a namespace that there is."""
    pod = "1-2-3-4.default.pod.cluster.local."
    assert await named.dig(pod) == ["NOERROR", f"{pod} A 1.2.3.4"]
    assert (await named.dig("1-2-3-4.nowhere.pod.cluster.local"))[0] == "NXDOMAIN"
    version = "dns-version.cluster.local."
    assert await named.dig(version, "TXT") == ["NOERROR", f'{version} TXT "1.1.0"']


async def test_other_names_are_asked_of_the_machines_resolvers(named: Named) -> None:
    """With their answers; names of the cluster stay here."""
    assert await named.dig("example.org") == ["NOERROR", "example.org. A 203.0.113.7"]
    assert (await named.dig("no.example.org"))[0] == "NXDOMAIN"
    assert "example.org." in named.upstream.asked
    assert not [n for n in named.upstream.asked if n.endswith("cluster.local.")]


async def test_long_answers_are_cut_off_over_udp_and_whole_over_tcp(named: Named) -> None:
    """512 bytes without EDNS, and as much as is asked for with it."""
    spec = {"clusterIP": "None", "ports": [{"port": 80}]}
    await named.client.create(SERVICES, {"metadata": {"name": "many"}, "spec": spec}, "default")
    slice_ = {
        "metadata": {"name": "many-1", "labels": {"kubernetes.io/service-name": "many"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [f"10.213.0.{i}"]} for i in range(100, 160)],
        "ports": [{"port": 80}],
    }
    await named.client.create(SLICES, slice_, "default")
    await named.client.create(NODES, {"metadata": {"name": "n3"}})
    name = "many.default.svc.cluster.local"

    async def complete() -> bool:
        return len(await named.dig(name)) == 61

    await until(complete)  # dig tries again over TCP when it is told to
    done = await _dug(
        *("dig", f"@{named.network.dns_address}", name, "+noedns", "+ignore"),
    )
    assert "tc" in done.out.split("flags:")[1].split(";")[0].split()
    done = await _dug(
        *("dig", f"@{named.network.dns_address}", name, "+bufsize=1232", "+ignore"),
    )
    assert "tc" not in done.out.split("flags:")[1].split(";")[0].split()
    assert len(await named.dig(name, "+tcp")) == 61


async def test_wildcards_can_be_changed_while_it_runs(named: Named) -> None:
    """Every name below a suffix is one address."""
    named.network.wildcards["cove.localhost"] = "10.213.0.1"
    for name in ("cove.localhost.", "a.b.cove.localhost."):
        assert await named.dig(name) == ["NOERROR", f"{name} A 10.213.0.1"]
    assert len(await named.dig("x.cove.localhost", "AAAA")) == 2
    named.network.wildcards.clear()
    assert (await named.dig("a.cove.localhost"))[0] == "NXDOMAIN"
    assert "a.cove.localhost." in named.upstream.asked


async def test_kube_dns_is_at_the_tenth_address(named: Named) -> None:
    """And comes back when somebody deletes it."""
    assert named.network.dns_address == "10.214.0.10"
    first = await named.client.get(SERVICES, "kube-dns", "kube-system")
    assert first["spec"]["clusterIP"] == "10.214.0.10"
    await named.client.delete(SERVICES, "kube-dns", "kube-system")

    async def back() -> bool:
        answer = await named.dig("kubernetes.default.svc.cluster.local", "+tcp")
        return answer[-1].endswith("10.214.0.1")

    await until(back)
    again = await named.client.get(SERVICES, "kube-dns", "kube-system")
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_chart_that_brings_its_own_dns_is_left_alone(named: Named) -> None:
    """A selector makes the Service theirs: our slice is taken back."""
    await named.client.patch(
        SERVICES, "kube-dns", {"spec": {"selector": {"k8s-app": "kube-dns"}}}, "kube-system"
    )

    async def gone() -> bool:
        slices = (await named.client.list(SLICES, "kube-system")).items
        return not [s for s in slices if s["metadata"]["name"] == "kube-dns-cove"]

    await until(gone)
    assert named.network.dns_address == "10.214.0.10"


async def test_another_dns_service_is_used_where_there_is_no_kube_dns(named: Named) -> None:
    """One with the label, in kube-system; beside ours it changes nothing."""
    spec = {"selector": {"app": "dns"}, "ports": [{"port": 53, "protocol": "UDP"}]}
    metadata = {"name": "rival", "labels": {"k8s-app": "kube-dns"}}
    made = await named.client.create(SERVICES, {"metadata": metadata, "spec": spec}, "kube-system")
    await until(lambda: named.network._services.get("kube-system", "rival"))
    assert (await named.dig("kubernetes.default.svc.cluster.local"))[0] == "NOERROR"
    assert named.network.dns_address == "10.214.0.10"
    await named.client.delete(SERVICES, "kube-dns", "kube-system")
    await until(lambda: named.network.dns_address == made["spec"]["clusterIP"])


async def test_kube_dns_survives_a_restart(named: Named) -> None:
    """The Service stays, the slice leads to where the server is then."""
    network = named.network
    before = await named.client.get(SERVICES, "kube-dns", "kube-system")
    await network.__aexit__(None, None, None)
    slice_ = await named.client.get(SLICES, "kube-dns-cove", "kube-system")
    old = slice_["ports"][0]["port"]
    await network.__aenter__()
    slice_ = await named.client.get(SLICES, "kube-dns-cove", "kube-system")
    assert slice_["ports"][0]["port"] != old
    after = await named.client.get(SERVICES, "kube-dns", "kube-system")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    name = "kubernetes.default.svc.cluster.local."
    assert await named.dig(name) == ["NOERROR", f"{name} A 10.214.0.1"]
