"""Connections into pods: over both protocols, against our own server and against strange ones."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.server.streams.conftest import make_pod
from tests.server.streams.local_kubelet import LocalKubelet

from cove.client import (
    Client,
    ClientError,
    Connection,
    ManualClock,
    PortForwardError,
    Tunnels,
    kubeconfig,
)
from cove.client.errors import UnreachableError
from cove.client.portforward import CHANNELS, TUNNEL, _Tunnel
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.spdy import Data, Decoder, Encoder, Frame, Ping, Reset, SynReply, SynStream
from cove.kube.status import StatusError

LARGE = 20 << 20
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Pods:
    """A cluster with the pod web; ``serves`` says what listens on its port 80."""

    def __init__(self, cluster: EmbeddedCluster, client: Client) -> None:
        self.cluster = cluster
        self.client = client
        self.kubelet = LocalKubelet()
        cluster.api.kubelet = self.kubelet

    @asynccontextmanager
    async def serves(self, serve: Serve, limit: int = 65536) -> AsyncIterator[None]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=limit)
        self.kubelet.ports[80] = server.sockets[0].getsockname()[1]
        async with server, asyncio.timeout(60):
            yield


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    """The cluster, and a client over HTTPS."""
    async with (
        embedded(nodes=0, controllers=False, disable_admission=["ServiceAccount"]) as cluster,
        Client.connect(kubeconfig.load(cluster.kubeconfig_path)) as client,
    ):
        await make_pod(cluster, "web")
        yield Pods(cluster, client)


@pytest.fixture(params=[TUNNEL, CHANNELS], ids=["spdy", "channels"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What is spoken in the WebSocket."""
    return str(request.param)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


# -- against our own server


async def test_large_data_is_whole_both_ways(pods: Pods, protocol: str) -> None:
    data = os.urandom(LARGE)
    async with (
        pods.serves(echo),
        pods.client.port_forward("web", 80, protocols=[protocol]) as connection,
    ):
        assert connection.protocol == protocol
        writing = asyncio.create_task(connection.write(data))
        back = bytearray()
        while len(back) < len(data):
            piece = await connection.read()
            assert piece
            back += piece
        await writing
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


async def test_the_pods_end_is_the_end(pods: Pods, protocol: str) -> None:
    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with (
        pods.serves(hello),
        pods.client.port_forward("web", 80, protocols=[protocol]) as connection,
    ):
        assert await connection.read() == b"hello"
        assert await connection.read() == b""
        assert await connection.read() == b""


async def test_the_writing_side_ends_alone(pods: Pods) -> None:
    """What HTTP/1.0 and nc do: all is sent, then the answer is read."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d bytes" % len(await reader.read(-1)))
        writer.close()

    async with pods.serves(count), pods.client.port_forward("web", 80) as connection:
        assert connection.half_close
        await connection.write(b"x" * 1000)
        await connection.write_eof()
        assert await connection.read() == b"1000 bytes"
        assert await connection.read() == b""


async def test_over_channels_the_answer_is_read_after_the_writing_side_has_ended(
    pods: Pods,
) -> None:
    """The pod is not told of the end, and what it says comes nevertheless."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"got " + await reader.readline())
        writer.close()

    async with (
        pods.serves(answer),
        pods.client.port_forward("web", 80, protocols=[CHANNELS]) as connection,
    ):
        assert not connection.half_close
        await connection.write(b"line\n")
        await connection.write_eof()
        assert await connection.read() == b"got line\n"
        assert await connection.read() == b""
        with pytest.raises(PortForwardError):
            await connection.write(b"more")


async def test_a_port_nobody_listens_on_is_told_in_the_servers_words(
    pods: Pods, protocol: str
) -> None:
    async with pods.client.port_forward("web", 81, protocols=[protocol]) as connection:
        with pytest.raises(
            PortForwardError, match=r"forwarding port 81 to pod web, uid .*connection refused"
        ):
            await connection.read()


async def test_a_connection_that_breaks_off_in_the_pod_is_no_end(pods: Pods) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half an ans")
        await reader.read(1)
        writer.transport.set_write_buffer_limits(0)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER, 0 s: a reset
        writer.transport.abort()

    async with pods.serves(break_off), pods.client.port_forward("web", 80) as connection:
        assert await connection.read() == b"half an ans"
        await connection.write(b"x")
        with pytest.raises(
            PortForwardError,
            match="port 80 of pod default/web: the connection broke off in the pod",
        ):
            await connection.read()


async def test_who_writes_waits_for_a_pod_that_does_not_read(pods: Pods, protocol: str) -> None:
    """What is under way is bounded; once the pod reads, all of it arrives."""
    go, got = asyncio.Event(), 0

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await go.wait()
        while data := await reader.read(65536):
            got += len(data)
            if got == 2 * LARGE:
                writer.write(b"all")
        writer.close()

    async with (
        pods.serves(later, limit=1024),
        pods.client.port_forward("web", 80, protocols=[protocol]) as connection,
    ):
        writing = asyncio.create_task(connection.write(bytes(2 * LARGE)))
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert not writing.done()
        go.set()
        assert await connection.read() == b"all"
        await writing


async def test_what_was_written_arrives_although_the_connection_is_left(
    pods: Pods, protocol: str
) -> None:
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.set_result(len(await reader.readexactly(1 << 20)))
        writer.close()

    async with pods.serves(count):
        async with pods.client.port_forward("web", 80, protocols=[protocol]) as connection:
            await connection.write(bytes(1 << 20))
        async with asyncio.timeout(30):
            assert await done == 1 << 20


async def test_left_by_an_exception_it_is_cut_and_the_pods_side_ends(
    pods: Pods, protocol: str
) -> None:
    ended = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        ended.set()
        writer.close()

    async with pods.serves(wait):
        with suppress(LookupError):
            async with pods.client.port_forward("web", 80, protocols=[protocol]) as connection:
                await connection.write(b"x")
                raise LookupError
        async with asyncio.timeout(30):
            await ended.wait()


async def test_two_hundred_connections_leave_nothing_behind(pods: Pods, protocol: str) -> None:
    """Neither descriptors nor tasks, however they are left."""

    async def once(n: int) -> None:
        async with pods.client.port_forward("web", 80, protocols=[protocol]) as connection:
            await connection.write(b"%d" % n)
            assert await connection.read() == b"%d" % n
            if n % 2:
                raise LookupError

    async def many(count: int) -> None:
        for start in range(0, count, 20):
            await asyncio.gather(
                *(once(n) for n in range(start, start + 20)), return_exceptions=True
            )

    async with pods.serves(echo):
        await many(20)
        before = await quiet()
        await many(200)
        async with asyncio.timeout(30):
            while await quiet() > before:
                await asyncio.sleep(0.01)


async def quiet() -> tuple[int, int]:
    """Descriptors and tasks."""
    await asyncio.sleep(0.05)
    return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())


async def test_a_silent_server_is_asked_whether_it_is_there(pods: Pods) -> None:
    """By TCP itself: messages would wait behind what a slow pod has not taken."""
    async with pods.serves(echo), pods.client.port_forward("web", 80) as connection:
        raw = connection._socket.get_extra_info("socket")  # type: ignore[attr-defined]
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


# -- one after another


class Sockets:
    """Tunnels to the pod web, and how many WebSockets the server has seen."""

    def __init__(self, pods: Pods, clock: ManualClock) -> None:
        self.clock = clock
        self.tunnels = Tunnels(pods.client, "web", "default", clock=clock)
        self._seen = pods.cluster.faults.latency(0, resources="pods/portforward")

    @property
    def opened(self) -> int:
        return self._seen.hits

    async def once(self, data: bytes = b"hello", *, whole: bool = True) -> None:
        async with self.tunnels.connect(80) as connection:
            await connection.write(data)
            assert await connection.read() == data
            if whole:
                await connection.write_eof()
                assert await connection.read() == b""


@pytest.fixture
async def sockets(pods: Pods) -> AsyncIterator[Sockets]:
    """Port 80 echoes."""
    made = Sockets(pods, ManualClock())
    async with pods.serves(echo), made.tunnels:
        yield made


async def test_a_websocket_is_used_again_once_both_sides_have_ended(sockets: Sockets) -> None:
    for n in range(10):
        await sockets.once(b"%d" % n)
    assert sockets.opened == 1


@pytest.mark.parametrize("how", ["left early", "left by an exception"])
async def test_one_that_was_left_in_between_is_not_used_again(sockets: Sockets, how: str) -> None:
    """What is still under way would be another connection's."""
    for _ in range(3):
        if how == "left early":
            await sockets.once(whole=False)
        else:
            with suppress(LookupError):
                async with sockets.tunnels.connect(80) as connection:
                    await connection.write_eof()
                    assert await connection.read() == b""
                    raise LookupError
    assert sockets.opened == 3


async def test_no_more_than_a_few_are_opened_at_once(pods: Pods, sockets: Sockets) -> None:
    """Who waits takes one that another connection has done with."""
    sent = [b"connection %d" % n for n in range(100)]
    await asyncio.gather(*(sockets.once(data) for data in sent))
    assert sockets.opened < 50
    with pods.cluster.faults.hang(resources="pods/portforward") as hanging:
        await sockets.tunnels.close()
        waiting = [asyncio.create_task(sockets.once()) for _ in range(20)]
        for _ in range(50):
            await asyncio.sleep(0.005)
        assert hanging.hits == 8
        for task in waiting[:8]:
            task.cancel()
    await asyncio.gather(*waiting[8:])


async def test_many_connections_that_stay_open_have_one_each(sockets: Sockets) -> None:
    async with AsyncExitStack() as stack:
        for n in range(20):
            connection = await stack.enter_async_context(sockets.tunnels.connect(80))
            await connection.write(b"%d" % n)
            assert await connection.read() == b"%d" % n
    assert sockets.opened == 20


async def test_one_that_the_server_has_closed_is_replaced(pods: Pods, sockets: Sockets) -> None:
    await sockets.once()
    await pods.cluster.restart()
    await sockets.once()
    assert sockets.opened == 2


async def test_one_that_nobody_uses_is_closed_after_a_while(sockets: Sockets) -> None:
    await sockets.once()
    sockets.clock.advance(29)
    await sockets.once()
    assert sockets.opened == 1
    before, _ = await quiet()
    sockets.clock.advance(30)
    async with asyncio.timeout(30):
        while (await quiet())[0] >= before:
            await asyncio.sleep(0.01)
    await sockets.once()
    assert sockets.opened == 2


async def test_leaving_closes_those_that_are_kept(pods: Pods) -> None:
    made = Sockets(pods, ManualClock())
    async with pods.serves(echo):
        before = await quiet()
        async with made.tunnels:
            await asyncio.gather(*(made.once() for _ in range(10)))
            assert (await quiet())[0] > before[0]
        async with asyncio.timeout(30):
            while await quiet() > before:
                await asyncio.sleep(0.01)


# -- what the server refuses


async def test_a_pod_that_is_not_there_is_not_found(pods: Pods) -> None:
    with pytest.raises(StatusError, match='pods "none" not found') as refused:
        async with pods.client.port_forward("none", 80):
            pass
    assert refused.value.code == 404


async def test_simulated_pods_say_that_they_are(pods: Pods) -> None:
    await make_pod(pods.cluster, "other", node="simulated")
    with pytest.raises(StatusError, match="pod default/other is simulated"):
        async with pods.client.port_forward("other", 80):
            pass


async def test_who_may_not_is_told(pods: Pods) -> None:
    connection = kubeconfig.load(pods.cluster.kubeconfig_path)
    connection.impersonation = {"Impersonate-User": "nobody"}
    async with Client.connect(connection) as client:
        with pytest.raises(StatusError, match='"nobody" cannot get resource "pods/portforward"'):
            async with client.port_forward("web", 80):
                pass


async def test_a_server_that_does_not_answer_is_unreachable() -> None:
    async with Client.connect(Connection(server="http://127.0.0.1:1")) as client:
        with pytest.raises(UnreachableError):
            async with client.port_forward("web", 80):
                pass


async def test_a_client_without_a_connection_says_what_to_do(pods: Pods) -> None:
    with pytest.raises(ClientError, match=r"this client calls it in process: make a client with"):
        async with pods.cluster.client.port_forward("web", 80):
            pass


# -- against servers that are not ours


class Strange:
    """An API server that speaks one protocol, in a way the test chooses."""

    def __init__(
        self, protocol: str, talk: Callable[[web.WebSocketResponse], Awaitable[None]]
    ) -> None:
        self.protocol = protocol
        self.talk = talk
        self.requests: list[web.BaseRequest] = []
        self.url = ""

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        socket = web.WebSocketResponse(protocols=[self.protocol])
        await socket.prepare(request)
        await self.talk(socket)
        return socket

    @asynccontextmanager
    async def client(self, **connection: Any) -> AsyncIterator[Client]:
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0)  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with (
                asyncio.timeout(30),
                Client.connect(
                    Connection(server=f"http://127.0.0.1:{port}", **connection),
                    user_agent="tests/1",
                ) as client,
            ):
                yield client
        finally:
            await runner.cleanup()


async def test_an_older_server_chooses_the_channels() -> None:
    """Kubernetes before 1.30; the numbers of the port come in any pieces."""

    async def talk(socket: web.WebSocketResponse) -> None:
        for message in (b"\0\x50", b"\x01\x50\0", b"\0\0first", b"\x07unknown", b"", b"\0second"):
            await socket.send_bytes(message)
        assert (await socket.receive()).data == b"\0hello"
        await socket.close()

    strange = Strange(CHANNELS, talk)
    async with strange.client() as client, client.port_forward("web", 80, "shop") as connection:
        assert connection.protocol == CHANNELS
        await connection.write(b"hello")
        pieces = [await connection.read() for _ in range(3)]
    assert pieces == [b"first", b"second", b""]
    request = strange.requests[0]
    assert str(request.rel_url) == "/api/v1/namespaces/shop/pods/web/portforward?ports=80"
    offered = request.headers["Sec-WebSocket-Protocol"].replace(" ", "").split(",")
    assert offered == [TUNNEL, CHANNELS]


async def test_a_connection_to_the_server_that_drops_is_no_end() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\0\x50\0half")
        transport = socket._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.close()

    async with (
        Strange(CHANNELS, talk).client() as client,
        client.port_forward("web", 80) as connection,
    ):
        assert await connection.read() == b"half"
        with pytest.raises(PortForwardError, match="broke off"):
            await connection.read()


async def test_nothing_is_sent_before_the_streams_are_accepted() -> None:
    """Kubernetes throws away data of a stream that it has not answered yet."""
    early: list[Frame] = []

    async def talk(socket: web.WebSocketResponse) -> None:
        frames = frames_of(socket)
        opened = [await anext(frames), await anext(frames)]
        early.extend(f for f in opened if not isinstance(f, SynStream))
        encoder = Encoder()
        kinds = {f.headers["streamtype"]: f.stream for f in opened if isinstance(f, SynStream)}
        assert set(kinds) == {"error", "data"}
        try:
            early.append(await asyncio.wait_for(anext(frames), 0.1))
        except TimeoutError:
            pass
        frames = frames_of(socket)
        for stream in kinds.values():
            await socket.send_bytes(encoder.encode(SynReply(stream)))
        await socket.send_bytes(encoder.encode(Ping(2)))
        seen = [await anext(frames) for _ in range(3)]
        assert Data(kinds["error"], b"", fin=True) in seen
        assert Data(kinds["data"], b"hello") in seen
        assert Ping(2) in seen
        await socket.send_bytes(encoder.encode(Data(kinds["data"], b"bye", fin=True)))
        await socket.receive()

    async with (
        Strange(TUNNEL, talk).client() as client,
        client.port_forward("web", 80) as connection,
    ):
        await asyncio.gather(connection.write(b"hello"), until(connection.read, b"bye"))
    assert early == []


async def until(read: Callable[[], Awaitable[bytes]], data: bytes) -> None:
    assert await read() == data


async def frames_of(socket: web.WebSocketResponse) -> AsyncIterator[Frame]:
    decoder = Decoder()
    while (message := await socket.receive()).type is WSMsgType.BINARY:
        for frame in decoder.feed(message.data):
            yield frame


async def test_streams_that_are_not_opened_are_told() -> None:
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(Encoder().encode(Reset(3, 3)))
        await socket.receive()

    async with Strange(TUNNEL, talk).client() as client:
        with pytest.raises(PortForwardError, match="port 80 of pod default/web"):
            async with client.port_forward("web", 80):
                pass


async def test_the_credentials_of_now_and_the_clients_name_are_sent(tmp_path: Path) -> None:
    """As with every other request: tokens may have changed since the last one."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.close()

    tokens: Iterator[str] = iter(["one", "two"])

    async def plugin() -> str:
        return f"Bearer {next(tokens)}"

    strange = Strange(CHANNELS, talk)
    async with strange.client(plugin=plugin) as client:
        for _ in range(2):
            async with client.port_forward("web", 80) as connection:
                assert await connection.read() == b""
    assert [r.headers["Authorization"] for r in strange.requests] == ["Bearer one", "Bearer two"]
    assert strange.requests[0].headers["User-Agent"] == "tests/1"


class Messages:
    """A WebSocket that has received something."""

    closed = False

    def __init__(self, messages: list[bytes]) -> None:
        self._messages = messages

    async def receive(self) -> Any:
        class Message:
            type = WSMsgType.BINARY
            data = self._messages.pop(0)

        return Message

    async def send_bytes(self, data: bytes) -> None:
        pass


@settings(deadline=None)
@given(
    pieces=some.lists(some.binary(max_size=50), max_size=10),
    noise=some.lists(some.sampled_from([Ping(2), Ping(1), Reset(1, 5)]), max_size=3),
    cuts=some.lists(some.integers(0, 600), max_size=20),
)
def test_data_is_whole_however_it_is_cut(
    pieces: list[bytes], noise: list[Frame], cuts: list[int]
) -> None:
    """The server passes on bytes: a message may end anywhere."""
    encoder = Encoder()
    frames: list[Frame] = [SynReply(1), SynReply(3), *noise]
    frames += [Data(3, piece) for piece in pieces]
    text = b"".join(map(encoder.encode, [*frames, Data(3, b"", fin=True)]))
    places = [0, *sorted(c for c in cuts if 0 < c < len(text)), len(text)]
    messages = [text[a:b] for a, b in pairwise(places)]

    async def read() -> bytes:
        tunnel = _Tunnel(Messages(messages))  # type: ignore[arg-type]
        await tunnel.open(80, "port 80")
        read = b""
        while piece := await tunnel.read():
            read += piece
        return read

    assert asyncio.run(read()) == b"".join(pieces)
