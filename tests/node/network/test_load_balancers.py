"""Services of type LoadBalancer on loopback."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from tests.node.network.conftest import SERVICES, World
from tests.node.network.lan import Udp, tcp, until

from cove.client import ManualClock
from cove.kube.gvk import GVR
from cove.node.network.endpoints import Endpoint
from cove.node.network.proxy import Balance, TcpProxy, UdpProxy

EVENTS = GVR("", "v1", "events")

requires_root = pytest.mark.requires("root")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def ingress(world: World, name: str) -> list[dict[str, Any]]:
    """What the status says, once it says something."""

    async def given() -> list[dict[str, Any]]:
        return (await world.get(name))["status"].get("loadBalancer", {}).get("ingress") or []

    return await until(given)


@requires_root
async def test_a_load_balancer_is_on_loopback(world: World) -> None:
    """Its status says where, and that it is a proxy; TCP and UDP lead to its pods."""
    pod = await world.pod("web")
    port = free_port()
    ports = [{"name": p, "protocol": p, "port": port, "targetPort": 8080} for p in ("TCP", "UDP")]
    ports = [{**p, "name": p["name"].lower()} for p in ports]
    await world.service("web", 1, type="LoadBalancer", ports=ports)
    assert await ingress(world, "web") == [{"ip": "127.0.0.1", "ipMode": "Proxy"}]
    assert (await tcp("127.0.0.1", port))[0] == pod.address
    with Udp("127.0.0.1", port) as udp:
        assert (await udp.ask())[0] == pod.address


@requires_root
async def test_two_services_with_the_same_port_get_two_addresses(world: World) -> None:
    """Both answer; when one goes, its port is closed."""
    one, two = await world.pod("one"), await world.pod("two")
    ports = [{"port": free_port(), "targetPort": 8080}]
    answers = {}
    for name, pod in (("one", one), ("two", two)):
        await world.service(name, 1, type="LoadBalancer", ports=ports)
        address = (await ingress(world, name))[0]["ip"]
        answers[address] = pod.address
        assert (await tcp(address, ports[0]["port"]))[0] == pod.address
    assert list(answers) == ["127.0.0.1", "127.88.0.1"]
    await world.client.delete(SERVICES, "two", "default")

    async def closed() -> bool:
        try:
            await tcp("127.88.0.1", ports[0]["port"])
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            return False  # just then
        return False

    await until(closed)
    assert (await tcp("127.0.0.1", ports[0]["port"]))[0] == one.address


@requires_root
async def test_a_taken_port_is_told_and_tried_again(world: World) -> None:
    """In an event; the status says nothing until the port can be had."""
    pod = await world.pod("web")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = [{"port": port, "targetPort": 8080}]
        await world.service("web", 1, type="LoadBalancer", ports=ports)

        async def told() -> list[str]:
            events = (await world.client.list(EVENTS, "default")).items
            return [e["message"] for e in events if e["reason"] == "PortTaken"]

        assert f"127.0.0.1:{port}/TCP cannot be listened on" in (await until(told))[0]
        assert "ingress" not in (await world.get("web"))["status"]["loadBalancer"]
    world.network._balancer.changed("default/web")
    await ingress(world, "web")
    assert (await tcp("127.0.0.1", port))[0] == pod.address


@requires_root
async def test_classes_of_others_are_left_to_them(world: World) -> None:
    """loadBalancerClass: ours or none; no node port where none was allocated."""
    await world.pod("web")
    ports = [{"port": free_port(), "targetPort": 8080}]
    await world.service(
        "other", type="LoadBalancer", loadBalancerClass="example.com/x", ports=ports
    )
    await world.service(
        "web",
        1,
        type="LoadBalancer",
        loadBalancerClass="cove.dev/loopback",
        allocateLoadBalancerNodePorts=False,
        ports=ports,
    )
    assert (await ingress(world, "web"))[0]["ip"] == "127.0.0.1"
    assert "ingress" not in (await world.get("other"))["status"]["loadBalancer"]
    assert list(world.network._balancer._listeners["default/web"]) == [
        ("TCP", "127.0.0.1", ports[0]["port"])
    ]


@requires_root
async def test_a_service_that_is_none_any_more_loses_its_address(world: World) -> None:
    """The status is empty and the port closed."""
    await world.pod("web")
    ports = [{"port": free_port(), "targetPort": 8080}]
    await world.service("web", 1, type="LoadBalancer", ports=ports)
    await ingress(world, "web")
    await world.client.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default")

    async def withdrawn() -> bool:
        status = (await world.get("web")).get("status", {})
        return not status.get("loadBalancer", {}).get("ingress")

    await until(withdrawn)
    await until(lambda: "default/web" not in world.network._balancer._listeners)
    with pytest.raises(ConnectionRefusedError):
        await tcp("127.0.0.1", ports[0]["port"])


# -- proxies alone


async def test_a_proxy_goes_on_to_the_next_endpoint() -> None:
    """One that refuses is passed over; nobody at all is a closed connection."""
    server = await asyncio.start_server(lambda r, w: (w.write(b"a b"), w.close()), "127.0.0.1", 0)
    balance = Balance()
    async with server, TcpProxy("127.0.0.1", 0, balance) as proxy:
        port = server.sockets[0].getsockname()[1]
        balance.set([Endpoint("127.0.0.1", free_port()), Endpoint("127.0.0.1", port)])
        for _ in range(4):
            assert await tcp("127.0.0.1", proxy.port) == ("a", "b")
        balance.set([])
        with pytest.raises(ConnectionResetError):
            await tcp("127.0.0.1", proxy.port)


async def test_a_proxy_hands_on_the_end_of_one_direction() -> None:
    """A client may stop sending and still be answered."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(len(await reader.read(-1))).encode())
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    balance = Balance()
    balance.set([Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])])
    async with server, TcpProxy("127.0.0.1", 0, balance) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(bytes(1_000_000))
        writer.write_eof()
        assert await reader.read() == b"1000000"
        writer.close()
        await writer.wait_closed()


async def test_udp_clients_are_forgotten_when_idle() -> None:
    """And found again by their next packet."""
    clock = ManualClock()
    loop = asyncio.get_running_loop()

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(b"echo x", addr)

    echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    balance = Balance(clock=clock)
    balance.set([Endpoint("127.0.0.1", echo.get_extra_info("sockname")[1])])
    async with UdpProxy("127.0.0.1", 0, balance, clock=clock) as proxy:
        with Udp("127.0.0.1", proxy.port) as udp:
            assert (await udp.ask())[0] == "echo"
            for _ in range(5):
                clock.advance(30)
                await asyncio.sleep(0)
            await until(lambda: not proxy._clients)
            assert (await udp.ask())[0] == "echo"
    echo.close()


def test_affinity_lasts_as_long_as_it_says() -> None:
    """Endpoints are taken in turn; a client's own comes first until its time is up."""
    clock = ManualClock()
    endpoints = [Endpoint(f"10.0.0.{i}", 80) for i in range(3)]
    balance = Balance(clock=clock)
    balance.set(endpoints)
    assert {balance.order("a")[0] for _ in range(3)} == set(endpoints)
    balance.set(endpoints, affinity=60)
    balance.took("a", endpoints[1])
    clock.advance(59)
    assert {balance.order("a")[0] for _ in range(3)} == {endpoints[1]}
    assert {balance.order("b")[0] for _ in range(3)} == set(endpoints)
    clock.advance(1)
    assert {balance.order("a")[0] for _ in range(3)} == set(endpoints)
    balance.took("a", endpoints[1])
    balance.set(endpoints[2:], affinity=60)
    assert balance.order("a") == endpoints[2:]
