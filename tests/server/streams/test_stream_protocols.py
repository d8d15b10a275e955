"""exec, attach and port-forward as other clients speak them, and as nobody should."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from tests.server.streams.conftest import make_pod
from tests.server.streams.local_kubelet import LocalKubelet
from tests.server.test_http import context

from cove.engines.embedded import EmbeddedCluster
from cove.kube.spdy import (
    Data,
    Decoder,
    Encoder,
    Frame,
    GoAway,
    Ping,
    Reset,
    SynReply,
    SynStream,
)
from cove.kube.status import StatusError

POD = "/api/v1/namespaces/default/pods/web/"


def command(*words: str, **options: Any) -> str:
    """The path and query of an exec."""
    query = [("command", word) for word in words] + [("container", "main"), *options.items()]
    return POD + "exec?" + urlencode(query)


@asynccontextmanager
async def websocket(
    real: EmbeddedCluster, path: str, *protocols: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(real.url + path, protocols=protocols, ssl=context(real)) as socket,
    ):
        yield socket


async def messages(socket: aiohttp.ClientWebSocketResponse) -> list[bytes]:
    """Everything until the server closes."""
    return [m.data if isinstance(m.data, bytes) else m.data.encode() async for m in socket]


SUCCESS = {"metadata": {}, "status": "Success"}
V5 = "v5.channel.k8s.io"


class TestChannels:
    """WebSockets whose messages begin with a channel."""

    @pytest.mark.parametrize(
        "protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io", ""]
    )
    async def test_channels_carry_both_outputs_and_how_it_ended(
        self, real: EmbeddedCluster, protocol: str
    ) -> None:
        path = command("sh", "-c", "echo out; echo err >&2; exit 5", stdout=1, stderr=1)
        async with websocket(real, path, *([protocol] if protocol else [])) as socket:
            assert (socket.protocol or "") == protocol
            first, *found = await messages(socket)
        assert first == b"\1"
        assert b"".join(m[1:] for m in found if m[0] == 1) == b"out\n"
        assert b"".join(m[1:] for m in found if m[0] == 2) == b"err\n"
        (error,) = (m[1:] for m in found if m[0] == 3)
        text = "command terminated with non-zero exit code: command terminated with exit code 5"
        if protocol[:2] in ("v4", "v5"):
            assert json.loads(error) == {
                "metadata": {},
                "status": "Failure",
                "message": text,
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": "5"}]},
            }
        else:
            assert error.decode() == text

    async def test_a_client_is_let_go_before_the_command_is(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        """Who closes on the status, with a reader at the connection still, has read the end."""
        async with websocket(real, command("cat", stdin=1, stdout=1), V5) as socket:
            process = await kubelet.started.get()
            held, let_go = process.aclose, asyncio.Event()

            async def aclose() -> None:
                await let_go.wait()
                await held()

            process.aclose = aclose  # type: ignore[method-assign]
            await socket.send_bytes(bytes((255, 0)))
            found = await messages(socket)
            code, released = socket.close_code, process.closed.is_set()
            let_go.set()
        await process.closed.wait()
        assert json.loads(found[-1][1:]) == SUCCESS
        assert (code, released) == (1000, False)

    @pytest.mark.parametrize("protocol", ["v4.base64.channel.k8s.io", "base64.channel.k8s.io"])
    async def test_base64_is_text_both_ways(self, real: EmbeddedCluster, protocol: str) -> None:
        path = command("head", "-c", "3", stdin=1, stdout=1)
        async with websocket(real, path, protocol) as socket:
            await socket.send_str("0not base64!")
            await socket.send_str("0" + b64encode(b"abcdef").decode())
            first, *found = await messages(socket)
        assert first == b"1"
        assert found[0] == b"1" + b64encode(b"abc")
        assert len(found) == (2 if protocol.startswith("v4") else 1)

    async def test_only_what_was_asked_for_is_sent(self, real: EmbeddedCluster) -> None:
        """The first message goes to the lowest channel that is written."""
        path = command("sh", "-c", "echo out; echo err >&2", stderr=1)
        async with websocket(real, path, "v5.channel.k8s.io") as socket:
            first, *found = await messages(socket)
        assert first == b"\2"
        assert [m[0] for m in found] == [2, 3]
        assert json.loads(found[-1][1:]) == SUCCESS

    async def test_v5_closes_input(self, real: EmbeddedCluster) -> None:
        path = command("wc", "-c", stdin=1, stdout=1)
        async with websocket(real, path, "v5.channel.k8s.io", "v4.channel.k8s.io") as socket:
            await socket.send_bytes(b"\0abc")
            await socket.send_bytes(b"\xff\0")
            await socket.send_bytes(b"\0passed over")
            found = await messages(socket)
        assert found[1][1:].strip() == b"3"

    @pytest.mark.parametrize("data", [b"\xff", b"\xff\0\0", b"\xff\x09"])
    async def test_a_bad_close_signal_ends_the_session(
        self, real: EmbeddedCluster, kubelet: LocalKubelet, data: bytes
    ) -> None:
        path = command("cat", stdin=1, stdout=1)
        async with websocket(real, path, "v5.channel.k8s.io") as socket:
            await socket.send_bytes(data)
            assert await messages(socket) == [b"\1"]
        await (await kubelet.started.get()).closed.wait()

    async def test_what_is_for_no_channel_is_passed_over(self, real: EmbeddedCluster) -> None:
        path = command("cat", stdin=1, stdout=1)
        async with websocket(real, path, "v5.channel.k8s.io") as socket:
            for data in (b"", b"\x09x", b"\1x", b"\4no size", b'\4{"Width":-1,"Height":0}', b"\0"):
                await socket.send_bytes(data)
            await socket.send_bytes(b"\0x")
            await socket.send_bytes(b"\xff\0")
            assert [m[:2] for m in await messages(socket)] == [b"\1", b"\1x", b"\3{"]

    async def test_the_size_of_a_terminal_may_come_in_pieces(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        path = command("sh", "-c", "read x; stty size", stdin=1, stdout=1, tty=1)
        async with websocket(real, path, "v4.channel.k8s.io") as socket:
            for data in (b'\4{"Width":90,', b'\4"Height":40}\n', b"\0go\n"):
                await socket.send_bytes(data)
            out = b"".join(m[1:] for m in await messages(socket) if m[0] == 1)
        assert b"40 90" in out
        assert (await kubelet.started.get()).sizes == [(90, 40)]

    async def test_a_client_that_vanishes_ends_the_command(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        path = command("cat", stdin=1, stdout=1)
        async with websocket(real, path, "v5.channel.k8s.io") as socket:
            await socket.receive()
            transport = socket._conn.transport  # type: ignore[union-attr]
            transport.abort()
            await (await kubelet.started.get()).closed.wait()

    @pytest.mark.parametrize(
        ("failure", "code", "text"),
        [
            (StatusError(503, "ServiceUnavailable", "the node is gone"), 503, "the node is gone"),
            (ConnectionResetError("broken"), 500, "error executing command in container: broken"),
        ],
        ids=["status", "error"],
    )
    async def test_a_failure_in_the_middle_is_told(
        self, real: EmbeddedCluster, kubelet: LocalKubelet, failure: Exception, code: int, text: str
    ) -> None:
        kubelet.failure = failure
        path = command("cat", stdin=1, stdout=1)
        async with websocket(real, path, "v5.channel.k8s.io") as socket:
            _, told = await messages(socket)
        status = json.loads(told[1:])
        assert status["code"] == code
        assert text in status["message"]

    async def test_nobody_speaks_the_protocol(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with websocket(real, command("true", stdout=1), "v9.channel.k8s.io"):
                pass
        assert refused.value.status == 403
        assert kubelet.started.empty()

    async def test_the_old_port_forward_has_two_channels_a_port(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()

        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        kubelet.ports[80] = server.sockets[0].getsockname()[1]
        path = POD + "portforward?ports=80,81"
        async with server, websocket(real, path, "v4.channel.k8s.io") as socket:
            await socket.send_bytes(b"\0hello\n")
            found = await messages(socket)
        assert found[:4] == [b"\0\x50\0", b"\1\x50\0", b"\2\x51\0", b"\3\x51\0"]
        assert b"\0HELLO\n" in found
        (error,) = (m for m in found[4:] if m[0] == 3)
        assert b"error forwarding port 81 to pod web" in error


class Spdy:
    """A raw connection, and SPDY on it once it is upgraded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._encoder, self._decoder = Encoder(), Decoder()
        self._frames: list[Frame] = []

    async def request(self, path: str, *headers: str) -> tuple[int, str]:
        """POST; the status, and head and body."""
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Length: 0", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode())
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status = int(text.split()[1])
        if status != 101:
            length = int(text.lower().split("content-length: ")[1].split()[0])
            text += (await self.reader.readexactly(length)).decode()
        return status, text

    async def send(self, *frames: Frame) -> None:
        self.writer.write(b"".join(map(self._encoder.encode, frames)))
        await self.writer.drain()

    async def next(self) -> Frame | None:
        while not self._frames:
            data = await self.reader.read(65536)
            if not data:
                return None
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)


@asynccontextmanager
async def raw(real: EmbeddedCluster) -> AsyncIterator[Spdy]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", real.server.port, ssl=context(real), server_hostname="localhost"
    )
    try:
        yield Spdy(reader, writer)
    finally:
        writer.transport.abort()


UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1")
V4 = (*UPGRADE, "X-Stream-Protocol-Version: v4.channel.k8s.io")
FORWARD = (*UPGRADE, "X-Stream-Protocol-Version: portforward.k8s.io")


class TestSpdy:
    """SPDY/3.1 on the connection itself."""

    async def test_the_version_is_agreed_on(self, real: EmbeddedCluster) -> None:
        """The client's first that is spoken, in however many lines it lists them."""
        name = "X-Stream-Protocol-Version"
        headers = (*UPGRADE, f"{name}: v9.channel.k8s.io, v3.channel.k8s.io", f"{name}: v4.x")
        async with raw(real) as client:
            status, text = await client.request(command("true", stdout=1), *headers)
        assert status == 101
        assert "\r\nUpgrade: SPDY/3.1\r\n" in text
        assert "\r\nX-Stream-Protocol-Version: v3.channel.k8s.io\r\n" in text

    @pytest.mark.parametrize(
        ("path", "headers", "status", "text"),
        [
            (command("true", stdout=1), (), 400, "Upgrade request required"),
            (command("true", stdout=1), UPGRADE, 400, "X-Stream-Protocol-Version is required"),
            (
                command("true", stdout=1),
                (*UPGRADE, "X-Stream-Protocol-Version: v9"),
                403,
                "unable to upgrade: unable to negotiate protocol: client supports [v9], server "
                "accepts [v5.channel.k8s.io v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io "
                "channel.k8s.io]",
            ),
            (
                command("true", stdout=1),
                ("Connection: Upgrade", "Upgrade: h2c"),
                400,
                "missing upgrade headers in request",
            ),
            (command("true"), V4, 400, "you must specify at least 1 of stdin, stdout, stderr"),
            (command(stdout=1), V4, 400, "you must specify at least one command"),
            (POD + "portforward", V4, 403, "server accepts [portforward.k8s.io]"),
        ],
        ids=["no upgrade", "no version", "version", "upgrade", "streams", "command", "forward"],
    )
    async def test_what_cannot_be_agreed_on_is_told(
        self,
        real: EmbeddedCluster,
        kubelet: LocalKubelet,
        path: str,
        headers: tuple[str, ...],
        status: int,
        text: str,
    ) -> None:
        """And the connection is good for another request."""
        async with raw(real) as client:
            for _ in range(2):
                found, body = await client.request(path, *headers)
                assert (found, text in body) == (status, True), body
        assert kubelet.started.empty()

    async def test_streams_are_accepted_and_the_end_is_told_on_each(
        self, real: EmbeddedCluster
    ) -> None:
        async with raw(real) as client:
            await client.request(command("sh", "-c", "echo hi; exit 2", stdout=1), *V4)
            await client.send(
                SynStream(1, {"streamtype": "error"}),
                SynStream(3, {"streamtype": "nonsense"}),
                SynStream(5, {"streamtype": "stdout"}),
                Ping(1),
            )
            found = []
            while not isinstance(frame := await client.next(), GoAway):
                found.append(frame)
        for answer in (SynReply(1), Reset(3, 5), SynReply(5), Ping(1)):
            assert answer in found
        data = [f for f in found if isinstance(f, Data)]
        assert b"".join(f.data for f in data if f.stream == 5) == b"hi\n"
        status = json.loads(b"".join(f.data for f in data if f.stream == 1))
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "2"}]
        assert {f.stream for f in data if f.fin} == {1, 5}

    @pytest.mark.parametrize("how", ["garbage", "goodbye", "gone", "broken"])
    async def test_a_client_that_ends_ends_the_command(
        self, real: EmbeddedCluster, kubelet: LocalKubelet, how: str
    ) -> None:
        async with raw(real) as client:
            await client.request(command("cat", stdin=1, stdout=1), *V4)
            await client.send(
                *(
                    SynStream(2 * n + 1, {"streamtype": type})
                    for n, type in enumerate(("error", "stdin", "stdout"))
                ),
                Data(3, b"there"),
            )
            while not isinstance(await client.next(), Data):
                pass
            if how == "garbage":
                client.writer.write(b"\x80\x09garbage!")
                assert await client.next() == GoAway(5, 1)
            elif how == "goodbye":
                await client.send(GoAway(0))
            elif how == "gone":
                client.writer.close()
            else:
                client.writer.transport.abort()
            await (await kubelet.started.get()).closed.wait()

    async def test_pairs_are_made_of_what_belongs_together(
        self, real: EmbeddedCluster, kubelet: LocalKubelet
    ) -> None:
        """By requestID, and of older clients by the numbers of the streams."""

        async def port_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(-1))
            writer.close()

        server = await asyncio.start_server(port_of, "127.0.0.1", 0)
        kubelet.ports[80] = server.sockets[0].getsockname()[1]
        async with server, raw(real) as client:
            await client.request(POD + "portforward", *FORWARD)
            bad: list[dict[str, str]] = [
                {"streamtype": "data"},
                {"streamtype": "data", "port": "0"},
                {"streamtype": "data", "port": "65536"},
                {"streamtype": "odd", "port": "80"},
            ]
            for number, headers in enumerate(bad):
                await client.send(SynStream(2 * number + 1, headers))
                assert await client.next() == Reset(2 * number + 1, 5)
            old = {"port": "80"}
            new = {"port": "80", "requestid": "7"}
            await client.send(
                SynStream(21, {"streamtype": "error", **new}),
                SynStream(23, {"streamtype": "error", **old}),
                SynStream(25, {"streamtype": "data", **old}),
                SynStream(27, {"streamtype": "data", **new}),
                SynStream(29, {"streamtype": "data", "port": "81", "requestid": "8"}),
                SynStream(31, {"streamtype": "error", "port": "81", "requestid": "8"}),
                Data(25, b"old", fin=True),
                Data(27, b"new", fin=True),
            )
            got: dict[int, bytes] = {}
            ended: set[int] = set()
            while len(ended) < 6:
                frame = await client.next()
                if isinstance(frame, Data):
                    got[frame.stream] = got.get(frame.stream, b"") + frame.data
                    if frame.fin:
                        ended.add(frame.stream)
        assert (got[25], got[27]) == (b"old", b"new")
        assert b"error forwarding port 81" in got[31]


class TestHeldBack:
    """Nobody makes the server keep what the other end does not want."""

    @pytest.mark.parametrize("protocol", ["websocket", "spdy"])
    async def test_a_client_that_does_not_read_holds_back_the_command(
        self, real: EmbeddedCluster, kubelet: LocalKubelet, protocol: str
    ) -> None:
        async with _unread(real, command("cat", "/dev/zero", stdout=1), protocol):
            endless = await kubelet.started.get()
            await _meanwhile(real, kubelet)
            assert endless.given < 16 * 1024 * 1024
        await endless.closed.wait()

    @pytest.mark.parametrize("protocol", ["websocket", "spdy"])
    async def test_a_command_that_does_not_read_holds_back_the_client(
        self, real: EmbeddedCluster, kubelet: LocalKubelet, protocol: str
    ) -> None:
        path = command("tail", "-f", "/dev/null", stdin=1, stdout=1)
        async with _unread(real, path, protocol) as send:
            deaf = await kubelet.started.get()
            flooding = asyncio.create_task(send(4096))
            await _meanwhile(real, kubelet)
            assert deaf.taken < 16 * 1024 * 1024
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
        await real.server.stop()
        assert deaf.closed.is_set()
        await real.server.start()

    @pytest.mark.parametrize("protocol", ["websocket", "spdy"])
    async def test_a_client_that_was_held_back_may_leave(
        self, real: EmbeddedCluster, kubelet: LocalKubelet, protocol: str
    ) -> None:
        """Even though nothing is read from it any more: the command ends."""
        path = command("tail", "-f", "/dev/null", stdin=1, stdout=1)
        async with _unread(real, path, protocol) as send:
            deaf = await kubelet.started.get()
            await send(16)
        await deaf.closed.wait()


@asynccontextmanager
async def _unread(
    real: EmbeddedCluster, path: str, protocol: str
) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """A client that reads nothing, and what sends so many pieces of input; left, it is gone."""
    piece = b"x" * 65536
    if protocol == "websocket":
        async with websocket(real, path, "v5.channel.k8s.io") as socket:

            async def messages(count: int) -> None:
                for _ in range(count):
                    await socket.send_bytes(b"\0" + piece)

            yield messages
            assert socket._conn is not None
            assert socket._conn.transport is not None
            socket._conn.transport.abort()
        return
    async with raw(real) as client:
        await client.request(path, *V4)
        types = ("error", "stdout", "stdin") if "stdin" in path else ("error", "stdout")
        await client.send(
            *(SynStream(2 * n + 1, {"streamtype": type}) for n, type in enumerate(types))
        )

        async def frames(count: int) -> None:
            for _ in range(count):
                await client.send(Data(5, piece))

        yield frames


async def _meanwhile(real: EmbeddedCluster, kubelet: LocalKubelet) -> None:
    """Others are served: 20 MB go there and back."""
    path = command("cat", stdin=1, stdout=1)
    async with websocket(real, path, "v5.channel.k8s.io") as socket:

        async def send() -> None:
            for _ in range(320):
                await socket.send_bytes(b"\0" + b"y" * 65536)
            await socket.send_bytes(b"\xff\0")

        _, found = await asyncio.gather(send(), messages(socket))
    assert sum(len(m) - 1 for m in found if m[0] == 1) == 320 * 65536
    await kubelet.started.get()


@pytest.mark.parametrize(
    ("query", "protocol", "code"),
    [
        ("", "v4.channel.k8s.io", 400),
        ("?ports=", "v4.channel.k8s.io", 400),
        ("?ports=x", "v4.channel.k8s.io", 400),
        ("?ports=0", "v4.channel.k8s.io", 400),
        ("?ports=80", "v9.channel.k8s.io", 403),
        ("", "SPDY/3.1+other.k8s.io", 403),
    ],
)
async def test_port_forwards_that_make_no_sense_are_refused(
    real: EmbeddedCluster, query: str, protocol: str, code: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with websocket(real, POD + "portforward" + query, protocol):
            pass
    assert refused.value.status == code


async def test_a_pod_without_a_node_has_nothing_to_connect_to(real: EmbeddedCluster) -> None:
    await make_pod(real, "unbound", node="")
    path = command("true", stdout=1).replace("/web/", "/unbound/")
    async with raw(real) as client:
        status, text = await client.request(path, *V4)
    assert status == 400
    assert "pod unbound does not have a host assigned" in text
