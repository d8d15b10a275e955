"""pods/exec and pods/attach: a command's streams, and a client at the other end of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from cove.kube.podoptions import ExecOptions
from cove.kube.status import StatusError, internal_error
from cove.server.kubelet import Command
from cove.server.request import Request, Response
from cove.server.streams._channels import Channels
from cove.server.streams._connection import SpdyConnection, Stream
from cove.server.streams._handshake import (
    is_websocket,
    over_spdy,
    over_websocket,
    spdy_protocol,
    subprotocol,
)
from cove.server.streams._pipes import StreamPipe

__all__ = ["run_command"]

log = logging.getLogger("cove.server.streams")

Run = Callable[[], Awaitable[Command]]

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)

# By preference of the client.  What is older than v4 tells errors as text.
WEBSOCKET = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
)
SPDY = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
)
# Seconds a client has to open its streams.
STREAMS = 30.0
# More than a size of a terminal takes.
SIZE_LIMIT = 1024


async def run_command(request: Request, options: ExecOptions, run: Run) -> Response:
    """Run it and carry its streams until it has ended or the client is gone.

    It is not run if no protocol is agreed on.  A StatusError of ``run`` is the answer.
    """
    websocket = is_websocket(request)
    protocol = subprotocol(request, WEBSOCKET) if websocket else spdy_protocol(request, SPDY)
    if isinstance(protocol, Response):
        return protocol
    try:
        command = await run()
    except OSError as e:
        raise internal_error(f"error executing command in container: {e}") from e
    async with AsyncExitStack() as held:
        held.push_async_callback(_to_the_end, command.aclose)
        session = _Session(options, command, protocol, held.aclose)
        return await (session.over_websocket if websocket else session.over_spdy)(request)


async def _to_the_end(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do what a client that leaves meanwhile, and cancels the request, shall not interrupt."""
    task = asyncio.create_task(work(), name="command close")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as e:
            cancelled = e
    task.result()
    if cancelled is not None:
        raise cancelled


class _Client(Protocol):
    async def receive(self, command: Command) -> None:
        """Give the command what the client sends, until the client is gone."""

    async def send(self, channel: int, data: bytes) -> None:
        """Send output; raises ConnectionError."""


async def _converse(command: Command, client: _Client) -> dict[str, Any] | None:
    """Carry everything; how it ended as a Status, None if the client left before."""
    inward = asyncio.create_task(client.receive(command), name="command in")
    outward = asyncio.create_task(_outcome(command, client), name="command out")
    try:
        await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
        if outward.done():
            return outward.result()
        inward.result()
        return None
    finally:
        for task in (inward, outward):
            task.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _outcome(command: Command, client: _Client) -> dict[str, Any] | None:
    try:
        while (piece := await command.read()) is not None:
            try:
                await client.send(*piece)
            except ConnectionError:
                return None
        code = await command.wait()
    except StatusError as error:
        return {"metadata": {}, **error.body}
    except Exception as error:
        # The owner's boundary: HTTP is over, this is how the client gets to know.
        log.exception("a command failed")
        why = f"Internal error occurred: error executing command in container: {error}"
        return {
            "metadata": {},
            "status": "Failure",
            "message": why,
            "reason": "InternalError",
            "details": {"causes": [{"message": why}]},
            "code": 500,
        }
    if not code:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: "
        f"command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _told(status: dict[str, Any], protocol: str) -> bytes:
    """How it ended, as the protocol has it."""
    if protocol.startswith(("v4.", "v5.")):
        return orjson.dumps(status)
    return b"" if status["status"] == "Success" else str(status["message"]).encode()


class _Sizes:
    """Sizes of a terminal out of a stream of JSON documents, however it is cut."""

    def __init__(self) -> None:
        self._text = ""
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> tuple[int, int] | None:
        """The last (columns, rows) that is complete; what is no size is passed over."""
        self._text = (self._text + data.decode(errors="replace"))[-SIZE_LIMIT:].lstrip()
        found = None
        while self._text:
            try:
                document, end = self._decoder.raw_decode(self._text)
            except ValueError:
                break
            self._text = self._text[end:].lstrip()
            try:
                size = int(document["Width"]), int(document["Height"])
            except (KeyError, TypeError, ValueError):
                continue
            if all(0 < n < 1 << 16 for n in size):
                found = size
        return found


@dataclass(frozen=True)
class _Session:
    """``release`` lets go of the command once all is said: clients may take long to leave."""

    options: ExecOptions
    command: Command
    protocol: str
    release: Callable[[], Awaitable[None]]

    async def over_websocket(self, request: Request) -> Response:
        async with over_websocket(request, self.protocol) as socket:
            with suppress(ConnectionError):
                await self._over_channels(Channels(socket, self.protocol, 5))
            # All is said: the client is told so at once, however long the command takes to let
            # go.  There are some that mistake what comes after the status.
            async with asyncio.TaskGroup() as group:
                group.create_task(socket.close(), name="command goodbye")
                await self.release()
        return Response(101, taken=socket)

    async def _over_channels(self, channels: Channels) -> None:
        wanted = ((STDOUT, self.options.stdout), (STDERR, self.options.stderr))
        written = {number for number, asked in wanted if asked}
        # That the connection stands is told by an empty message.
        await channels.send(min(written, default=ERROR), b"")
        client = _Channels(channels, self.options.stdin, written)
        status = await _converse(self.command, client)
        if status is not None and (told := _told(status, self.protocol)):
            await channels.send(ERROR, told)

    async def over_spdy(self, request: Request) -> Response:
        wanted = {"error"}
        wanted |= {n for n in ("stdin", "stdout", "stderr") if getattr(self.options, n)}
        if self.options.tty and self.protocol.startswith(("v3.", "v4.", "v5.")):
            wanted.add("resize")
        async with over_spdy(request, self.protocol) as taken:
            with suppress(ConnectionError, TimeoutError):
                async with SpdyConnection(StreamPipe(taken.reader, taken.writer)) as connection:
                    streams = _Streams(connection)
                    async with asyncio.timeout(STREAMS):
                        complete = await streams.open(wanted)
                    status = await _converse(self.command, streams) if complete else None
                    if status is not None:
                        await streams.finish(_told(status, self.protocol))
                    await self.release()
        return Response(101, taken=taken.response)


class _Channels:
    """A client at the other end of a WebSocket."""

    def __init__(self, channels: Channels, stdin: bool, written: set[int]) -> None:
        self._channels = channels
        self._stdin = stdin
        self._written = written

    async def receive(self, command: Command) -> None:
        sizes = _Sizes()
        while (message := await self._channels.receive()) is not None:
            channel, data = message
            if channel == RESIZE and data is not None:
                size = sizes.feed(data)
                if size is not None:
                    await command.resize(*size)
            elif channel == STDIN and self._stdin:
                if data is None:
                    self._stdin = False
                    await command.end_input()
                elif data:
                    await command.write(data)

    async def send(self, channel: int, data: bytes) -> None:
        if channel in self._written:
            await self._channels.send(channel, data)


@dataclass
class _Streams:
    """A client at the other end of SPDY: its streams, by what they are for."""

    connection: SpdyConnection
    by_type: dict[str, Stream] = field(default_factory=dict)

    async def open(self, wanted: set[str]) -> bool:
        """Accept the streams that are wanted; False if the client left before."""
        while wanted - self.by_type.keys():
            stream = await self.connection.accept()
            if stream is None:
                return False
            type = stream.headers.get("streamtype", "")
            if type in self.by_type or type not in ("error", "stdin", "stdout", "stderr", "resize"):
                stream.cancel()
                continue
            stream.accept()
            self.by_type[type] = stream
        return True

    async def receive(self, command: Command) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._input(command), name="command stdin"),
                group.create_task(self._sizes(command), name="command resize"),
            ]
            await self.connection.gone()
            for task in tasks:
                task.cancel()

    async def _input(self, command: Command) -> None:
        stream = self.by_type.get("stdin")
        if stream is None:
            return
        while data := await stream.read():
            await command.write(data)
        await command.end_input()

    async def _sizes(self, command: Command) -> None:
        stream = self.by_type.get("resize")
        sizes = _Sizes()
        while stream is not None and (data := await stream.read()):
            size = sizes.feed(data)
            if size is not None:
                await command.resize(*size)

    async def send(self, channel: int, data: bytes) -> None:
        stream = self.by_type.get("stderr" if channel == STDERR else "stdout")
        if stream is not None:
            await stream.write(data)

    async def finish(self, told: bytes) -> None:
        """Say how it ended, and that this was all."""
        error = self.by_type["error"]
        if told:
            await error.write(told)
        for type, stream in self.by_type.items():
            if type in ("error", "stdout", "stderr"):
                stream.finish()
            else:
                stream.cancel()
