"""Distribution: one process of the reference registry, and how it is configured.

Source: https://distribution.github.io/distribution/about/configuration/
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from cove.client import Backoff, Clock, SystemClock, Tasks
from cove.kube.status import CoveError
from cove.node.child import Child, ChildError

__all__ = ["Distribution", "NoRegistryError", "RegistryError", "find_program"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]

_LISTENING = re.compile(r'listening on [^"\s]*:(\d+)').search
STEADY = 30.0
# The secret signs the state of an upload between requests: both processes of a registry
# have to know it, and nobody else can reach them.
SECRET = "cove"


class RegistryError(CoveError):
    """The registry cannot be run, or did not do what it was asked for."""


class NoRegistryError(RegistryError):
    """There is no program to run as a registry."""

    def __init__(self) -> None:
        super().__init__(
            "there is no registry on this machine: apt-get install docker-registry, or run the "
            "image registry:2 where a container engine can pull it"
        )


def find_program(binary: str | None = None) -> str:
    """The registry's program: ``binary``, else what is on PATH; raises NoRegistryError."""
    for name in (binary,) if binary else ("docker-registry", "registry"):
        found = shutil.which(name)
        if found:
            return found
    raise NoRegistryError


class Distribution:
    """``async with Distribution(folder, …) as one``: a registry on one address and port.

    It keeps images in ``folder``; with ``remote`` it fetches those it has not from that URL
    and takes none from others.  ``port`` 0 takes a free one.  It is started again if it
    ends by itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        program: str,
        address: str = "127.0.0.1",
        port: int = 0,
        remote: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self._program = program
        self._remote = remote
        self._clock = clock or SystemClock()
        self._child: Child | None = None
        self._up = asyncio.Event()
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process that serves now, None while there is none."""
        return self._child.pid if self._child is not None and not self._child.ended else None

    def _config(self) -> Doc:
        host = f"[{self.address}]" if ":" in self.address else self.address
        doc: Doc = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            # No cache: another process may have changed what is stored.
            "storage": {
                "filesystem": {"rootdirectory": str((self.folder / "images").absolute())},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"{host}:{self.port}", "secret": SECRET},
        }
        if self._remote:
            doc["proxy"] = {"remoteurl": self._remote}
        return doc

    def _write(self) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{self.address.replace(':', '-')}.yaml"
        path.write_text(yaml.safe_dump(self._config()))
        return path.absolute()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            try:
                await self._start()
            except ChildError as e:
                raise RegistryError(str(e)) from e
            tasks = await stack.enter_async_context(Tasks())
            tasks.start(f"registry {self.port}", self._supervise())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def line(text: str) -> None:
            match = _LISTENING(text)
            if match and not listening.done():
                self.port = int(match[1])
                listening.set_result(None)

        self._child = await Child.start(
            "registry",
            [self._program, "serve", str(self._write())],
            folder=self.folder,
            environment={"HOME": str(self.folder.absolute())},
            line=line,
        )
        await self._child.ready(listening)
        self._up.set()

    async def _stop(self) -> None:
        self._up.clear()
        if self._child is not None:
            await self._child.stop()

    async def _supervise(self) -> None:
        backoff = Backoff(0.1, 15.0)
        while True:
            assert self._child is not None
            since = self._clock.monotonic()
            await self._child.wait()
            await self._stop()
            log.warning("%s; it is being started again", self._child.epitaph())
            if self._clock.monotonic() - since > STEADY:
                backoff.reset()
            while not self._up.is_set():
                await self._clock.sleep(backoff.delay())
                try:
                    await self._start()
                except (ChildError, OSError) as e:
                    log.warning("the registry was not started again: %s", e)
                    await self._stop()

    async def up(self) -> None:
        """Return when it listens."""
        await self._up.wait()

    async def collect(self) -> None:
        """Free what no image holds any more; only while nothing serves the folder."""
        child = await Child.start(
            "registry",
            [self._program, "garbage-collect", str(self._write())],
            folder=self.folder,
            environment={"HOME": str(self.folder.absolute())},
        )
        try:
            code = await child.wait()
        finally:
            await child.stop()
        if code:
            log.warning("what is unused in the registry was not freed: %s", child.epitaph())
