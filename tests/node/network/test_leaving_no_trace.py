"""What is changed on a machine is taken back, by whoever did it or by who comes after."""

from __future__ import annotations

import asyncio
import json
import socket
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from tests.node.network.conftest import world_on
from tests.node.network.lan import inside, sh, tcp

from cove.node.network import Bridge
from cove.node.network._run import CommandError, run
from cove.node.network.packetfilter import PacketFilter, reap_rules
from cove.node.network.routes import PROTOCOL, Routes, device_of, reap_routes
from cove.node.network.rules import Machine, render

pytestmark = pytest.mark.requires("root")


OURS = ("COVE-5eed", "csvc-5eed", "10.213.", "10.214.", "cvt")


def traces() -> list[str]:
    """What the machine's packet filter, routes and links have of these tests."""
    shown = [sh("iptables-save", "-t", table) for table in ("nat", "filter")]
    shown += [sh("ip", "route", "show"), sh("ip", "-brief", "link", "show")]
    return [line for text in shown for line in text.splitlines() if any(o in line for o in OURS)]


async def test_leaving_removes_every_rule_and_route(nothing_leaves: None) -> None:
    """As if it had never been."""
    assert traces() == []
    async with world_on(0, "5eed0000") as world:
        pod = await world.pod("web")
        service = await world.service("web", 1, type="NodePort", sessionAffinity="ClientIP")
        assert (await tcp(service["spec"]["clusterIP"], 80))[0] == pod.address
        text = "\n".join(traces())
        for part in ("-A PREROUTING -j COVE-5eed0000-PRE", f"proto {PROTOCOL}", "csvc-5eed0000"):
            assert part in text
    assert traces() == []


async def test_two_clusters_side_by_side(nothing_leaves: None) -> None:
    """Both work; when one is left the other still does."""
    async with world_on(0, "5eed0000") as one:
        mine = await one.pod("web")
        first = await one.service("web", 1)
        async with world_on(1, "5eed0001") as other:
            theirs = await other.pod("web")
            second = await other.service("web", 1)
            assert (await tcp(first["spec"]["clusterIP"], 80))[0] == mine.address
            assert (await tcp(second["spec"]["clusterIP"], 80))[0] == theirs.address
            assert (await tcp(second["spec"]["clusterIP"], 80, pod=theirs))[0] == theirs.address
        assert (await tcp(first["spec"]["clusterIP"], 80))[0] == mine.address
        assert "5eed0001" not in "\n".join(traces())


async def test_clusters_with_the_same_service_range(nothing_leaves: None) -> None:
    """Pods of each find their own cluster's service at an address that both have."""
    same = "10.214.0.0/24"
    async with world_on(0, "5eed0000") as one, world_on(1, "5eed0001", services=same) as other:
        for world in (one, other):
            pod = await world.pod("web")
            await world.service("web", 1, clusterIP="10.214.0.77")
            client = await world.pod("client", serve=False)
            assert await tcp("10.214.0.77", 80, pod=client) == (pod.address, client.address)
        alone = await one.pod("alone")
        await one.service("alone", 1, clusterIP="10.214.0.78")
        assert (await tcp("10.214.0.78", 80))[0] == alone.address


class Elsewhere:
    """A machine of its own: a network namespace with a way out that is looked at."""

    name, beyond = "cvt-machine", "cvt-beyond"

    def __enter__(self) -> Elsewhere:
        self.__exit__()
        for name in (self.name, self.beyond):
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        peer = ("peer", "name", "eth0", "netns", self.beyond)
        sh("ip", "-n", self.name, "link", "add", "eth0", "type", "veth", *peer)
        for name, address in ((self.name, "192.0.2.2/24"), (self.beyond, "192.0.2.1/24")):
            sh("ip", "-n", name, "addr", "add", address, "dev", "eth0")
            sh("ip", "-n", name, "link", "set", "eth0", "up")
        sh("ip", "-n", self.name, "route", "add", "default", "via", "192.0.2.1")
        return self

    def __exit__(self, *exc: object) -> None:
        for name in (self.name, self.beyond):
            sh("ip", "netns", "del", name, check=False)

    async def run(self, *command: str, stdin: str = "") -> str:
        return await run("ip", "netns", "exec", self.name, *command, stdin=stdin)

    def arrived(self) -> int:
        """IPv4 packets that came out."""
        text = inside(self.beyond, lambda: _read("/proc/thread-self/net/snmp"))
        values = [line.split() for line in text.splitlines() if line.startswith("Ip:")]
        return int(values[1][values[0].index("InReceives")])

    def connect(self, address: str) -> int:
        """The error of connecting to an address without waiting, 0 for none."""

        def attempt() -> int:
            with socket.socket() as sock:
                sock.setblocking(False)
                return sock.connect_ex((address, 80))

        return inside(self.name, attempt)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


async def test_addresses_of_pods_and_services_cannot_leave(nothing_leaves: None) -> None:
    """With the routes nothing comes out; without them it would (and here it may)."""
    targets = ("10.213.7.7", "10.214.0.5", "10.214.255.1")
    with Elsewhere() as machine:
        before = machine.arrived()
        async with Routes("5eed0003", **RANGES, command=machine.run):
            for target in targets:
                machine.connect(target)
            shown = await machine.run("ip", "route", "get", "10.214.0.5")
            assert f"dev {device_of('5eed0003')} src 192.0.2.2" in shown
            with pytest.raises(CommandError):
                await machine.run("ip", "route", "get", "10.213.7.7")
            # Even when the device that services are routed to is gone.
            await machine.run("ip", "link", "delete", device_of("5eed0003"))
            with pytest.raises(CommandError):
                await machine.run("ip", "route", "get", "10.214.0.5")
            for target in targets:
                machine.connect(target)
        assert machine.arrived() == before
        for target in targets:
            machine.connect(target)
        async with asyncio.timeout(10):
            while machine.arrived() < before + len(targets):
                await asyncio.sleep(0.005)


async def test_what_a_crash_left_is_taken_over(nothing_leaves: None) -> None:
    """By the same cluster when it comes back."""
    with Elsewhere() as machine:
        await crash(machine, "5eed0002")
        async with (
            Routes("5eed0002", **RANGES, command=machine.run),
            PacketFilter("5eed0002", lambda: render([], NOTHING), command=machine.run),
        ):
            assert len(json.loads(await machine.run(*LIST))) == 3
        assert json.loads(await machine.run(*LIST) or "[]") == []
        assert "5eed0002" not in await machine.run("iptables-save")


async def test_what_crashes_left_is_reaped_by_key(nothing_leaves: None) -> None:
    """Of two clusters with the same ranges, only the dead one's goes."""
    with Elsewhere() as machine:
        for key in ("5eed0004", "5eed0005"):
            await crash(machine, key)
        await reap_routes({"5eed0005"}, machine.run)
        await reap_rules({"5eed0005"}, machine.run)
        left = json.loads(await machine.run(*LIST))
        assert [r["metric"] & 0x0FFFFFFF for r in left] == [0x5EED0005 & 0x0FFFFFFF] * 3
        saved = await machine.run("iptables-save")
        assert "5eed0004" not in saved
        assert "-A OUTPUT -j COVE-5eed0005-OUT" in saved


LIST = ("ip", "-json", "route", "show", "proto", str(PROTOCOL))
RANGES: dict[str, Any] = {
    "pods": IPv4Network("10.213.0.0/16"),
    "services": IPv4Network("10.214.0.0/16"),
    "source": IPv4Address("192.0.2.2"),
}

NOTHING = Machine(
    key="5eed0002",
    bridge=Bridge(
        interface="br0", subnet=IPv4Network("10.213.0.0/24"), gateway=IPv4Address("10.213.0.1")
    ),
    pod_subnet=RANGES["pods"],
    service_subnet=RANGES["services"],
)


async def crash(machine: Elsewhere, key: str) -> None:
    """A cluster that was not left in order."""
    await Routes(key, **RANGES, command=machine.run).__aenter__()
    left = f"*nat\n:COVE-{key}-X - [0:0]\n:COVE-{key}-OUT - [0:0]\n"
    left += f"-A COVE-{key}-OUT -j COVE-{key}-X\n-I OUTPUT -j COVE-{key}-OUT\nCOMMIT\n"
    await machine.run("iptables-restore", "-w", "--noflush", stdin=left)
