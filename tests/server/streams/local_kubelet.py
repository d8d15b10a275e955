"""A kubelet whose containers are this machine's processes, directories and listeners."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cove.kube.podoptions import ExecOptions, LogOptions
from cove.kube.status import StatusError, bad_request
from cove.kube.times import format_time
from cove.server.kubelet import Usage

Doc = Mapping[str, Any]
TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Process:
    """A :class:`~cove.server.kubelet.Command`; with ``options.tty`` on a terminal."""

    def __init__(self, options: ExecOptions) -> None:
        self.options = options
        self.closed = asyncio.Event()
        self.sizes: list[tuple[int, int]] = []
        # What reading raises.
        self.failure: Exception | None = None
        # Bytes of output that were read, and of input that were taken.
        self.given = self.taken = 0
        self._pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(4)
        self._readers: list[asyncio.Task[None]] = []
        self._master = -1

    async def start(self) -> Process:
        if self.options.tty:
            await self._on_terminal()
        else:
            pipe = asyncio.subprocess.PIPE
            self.process = await asyncio.create_subprocess_exec(
                *self.options.command, stdin=pipe, stdout=pipe, stderr=pipe
            )
            self._stdin = self.process.stdin
            assert self.process.stdout is not None
            assert self.process.stderr is not None
            if not self.options.stdin:
                await self.end_input()
            self._carry((1, self.process.stdout), (2, self.process.stderr))
        return self

    async def _on_terminal(self) -> None:
        self._master, slave = pty.openpty()
        self.process = await asyncio.create_subprocess_exec(
            *self.options.command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await loop.connect_read_pipe(lambda: protocol, os.fdopen(os.dup(self._master), "rb", 0))
        self._stdin = None
        self._carry((1, reader))

    def _carry(self, *outputs: tuple[int, asyncio.StreamReader]) -> None:
        left = len(outputs)

        async def carry(number: int, reader: asyncio.StreamReader) -> None:
            nonlocal left
            try:
                while data := await reader.read(65536):
                    await self._pieces.put((number, data))
            except OSError:
                pass  # how a terminal says that nobody holds its other end
            left -= 1
            if not left:
                await self._pieces.put(None)

        self._readers = [asyncio.create_task(carry(*output)) for output in outputs]

    async def read(self) -> tuple[int, bytes] | None:
        if self.failure is not None:
            raise self.failure
        piece = await self._pieces.get()
        self.given += len(piece[1]) if piece is not None else 0
        return piece

    async def write(self, data: bytes) -> None:
        if self._master >= 0:
            os.write(self._master, data)
            return
        assert self._stdin is not None
        self.taken += len(data)
        try:
            self._stdin.write(data)
            await self._stdin.drain()
        except OSError:
            pass

    async def end_input(self) -> None:
        if self._stdin is not None:
            self._stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))
        if self._master >= 0:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        return await self.process.wait()

    async def aclose(self) -> None:
        if self.closed.is_set():
            return
        if self.process.returncode is None:
            self.process.kill()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        # Unread output would keep it from being waited for.
        self.process._transport.close()  # type: ignore[attr-defined]
        await self.process.wait()
        if self._stdin is not None:
            self._stdin.close()
        if self._master >= 0:
            os.close(self._master)
        self.closed.set()


class Attached(Process):
    """What is attached to exits as 0, whatever it was."""

    async def wait(self) -> int:
        await super().wait()
        return 0


class LocalKubelet:
    """A :class:`~cove.server.kubelet.Kubelet`; tests set what there is."""

    def __init__(self) -> None:
        # Port of the pod → port of this machine.
        self.ports: dict[int, int] = {}
        self.lines: list[str] = []
        self.previous: list[str] = []
        self.asked: list[LogOptions] = []
        self.log_error: StatusError | None = None
        self.ended = asyncio.Event()
        self.following = asyncio.Event()
        self.main: tuple[str, ...] = ("cat",)
        self.failure: Exception | None = None
        self.started: asyncio.Queue[Process] = asyncio.Queue()
        self.used: dict[str, dict[str, Usage]] = {}
        self.nodes_used: dict[str, Usage] = {}
        self._more = asyncio.Condition()

    def runs(self, pod: Doc) -> bool:
        return bool(pod["spec"]["nodeName"] == "real")

    async def say(self, line: str) -> None:
        """Another line of the log."""
        async with self._more:
            self.lines.append(line)
            self._more.notify_all()

    async def end(self) -> None:
        """The container that writes the log ends."""
        async with self._more:
            self.ended.set()
            self._more.notify_all()

    async def logs(self, pod: Doc, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        self.asked.append(options)
        if self.log_error is not None:
            raise self.log_error
        lines = self.previous if options.previous else self.lines
        place = 0 if options.tail_lines is None else max(0, len(lines) - options.tail_lines)
        stamp = f"{format_time(TIME)} " if options.timestamps else ""
        while True:
            while place < len(lines):
                yield f"{stamp}{lines[place]}\n".encode()
                place += 1
            if not options.follow or self.ended.is_set():
                return
            async with self._more:
                self.following.set()
                while place >= len(lines) and not self.ended.is_set():
                    await self._more.wait()

    async def run(self, pod: Doc, container: str, options: ExecOptions) -> Process:
        if pod["status"].get("phase") != "Running":
            raise bad_request(f'container "{container}" is not running')
        if options.command:
            process = await Process(options).start()
        else:
            attach = ExecOptions(
                command=self.main,
                stdin=options.stdin,
                stdout=options.stdout,
                stderr=options.stderr,
                tty=options.tty,
            )
            process = await Attached(attach).start()
        process.failure = self.failure
        self.started.put_nowait(process)
        return process

    async def connect(
        self, pod: Doc, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if port not in self.ports:
            raise ConnectionRefusedError(f"dial tcp4 127.0.0.1:{port}: connect: connection refused")
        return await asyncio.open_connection("127.0.0.1", self.ports[port])

    async def usage(self, pods: Sequence[Doc]) -> Mapping[str, Mapping[str, Usage]]:
        uids = {p["metadata"]["uid"] for p in pods}
        return {uid: used for uid, used in self.used.items() if uid in uids}

    async def node_usage(self) -> Mapping[str, Usage]:
        return self.nodes_used
