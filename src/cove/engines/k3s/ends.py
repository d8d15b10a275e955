"""Ends: a cluster's containers, watched until they end, and what each said last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from cove.client import Tasks

if TYPE_CHECKING:
    from cove.node.docker.connection import Engine

__all__ = ["Ends"]

# How much of its log a container is remembered by.
LAST_LINES = 12


class Ends:
    """Of whom there is an end to tell: :attr:`told`, by container; :attr:`any` is set by one.

    ``log`` is told every end and, where it was asked for, every line that a container writes.
    Close it.
    """

    def __init__(
        self, engine: Callable[[], Engine], cluster: str, log: Callable[[str], None]
    ) -> None:
        self.told: dict[str, str] = {}
        self.any = asyncio.Event()
        self._engine = engine
        self._cluster = cluster
        self._log = log
        self._tasks = Tasks()

    async def close(self) -> None:
        """Watch no more."""
        await self._tasks.close()

    def watch(self, name: str, id: str, *, follow: bool, from_now: bool) -> None:
        """Tell of a container's end, and with ``follow`` what it writes (``from_now`` on)."""
        if follow:
            self._tasks.start(f"log of {name}", self._follow(id, from_now=from_now))
        self._tasks.start(f"end of {name}", self._watch(name, id))

    async def _follow(self, id: str, *, from_now: bool) -> None:
        """Every line that a container writes, told."""
        from cove.node.docker.connection import DockerError, EngineDownError
        from cove.node.docker.logs import frames

        params = {"stdout": "true", "stderr": "true", "follow": "true"}
        if from_now:
            params["tail"] = "0"
        rest = b""
        try:
            async with self._engine().log(id, params) as content:
                async for piece in frames(content, False):
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        self._log(f"{self._cluster}: {line.decode(errors='replace').rstrip()}")
        except (DockerError, EngineDownError):
            return  # who waits for its end tells what happened

    async def _watch(self, name: str, id: str) -> None:
        """Tell when a container has ended."""
        from cove.node.docker.connection import DockerError, EngineDownError

        try:
            code = await self._engine().ended(id)
            words = await self.last_words(id)
        except (DockerError, EngineDownError) as e:
            self.told[name] = f"what became of {name} is not known: {e}"
        else:
            how = "was removed" if code == -1 else f"has ended ({code})"
            last = f"; its log ends with\n{words}" if words else ""
            self.told[name] = f"the container {name} {how}{last}"
        self.any.set()
        self._log(self.told[name])

    async def last_words(self, id: str) -> str:
        """The end of a container's log, indented."""
        from cove.node.docker.connection import DockerError
        from cove.node.docker.logs import frames

        params = {"stdout": "true", "stderr": "true", "tail": str(LAST_LINES)}
        try:
            async with self._engine().log(id, params) as content:
                text = b"".join([piece async for piece in frames(content, False)])
        except DockerError:
            return ""  # it was removed
        return "\n".join(f"  {line}" for line in text.decode(errors="replace").splitlines())

    async def revive(self, server: str) -> bool:
        """Look whether somebody has started again what had ended; whether ``server`` was."""
        back = False
        for name in list(self.told):
            found = await self._engine().inspect(name)
            if found is not None and found["State"]["Running"]:
                del self.told[name]
                self.watch(name, found["Id"], follow=name == server, from_now=True)
                back = back or name == server
        if not self.told:
            self.any.clear()
        return back
