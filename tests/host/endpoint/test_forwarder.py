"""A forwarder: when it is ready, where it leads, what it tells, and that it ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from typing import Any

import pytest
from forward_world import (
    SERVICES,
    Told,
    World,
    descriptors,
    exchange,
    is_broken_off,
    is_free,
    listeners,
    service,
)

from cove.client import Client, KubeconfigError, ManualClock, kubeconfig
from cove.host.endpoint import Forwarder, ForwardStatus, PortTakenError
from cove.host.errors import AppError, ResourceError
from cove.server.faults import Fault

# -- when it is ready


async def test_it_is_ready_once_the_service_exposes_the_port_and_a_pod_is_ready(
    forwards: World,
) -> None:
    told = Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told) as web:
        await told.reason("service default/web does not exist yet")
        await forwards.client.create(SERVICES, service(81))
        await told.reason("exposes no port 80; it has: 81 (http)")
        await forwards.client.patch(
            SERVICES, "web", {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}, "default"
        )
        await told.reason("no pod has the labels of service default/web (app=web)")
        await forwards.pod(ready=False, phase="Pending")
        await told.reason("web-0 is Pending")
        await forwards.state(ready=False)
        await told.reason("web-0 waits for container main")
        assert "ready" not in told.phases
        assert web.status.url == ""

        await forwards.state(ready=True)
        status = await told.phase("ready")

        assert status == ForwardStatus("ready", "", web.url, "web-0", 8080)
        assert await exchange(web.port, b"hello") == b"hello"


async def test_while_no_pod_is_ready_connections_are_broken_off(forwards: World) -> None:
    async with Forwarder(forwards.client, "web", 80) as web:
        assert await is_broken_off(web.port)


async def test_a_named_target_port_is_the_pods_own(forwards: World) -> None:
    await forwards.client.create(SERVICES, service(80, "http"))
    await forwards.pod()
    async with Forwarder(forwards.client, "web", "http") as web:
        status = await web.wait_ready()
        assert status.target_port == 8080
        assert await exchange(web.port, b"hello") == b"hello"


async def test_it_follows_what_changes(forwards: World) -> None:
    """A pod that is not ready any more is left; another selector selects other pods."""
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    told = Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told):
        await told.phase("ready")
        await forwards.state(ready=False)
        await told.phase("waiting")
        await forwards.state(ready=True)
        await told.phase("ready")
        await forwards.client.patch(
            SERVICES, "web", {"spec": {"selector": {"app": "other"}}}, "default"
        )
        await told.reason("no pod has the labels of service default/web (app=other)")


async def test_a_pod_that_is_replaced_is_left_for_the_new_one(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod("web-0")
    told = Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told) as web:
        await told.until(lambda s: s.pod == "web-0")
        await forwards.pod("web-1")
        assert await exchange(web.port, b"kept") == b"kept"
        assert web.status.pod == "web-0"

        await forwards.remove("web-0")
        await told.until(lambda s: s.pod == "web-1")

        assert await exchange(web.port, b"hello") == b"hello"
        assert told.phases == ["waiting"] * told.phases.count("waiting") + ["ready", "ready"]


async def test_what_changes_leaves_nothing_behind(forwards: World) -> None:
    """Another selector is another watch: the one of before has to end."""
    told = Told()
    await forwards.client.create(SERVICES, service())
    async with Forwarder(forwards.client, "web", 80, on_change=told):

        async def select(label: str) -> None:
            patch = {"spec": {"selector": {"app": label}}}
            await forwards.client.patch(SERVICES, "web", patch, "default")
            await told.reason(f"(app={label})")

        await select("first")
        tasks = named_tasks()
        for n in range(20):
            await select(f"other-{n}")
        assert named_tasks() == tasks


def named_tasks() -> list[str]:
    """The names of the tasks that belong to endpoints."""
    return sorted(t.get_name() for t in asyncio.all_tasks() if "endpoint" in t.get_name())


async def test_a_service_without_a_selector_is_a_terminal_error(forwards: World) -> None:
    """Never all pods: the one that is there is not connected to."""
    without = service()
    del without["spec"]["selector"]
    await forwards.client.create(SERVICES, without)
    await forwards.pod()
    told = Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told) as web:
        status = await told.phase("failed")
        with pytest.raises(ResourceError, match="web: service default/web has no selector"):
            await web.wait_ready()
        assert "has no selector" in status.reason
        assert "ready" not in told.phases
        assert is_free(web.port)


# -- what it tells


async def test_a_dead_forwarder_says_failed_and_why(
    forwards: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("cove.host.endpoint.forwarder.resolve", broken)
    await forwards.client.create(SERVICES, service())
    told = Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told) as web:
        status = await told.phase("failed")
        assert status.reason == "RuntimeError: a bug"
        with pytest.raises(ResourceError, match="a bug"):
            await web.wait_ready()


async def test_an_informer_that_dies_takes_the_forwarder_with_it(
    forwards: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of one that waits for ever for what nobody will tell."""

    async def broken(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("cove.client.informer.Informer.run", broken)
    told = Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told) as web:
        status = await told.phase("failed")
        assert status.reason == "RuntimeError: a bug"
        assert is_free(web.port)


async def test_a_state_that_cannot_be_told_is_the_end(forwards: World) -> None:
    """Nobody would know what it does from then on."""

    async def deaf(status: ForwardStatus) -> None:
        raise LookupError("nobody listens")

    async with (
        Forwarder(forwards.client, "web", 80, on_change=deaf) as web,
        asyncio.timeout(30),
    ):
        with pytest.raises(ResourceError, match="LookupError: nobody listens"):
            await web.wait_ready()
        assert is_free(web.port)


async def test_credentials_that_cannot_be_had_are_the_reason_and_asked_for_again(
    forwards: World,
) -> None:
    connection = kubeconfig.load(forwards.cluster.kubeconfig_path)
    good = False

    async def plugin() -> str:
        if not good:
            raise KubeconfigError("kubeconfig", "users[0].user.exec", "log in first")
        return ""

    connection.plugin = plugin
    clock, told = ManualClock(), Told()
    async with (
        Client.connect(connection) as client,
        Forwarder(client, "web", 80, on_change=told, clock=clock),
    ):
        await told.reason("log in first")
        good = True
        await settled()
        clock.advance(2)
        await told.reason("does not exist yet")


async def test_telling_a_state_is_awaited(forwards: World) -> None:
    """One after another: the next is told when the last has been taken."""
    await forwards.client.create(SERVICES, service())
    running, most = 0, 0
    go = asyncio.Event()
    told = Told()

    async def slow(status: ForwardStatus) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1
        await told(status)

    async with Forwarder(forwards.client, "web", 80, on_change=slow):
        await forwards.pod()
        await settled()
        assert running == 1
        go.set()
        await told.phase("ready")
    assert most == 1


async def test_a_server_that_refuses_to_be_watched_is_the_reason(forwards: World) -> None:
    connection = kubeconfig.load(forwards.cluster.kubeconfig_path)
    connection.impersonation = {"Impersonate-User": "nobody"}
    told = Told()
    async with (
        Client.connect(connection) as client,
        Forwarder(client, "web", 80, on_change=told),
    ):
        status = await told.reason("forbidden")
    assert status.phase == "waiting"
    assert (
        'services cannot be followed: services "web" is forbidden: User "nobody"' in status.reason
    )


# -- back-off


async def tried(fault: Fault, times: int) -> None:
    """Return when a fault has been met so often."""
    async with asyncio.timeout(30):
        while fault.hits < times:
            await asyncio.sleep(0.005)


async def test_a_pod_that_cannot_be_connected_to_is_tried_after_2_to_30_seconds(
    forwards: World,
) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    clock, told = ManualClock(), Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told, clock=clock) as web:
        await told.phase("ready")
        with forwards.cluster.faults.error(503, "not now", resources="pods/portforward") as fault:
            assert await is_broken_off(web.port)
            status = await told.phase("waiting")
            assert status.reason == "pod web-0 cannot be connected to: not now"
            assert status.url == ""
            assert await is_broken_off(web.port)
            assert fault.hits == 1

            for times, delay in enumerate((2, 4, 8, 16, 30, 30), start=2):
                clock.advance(delay - 0.1)
                await settled()
                assert fault.hits == times - 1, f"tried before {delay} s"
                clock.advance(0.1)
                await tried(fault, times)
                await settled()
        clock.advance(30)
        await told.phase("ready")
        assert await exchange(web.port, b"again") == b"again"


async def settled() -> None:
    """Let everything that can happen without time happen."""
    for _ in range(100):
        await asyncio.sleep(0.001)


async def test_another_pod_is_tried_at_once_in_spite_of_the_back_off(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod("web-0")
    clock, told = ManualClock(), Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told, clock=clock) as web:
        await told.phase("ready")
        with forwards.cluster.faults.error(503, resources="pods/portforward"):
            assert await is_broken_off(web.port)
            await told.phase("waiting")
        await forwards.pod("web-1")
        await forwards.remove("web-0")
        await told.until(lambda s: s.pod == "web-1")
        assert await exchange(web.port, b"hello") == b"hello"


async def test_a_port_that_nobody_listens_on_breaks_off_the_connection_alone(
    forwards: World, caplog: pytest.LogCaptureFixture
) -> None:
    await forwards.client.create(SERVICES, service(80, 9999))
    await forwards.pod()
    async with Forwarder(forwards.client, "web", 80) as web:
        await web.wait_ready()
        assert await is_broken_off(web.port)
        assert web.status.phase == "ready"
    assert "error forwarding port 9999 to pod web-0" in caplog.text


async def test_simulated_pods_are_named_as_the_reason(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod(node="simulated")
    told = Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told) as web:
        await web.wait_ready()
        assert await is_broken_off(web.port)
        await told.reason("pod default/web-0 is simulated")


async def test_a_server_that_is_down_is_the_reason_and_is_found_again(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    clock, told = ManualClock(), Told()

    async def pass_time_until(phase: str) -> None:
        while told.statuses[-1].phase != phase:
            clock.advance(1)
            await asyncio.sleep(0.005)

    async with Forwarder(forwards.client, "web", 80, on_change=told, clock=clock) as web:
        await told.phase("ready")
        url = web.url
        async with asyncio.timeout(30):
            with forwards.cluster.faults.reset():
                forwards.cluster.faults.disconnect()
                await pass_time_until("waiting")
                assert "cannot be followed: " in web.status.reason
            await pass_time_until("ready")
        assert web.url == url
        assert await exchange(web.port, b"again") == b"again"


# -- the port


async def test_the_port_is_bound_on_entering_and_kept(forwards: World) -> None:
    """One socket from entering to leaving: nobody else can have it in between."""
    async with Forwarder(forwards.client, "web", 80, hosts=("127.0.0.1",)) as web:
        before = held(web.port)
        assert before
        # Nobody else's network is served.
        assert {name[0] for name, _ in before} <= {"127.0.0.1", "::1"}
        assert not is_free(web.port)
        await forwards.client.create(SERVICES, service())
        await forwards.pod()
        await web.wait_ready()
        assert held(web.port) == before
    assert is_free(web.port)


def held(port: int) -> set[tuple[Any, int]]:
    """This process's listening sockets on a port: address, and the kernel's own number."""
    found = set()
    for one in listeners(port):
        with one:
            found.add((one.getsockname(), os.fstat(one.fileno()).st_ino))
    return found


async def test_a_port_that_is_taken_is_refused_with_who_has_it(forwards: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError) as refused:
            async with Forwarder(forwards.client, "web", 80, local_port=port):
                pass
    text = str(refused.value)
    assert text.startswith(f"port {port} of 127.0.0.1 is taken by ")
    assert f"(pid {os.getpid()})" in text
    assert "choose another port, or 0 for a free one" in text


async def test_a_port_that_was_asked_for_is_taken(forwards: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    async with Forwarder(forwards.client, "web", 80, local_port=port) as web:
        assert web.port == port


async def test_every_address_has_the_same_port(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    hosts = ("127.0.0.1", "127.0.0.2")
    async with Forwarder(forwards.client, "web", 80, hosts=hosts) as web:
        await web.wait_ready()
        for host in hosts:
            assert await exchange(web.port, b"hello", host) == b"hello"


async def test_nobody_else_answers_for_localhost(forwards: World) -> None:
    """Programs may try ::1 first."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no ::1")
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    async with Forwarder(forwards.client, "web", 80) as web:
        await web.wait_ready()
        assert await exchange(web.port, b"hello", "::1") == b"hello"


@pytest.mark.parametrize("how", ["shutdown", "closed"])
async def test_a_port_that_is_lost_is_replaced_and_the_url_follows(
    forwards: World, how: str
) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    clock, told = ManualClock(), Told()
    async with Forwarder(forwards.client, "web", 80, on_change=told, clock=clock) as web:
        first = await told.phase("ready")
        lost = web.port
        assert web._listener is not None
        if how == "shutdown":
            for one in listeners(lost):
                with one:
                    one.shutdown(socket.SHUT_RDWR)
        else:
            # Nothing tells of this: the forwarder looks now and then.
            for one in web._listener._sockets:
                asyncio.get_running_loop().remove_reader(one.fileno())
                one.close()
            clock.advance(5)
        second = await told.until(lambda s: s.url != first.url)
        assert second.phase == "ready"
        assert second.url == web.url == f"http://localhost:{web.port}"
        assert web.port != lost
        assert await exchange(web.port, b"hello") == b"hello"


async def test_a_port_that_cannot_be_replaced_is_tried_again(
    forwards: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the address itself is gone for a while; after leaving nothing is tried."""
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    clock, told = ManualClock(), Told()
    forwarder = Forwarder(forwards.client, "web", 80, on_change=told, clock=clock)

    async def lose() -> None:
        for one in listeners(forwarder.port):
            with one:
                one.shutdown(socket.SHUT_RDWR)

    def gone(*_: object) -> list[socket.socket]:
        raise PortTakenError("127.0.0.1 is no address of this machine")

    async with forwarder:
        await told.phase("ready")
        with monkeypatch.context() as patched:
            patched.setattr("cove.host.endpoint._listener._bound", gone)
            await lose()
            status = await told.phase("waiting")
            assert status.reason == "127.0.0.1 is no address of this machine"
            clock.advance(2)
        clock.advance(4)
        await told.phase("ready")
        assert await exchange(forwarder.port, b"hello") == b"hello"
        with monkeypatch.context() as patched:
            patched.setattr("cove.host.endpoint._listener._bound", gone)
            await lose()
            await told.phase("waiting")
    clock.advance(60)
    assert forwarder._listener is None
    assert held(forwarder.port) == set()


# -- many and large


async def test_a_large_transfer_is_whole_both_ways(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    data = os.urandom(30 << 20)
    async with Forwarder(forwards.client, "web", 80) as web:
        await web.wait_ready()
        back = await exchange(web.port, data)
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


async def test_a_thousand_connections_at_once_do_not_mix(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    sent = [f"connection {n} ".encode() * 100 for n in range(1000)]
    async with Forwarder(forwards.client, "web", 80) as web:
        await web.wait_ready()
        assert await asyncio.gather(*(exchange(web.port, data) for data in sent)) == sent


async def test_who_does_not_read_is_waited_for_and_holds_back_nobody(forwards: World) -> None:
    """What is under way is bounded: the sender has to stop, and others go on."""
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    async with Forwarder(forwards.client, "web", 80) as web:
        await web.wait_ready()
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(bytes(1 << 27))
        held_back = asyncio.create_task(writer.drain())
        assert await exchange(web.port, b"other") == b"other"
        assert not held_back.done()
        writer.transport.abort()
        await held_back
        del reader


# -- its end


async def test_leaving_frees_the_port_and_ends_every_connection(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    async with Forwarder(forwards.client, "web", 80) as web:
        await web.wait_ready()
        assert await exchange(web.port, b"warm") == b"warm"
    open_before = descriptors()
    async with Forwarder(forwards.client, "web", 80) as web:
        await web.wait_ready()
        ends = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(20)]
        for reader, writer in ends:
            writer.write(b"x")
            assert await reader.read(1) == b"x"
        assert web.connections == 20
    assert is_free(web.port)
    assert web.connections == 0
    for reader, writer in ends:
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
    assert named_tasks() == []
    async with asyncio.timeout(30):
        # The server's ends take a moment.
        while descriptors() > open_before:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", ["starting", "waiting", "retrying", "opening", "telling"])
async def test_leaving_is_prompt_at_every_moment(forwards: World, moment: str) -> None:
    """The clock stands still: whoever waited for time would wait for ever."""
    clock, told, stuck = ManualClock(), Told(), asyncio.Event()

    async def tell(status: ForwardStatus) -> None:
        await told(status)
        if moment == "telling":
            stuck.set()
            await asyncio.Event().wait()

    forwarder = Forwarder(forwards.client, "web", 80, on_change=tell, clock=clock)
    faults = forwards.cluster.faults
    async with asyncio.timeout(30):
        if moment == "starting":
            with faults.hang(resources="services") as fault:
                async with forwarder:
                    await tried(fault, 1)
        elif moment == "waiting":
            async with forwarder:
                await told.phase("waiting")
        elif moment == "telling":
            async with forwarder:
                await stuck.wait()
        else:
            await forwards.client.create(SERVICES, service())
            await forwards.pod()
            async with forwarder as web:
                await told.phase("ready")
                if moment == "retrying":
                    with faults.error(503, resources="pods/portforward"):
                        assert await is_broken_off(web.port)
                        await told.phase("waiting")
                else:
                    with faults.hang(resources="pods/portforward") as fault:
                        _, writer = await asyncio.open_connection("127.0.0.1", web.port)
                        await tried(fault, 1)
                        await forwarder.__aexit__(None, None, None)
                    writer.close()
    assert is_free(forwarder.port)
    assert named_tasks() == []


async def test_who_waits_for_a_closed_forwarder_is_told(forwards: World) -> None:
    async with Forwarder(forwards.client, "web", 80) as web:
        waiting = asyncio.create_task(web.wait_ready())
        await asyncio.sleep(0)
    with pytest.raises(ResourceError, match="was closed"):
        await waiting


# -- what it is called


async def test_urls_for_programs_and_for_containers(forwards: World) -> None:
    async with Forwarder(forwards.client, "web", 80) as web:
        assert web.url == f"http://localhost:{web.port}"
        assert web.container_url == f"http://host.docker.internal:{web.port}"


async def test_https_is_spoken_on_443_and_8443_unless_told_otherwise(forwards: World) -> None:
    def scheme(port: int | str, **options: str) -> str:
        return Forwarder(forwards.client, "web", port, **options).url.partition(":")[0]  # type: ignore[arg-type]

    assert [scheme(p) for p in (443, 8443, 80, 8080, 4443)] == ["https"] * 2 + ["http"] * 3
    assert scheme(443, scheme="http") == "http"
    assert scheme(80, scheme="https") == "https"


async def test_a_port_given_by_name_is_https_if_its_number_says_so(forwards: World) -> None:
    await forwards.client.create(SERVICES, service(8443, 8080))
    await forwards.pod()
    async with Forwarder(forwards.client, "web", "http") as web:
        status = await web.wait_ready()
    assert status.url.startswith("https://localhost:")


@pytest.mark.parametrize("name", ["", " ", "\t", " web", "web\n"])
async def test_blank_names_are_refused_where_they_are_given(forwards: World, name: str) -> None:
    for given in (
        {"service": name},
        {"namespace": name},
        {"port": name},
        {"hosts": (name,)},
    ):
        with pytest.raises(AppError, match=r"is blank|there are spaces"):
            Forwarder(forwards.client, **{"service": "web", "port": 80, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [0, -1, 65536, "0", "70000", True])
async def test_ports_are_1_to_65535(forwards: World, port: int | str) -> None:
    with pytest.raises(AppError, match="ports are 1–65535"):
        Forwarder(forwards.client, "web", port)


@pytest.mark.embedded("a client in process")
async def test_a_client_without_a_connection_is_named_as_the_reason(forwards: World) -> None:
    await forwards.client.create(SERVICES, service())
    await forwards.pod()
    told = Told()
    async with Forwarder(forwards.cluster.client, "web", 80, on_change=told) as web:
        await told.phase("ready")
        assert await is_broken_off(web.port)
        await told.reason("this client calls it in process")
