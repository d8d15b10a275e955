"""pods/portforward: connections into a pod, any number over one connection of a client.

Over SPDY, of its own or inside a WebSocket's messages, each is a pair of streams; over the
older WebSocket protocol a pair of channels, one for each port asked for.

Source: ``pkg/kubelet/portforward`` (httpstream.go, websocket.go), ``streamtunnel.go`` of
k8s.io/apiserver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from cove.kube.status import StatusError
from cove.server.request import Request, Response
from cove.server.streams._channels import Channels
from cove.server.streams._connection import Pipe, SpdyConnection, Stream
from cove.server.streams._handshake import (
    is_websocket,
    over_spdy,
    over_websocket,
    refused,
    spdy_protocol,
    subprotocol,
    subprotocols,
)
from cove.server.streams._pipes import MessagePipe, StreamPipe

__all__ = ["Pod", "forward"]

Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

PROTOCOL = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+"
CHANNELS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", "")
READ = 64 * 1024


class Pod(NamedTuple):
    """Where connections lead: ``connect`` opens one to a port."""

    name: str
    uid: str
    connect: Connect

    def failed(self, port: int, error: Exception) -> bytes:
        """What a client is told of a connection that did not come about."""
        return f"error forwarding port {port} to pod {self.name}, uid {self.uid}: {error}".encode()


async def forward(request: Request, pod: Pod) -> Response:
    """Carry connections until the client is gone."""
    if not is_websocket(request):
        protocol = spdy_protocol(request, (PROTOCOL,))
        if isinstance(protocol, Response):
            return protocol
        async with over_spdy(request, protocol) as taken:
            await _serve(StreamPipe(taken.reader, taken.writer), pod)
        return Response(101, taken=taken.response)
    offered = [p for p in subprotocols(request) if p.startswith(TUNNEL) and p.endswith(".k8s.io")]
    if not offered:
        return await _over_channels(request, pod)
    protocol = spdy_protocol(request, (PROTOCOL,), [p.removeprefix(TUNNEL) for p in offered])
    if isinstance(protocol, Response):
        return protocol
    async with over_websocket(request, TUNNEL + protocol) as socket:
        await _serve(MessagePipe(socket), pod)
    return Response(101, taken=socket)


# -- pairs of streams


class _Pair:
    """The streams of one connection; ``error`` is how the client hears of its failure."""

    def __init__(self) -> None:
        self.data: Stream | None = None
        self.error: Stream | None = None


async def _serve(pipe: Pipe, pod: Pod) -> None:
    async with SpdyConnection(pipe) as connection:
        await _pair(connection, pod)


async def _pair(connection: SpdyConnection, pod: Pod) -> None:
    """Pair the streams that are opened and carry each pair, until the client is gone."""
    pairs: dict[str, _Pair] = {}
    async with asyncio.TaskGroup() as group:
        running: set[asyncio.Task[None]] = set()
        while (stream := await connection.accept()) is not None:
            type = stream.headers.get("streamtype", "")
            port = _port(stream.headers.get("port", ""))
            if port is None or type not in ("data", "error"):
                stream.cancel()
                continue
            request = _request_id(stream, type)
            pair = pairs.setdefault(request, _Pair())
            if getattr(pair, type) is not None:
                stream.cancel()
                continue
            stream.accept()
            setattr(pair, type, stream)
            if pair.data is not None and pair.error is not None:
                del pairs[request]
                task = group.create_task(
                    _carry(pair.data, pair.error, port, pod), name=f"forward to {port}"
                )
                running.add(task)
                task.add_done_callback(running.discard)
            # Halves whose stream was reset meanwhile will never be whole.
            for id in [id for id, p in pairs.items() if (p.data or p.error).reset]:  # type: ignore[union-attr]  # one is there
                del pairs[id]
        for task in running:
            task.cancel()


def _port(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return port if 0 < (port := int(text)) < 1 << 16 else None


def _request_id(stream: Stream, type: str) -> str:
    """What the streams of a pair have in common; without a word their numbers tell."""
    given = stream.headers.get("requestid", "")
    return given or str(stream.id if type == "error" else stream.id - 2)


async def _carry(data: Stream, error: Stream, port: int, pod: Pod) -> None:
    error.ignore()
    try:
        try:
            reader, writer = await pod.connect(port)
        except (StatusError, OSError) as e:
            data.ignore()
            await error.write(pod.failed(port, e))
            return
        try:
            await _both_ways(data, error, reader, writer)
        finally:
            await _close(writer)
    except ConnectionError:
        pass  # the client does not listen any more
    finally:
        data.finish()
        error.finish()
        data.ignore()


async def _both_ways(
    data: Stream, error: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Until each direction has ended by itself, or the client has ended both at once."""

    async def inward() -> None:
        try:
            while piece := await data.read():
                writer.write(piece)
                await writer.drain()
            if not data.reset and writer.can_write_eof():
                writer.write_eof()
        except OSError:
            # Nobody reads in the pod any more; what it writes is still of use.
            data.ignore()

    async def outward() -> None:
        try:
            while piece := await reader.read(READ):
                await data.write(piece)
        except OSError:
            # Broken off in the pod: the client's connection shall break off, too.  As an
            # error it would end all of kubectl's forwarding.
            data.cancel()
        data.finish()
        error.finish()

    ways = [
        asyncio.create_task(inward(), name="forward in"),
        asyncio.create_task(outward(), name="forward out"),
    ]
    both = asyncio.gather(*ways)
    reset = asyncio.create_task(data.wait_reset(), name="forward reset")
    try:
        await asyncio.wait((both, reset), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*ways, reset):
            task.cancel()
        await asyncio.gather(*ways, both, reset, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


# -- channels


def _ports(request: Request) -> Sequence[int] | Response:
    given = request.query.get("ports", []) if request.query_string else []
    if not given:
        return refused(400, 'query parameter "port" is required')
    ports = []
    for text in given:
        if not text:
            return refused(400, 'query parameter "port" cannot be empty')
        for part in text.split(","):
            port = _port(part)
            if port is None:
                return refused(400, f'unable to parse "{text}" as a port')
            ports.append(port)
    if len(ports) > 127:
        return refused(400, "more ports than there are channels")
    return ports


async def _over_channels(request: Request, pod: Pod) -> Response:
    ports = _ports(request)
    if isinstance(ports, Response):
        return ports
    protocol = subprotocol(request, CHANNELS)
    if isinstance(protocol, Response):
        return protocol
    async with over_websocket(request, protocol) as socket:
        forwarded = _Forwarded(Channels(socket, protocol, 2 * len(ports)), ports, pod)
        with suppress(ConnectionError):
            await forwarded.run()
    return Response(101, taken=socket)


class _Forwarded:
    """Ports over channels: data of the n-th on 2n, errors on 2n + 1."""

    def __init__(self, channels: Channels, ports: Sequence[int], pod: Pod) -> None:
        self._channels = channels
        self._ports = ports
        self._pod = pod
        loop = asyncio.get_running_loop()
        # The pod's end of each, None once there is none.
        self._ends: list[asyncio.Future[asyncio.StreamWriter | None]] = [
            loop.create_future() for _ in ports
        ]
        # One message is sent at a time: the WebSocket's own waiting is for one.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Until every port has closed or the client is gone; raises ConnectionError."""
        for index, port in enumerate(self._ports):
            for channel in (2 * index, 2 * index + 1):
                await self._channels.send(channel, port.to_bytes(2, "little"))
        outward = [
            asyncio.create_task(self._carry(index, port), name=f"forward from {port}")
            for index, port in enumerate(self._ports)
        ]
        all_out = asyncio.gather(*outward)
        inward = asyncio.create_task(self._receive(), name="forward in")
        try:
            await asyncio.wait((all_out, inward), return_when=asyncio.FIRST_COMPLETED)
        finally:
            inward.cancel()
            for task in outward:
                task.cancel()
            await asyncio.gather(inward, *outward, all_out, return_exceptions=True)

    async def _carry(self, index: int, port: int) -> None:
        end = self._ends[index]
        try:
            reader, writer = await self._pod.connect(port)
        except (StatusError, OSError) as e:
            end.set_result(None)
            await self._send(2 * index + 1, self._pod.failed(port, e))
            return
        end.set_result(writer)
        try:
            while piece := await reader.read(READ):
                await self._send(2 * index, piece)
        except OSError:
            pass  # broken off, at either end
        finally:
            await _close(writer)

    async def _receive(self) -> None:
        while (message := await self._channels.receive()) is not None:
            index, error = divmod(message.channel, 2)
            if error or not message.data:
                continue
            writer = await self._ends[index]
            if writer is None or writer.is_closing():
                continue
            try:
                writer.write(message.data)
                await writer.drain()
            except OSError:
                continue

    async def _send(self, channel: int, data: bytes) -> None:
        async with self._turn:
            await self._channels.send(channel, data)
