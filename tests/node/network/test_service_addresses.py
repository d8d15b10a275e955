"""Services on a real machine: pods are network namespaces, packets are the kernel's."""

from __future__ import annotations

import asyncio

import pytest
from tests.node.network.conftest import PODS, SERVICES, World
from tests.node.network.lan import Udp, sh, tcp, until

pytestmark = pytest.mark.requires("root")


async def test_the_host_and_pods_reach_a_service_by_its_address(world: World) -> None:
    """The pod that answers sees who asks: nothing is masqueraded that need not be."""
    pod = await world.pod("web")
    other = await world.pod("other", serve=False)
    service = await world.service("web", 1)
    ip = service["spec"]["clusterIP"]
    assert await tcp(ip, 80) == (pod.address, str(world.lan.bridge.gateway))
    assert await tcp(ip, 80, pod=other) == (pod.address, other.address)


async def test_pods_reach_pods(world: World) -> None:
    """Whatever the machine's policy for forwarded packets is."""
    a, b = await world.pod("a"), await world.pod("b")
    assert await tcp(a.address, 8080, pod=b) == (a.address, b.address)


async def test_a_pod_reaches_itself_through_its_service(world: World) -> None:
    """And sees the bridge's address: its own would be answered within the pod."""
    pod = await world.pod("web")
    service = await world.service("web", 1)
    name, seen = await tcp(service["spec"]["clusterIP"], 80, pod=pod)
    assert (name, seen) == (pod.address, str(world.lan.bridge.gateway))


async def test_connections_are_spread_over_all_endpoints(world: World) -> None:
    """Each of three gets some of many connections."""
    pods = {(await world.pod("web")).address for _ in range(3)}
    service = await world.service("web", 3)
    seen = {(await tcp(service["spec"]["clusterIP"], 80))[0] for _ in range(60)}
    assert seen == pods


async def test_affinity_keeps_a_client_at_one_endpoint(world: World) -> None:
    """ClientIP: another client may get another one."""
    pods = [await world.pod("web") for _ in range(3)]
    clients = [await world.pod("client", serve=False) for _ in range(2)]
    service = await world.service("web", 3, sessionAffinity="ClientIP")
    ip = service["spec"]["clusterIP"]
    for client in (None, *clients):
        answers = {(await tcp(ip, 80, pod=client))[0] for _ in range(15)}
        assert len(answers) == 1
        assert answers < {p.address for p in pods}


async def test_a_service_without_endpoints_is_refused_at_once(world: World) -> None:
    """From the host and from pods, TCP and UDP."""
    client = await world.pod("client", serve=False)
    ports = [
        {"name": "t", "port": 80, "protocol": "TCP"},
        {"name": "u", "port": 80, "protocol": "UDP"},
    ]
    service = await world.service("empty", 0, ports=ports)
    ip = service["spec"]["clusterIP"]
    for pod in (None, client):
        with pytest.raises(ConnectionRefusedError):
            await tcp(ip, 80, pod=pod)
        # The kernel tells a sender on the machine itself by another error.
        with Udp(ip, 80, pod=pod) as udp, pytest.raises((ConnectionRefusedError, PermissionError)):
            await udp.ask()


async def test_addresses_that_are_no_service_are_refused(world: World) -> None:
    """No address of the service range is looked for elsewhere."""
    client = await world.pod("client", serve=False)
    unknown = str(world.lan.services.network_address + 200)
    for pod in (None, client):
        with pytest.raises(ConnectionRefusedError):
            await tcp(unknown, 80, pod=pod)


async def test_udp_moves_on_when_its_endpoint_vanishes(world: World) -> None:
    """The same socket, so the same flow to the kernel."""
    one = await world.pod("web", name="one")
    service = await world.service(
        "web", 1, ports=[{"port": 53, "targetPort": 8080, "protocol": "UDP"}]
    )
    client = await world.pod("client", serve=False)
    with Udp(service["spec"]["clusterIP"], 53, pod=client) as udp:
        assert (await udp.ask())[0] == one.address
        two = await world.pod("web", name="two")
        await world.known("web", 2)
        await world.client.delete(PODS, "one", "default", grace=0)
        await world.known("web", 1)
        assert (await udp.ask())[0] == two.address


async def test_endpoints_that_are_not_ready_get_nothing(world: World) -> None:
    """Unless the service publishes them anyway."""
    ready = await world.pod("web")
    hidden = await world.pod("web", ready=False)
    one = await world.service("web", 1)
    assert {(await tcp(one["spec"]["clusterIP"], 80))[0] for _ in range(20)} == {ready.address}
    await world.client.patch(
        SERVICES, "web", {"spec": {"publishNotReadyAddresses": True}}, "default"
    )
    await world.known("web", 2)
    seen = {(await tcp(one["spec"]["clusterIP"], 80))[0] for _ in range(40)}
    assert seen == {ready.address, hidden.address}


async def test_who_terminates_is_asked_while_nobody_else_is_there(world: World) -> None:
    """And no more once somebody is."""
    going = await world.pod("web", name="going")
    service = await world.service("web", 1)
    await world.client.delete(PODS, "going", "default", grace=3600)

    def lingers() -> bool:
        (port,) = [p for p in world.network._known if p.service == "web"]
        return [e.lingering for e in port.endpoints] == [True]

    await until(lingers)
    await world.network.settled()
    ip = service["spec"]["clusterIP"]
    assert (await tcp(ip, 80))[0] == going.address
    staying = await world.pod("web", name="staying")
    await world.known("web", 2)
    assert {(await tcp(ip, 80))[0] for _ in range(20)} == {staying.address}


async def test_named_ports_lead_to_each_pods_own(world: World) -> None:
    """Two pods, two numbers, one name."""
    one = await world.pod(
        "web",
        containers=[{"name": "c", "image": "i", "ports": [{"name": "h", "containerPort": 8080}]}],
    )
    two = await world.pod(
        "web",
        serve=False,
        containers=[{"name": "c", "image": "i", "ports": [{"name": "h", "containerPort": 9090}]}],
    )
    await two.serve(9090)
    service = await world.service("web", 2, ports=[{"port": 80, "targetPort": "h"}])
    seen = {(await tcp(service["spec"]["clusterIP"], 80))[0] for _ in range(40)}
    assert seen == {one.address, two.address}


async def test_node_ports_are_on_the_bridge_and_on_loopback(world: World) -> None:
    """TCP and UDP."""
    pod = await world.pod("web")
    client = await world.pod("client", serve=False)
    ports = [
        {"name": "t", "port": 80, "targetPort": 8080, "nodePort": 32180},
        {"name": "u", "port": 80, "targetPort": 8080, "nodePort": 32180, "protocol": "UDP"},
    ]
    await world.service("web", 1, type="NodePort", ports=ports)
    gateway = str(world.lan.bridge.gateway)
    for source in (None, client):
        assert (await tcp(gateway, 32180, pod=source))[0] == pod.address
        with Udp(gateway, 32180, pod=source) as udp:
            assert (await udp.ask())[0] == pod.address
    await asyncio.wait_for(_answers(32180), 10)
    assert (await tcp("127.0.0.1", 32180))[0] == pod.address
    with Udp("127.0.0.1", 32180) as udp:
        assert (await udp.ask())[0] == pod.address


async def _answers(port: int) -> None:
    while True:
        try:
            await tcp("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0)
        else:
            return


async def test_a_node_port_without_endpoints_is_refused(world: World) -> None:
    """On the bridge's address."""
    ports = [{"port": 80, "nodePort": 32181}]
    await world.service("empty", 0, type="NodePort", ports=ports)
    with pytest.raises(ConnectionRefusedError):
        await tcp(str(world.lan.bridge.gateway), 32181)


async def test_external_addresses_lead_to_the_service(world: World) -> None:
    """From the host and from pods."""
    pod = await world.pod("web")
    client = await world.pod("client", serve=False)
    external = str(world.lan.services.network_address + 250)
    await world.service("web", 1, externalIPs=[external])
    for source in (None, client):
        assert (await tcp(external, 80, pod=source))[0] == pod.address


async def test_internal_policy_local_keeps_to_the_asking_pods_node(world: World) -> None:
    """A pod on a node without endpoints is refused; the host is every node."""
    on_one = await world.pod("web", node="n1")
    on_two = await world.pod("web", node="n2")
    near = await world.pod("client", node="n1", serve=False)
    service = await world.service("web", 2, internalTrafficPolicy="Local")
    ip = service["spec"]["clusterIP"]
    assert {(await tcp(ip, 80, pod=near))[0] for _ in range(20)} == {on_one.address}
    assert {(await tcp(ip, 80))[0] for _ in range(40)} == {on_one.address, on_two.address}


async def test_the_service_kubernetes_leads_to_the_api_server(world: World) -> None:
    """Pods find it at the bridge's address, whatever its endpoints say."""
    pod = await world.pod("client", serve=False)
    server = await asyncio.start_server(
        lambda r, w: (w.write(b"api x"), w.close()), str(world.lan.bridge.gateway), 6443
    )
    async with server:
        ip = str(world.lan.services.network_address + 1)
        assert (await tcp(ip, 443, pod=pod))[0] == "api"


async def test_what_somebody_flushed_comes_back(world: World) -> None:
    """At the next look."""
    pod = await world.pod("web")
    service = await world.service("web", 1)
    chain = "COVE-5eed0000-CIP"
    sh("iptables", "-w", "-t", "nat", "-F", chain)
    sh("iptables", "-w", "-t", "nat", "-D", "OUTPUT", "-j", "COVE-5eed0000-OUT")
    sh("ip", "link", "delete", "csvc-5eed0000")
    with pytest.raises(OSError):
        await tcp(service["spec"]["clusterIP"], 80)
    await world.network.check()
    await world.network.settled()
    assert (await tcp(service["spec"]["clusterIP"], 80))[0] == pod.address


async def test_two_hundred_services_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them work, and the packet filter is changed some times, not hundreds."""
    pod = await world.pod("web")
    changes: list[str] = []
    command = world.network._filter._run

    async def counted(*words: str, stdin: str = "") -> str:
        changes.append(words[0])
        return await command(*words, stdin=stdin)

    monkeypatch.setattr(world.network._filter, "_run", counted)
    made = await asyncio.gather(
        *(
            world.client.create(
                SERVICES,
                {
                    "metadata": {"name": f"s{i}"},
                    "spec": {
                        "selector": {"app": "web"},
                        "ports": [{"port": 80, "targetPort": 8080}],
                    },
                },
                "default",
            )
            for i in range(200)
        )
    )
    for i in range(200):
        await world.known(f"s{i}", 1)
    assert 0 < changes.count("iptables-restore") < 50
    for service in made[::20]:
        assert (await tcp(service["spec"]["clusterIP"], 80))[0] == pod.address
