"""Child: a program that this process runs, from its first line to its end.

The proxy and the registry are programs of others.  Each is started by its owner, says on
its standard error what it does, and is gone when its owner leaves it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cove.client import Tasks
from cove.kube.status import CoveError

__all__ = ["Child", "ChildError", "program", "tied"]

log = logging.getLogger("cove.node")

# How many of its last lines are kept to tell why it ended, and how long one may be.
REMEMBERED = 20
LONGEST_LINE = 1 << 20
# Puts the program in its own place once the kernel knows that it ends with its owner, even
# one that was killed (PR_SET_PDEATHSIG, SIGKILL); the owner may be gone by then.
_TIED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
# Seconds it has to end by itself before it is made to.
GRACE = 3.0


class ChildError(CoveError):
    """A program could not be started, or ended before it was ready."""


class Child:
    """One run of a program; made by :meth:`start`, ended by :meth:`stop`.

    ``line`` is called with every line it writes to its standard error.  Only what is in
    ``environment`` is told to it, and only the descriptors in ``descriptors`` are handed on.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=REMEMBERED)
        self._process = process
        self._tasks = Tasks()
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
        line: Callable[[str], None] | None = None,
    ) -> Child:
        """Start ``command``, a program's path and its arguments, in ``folder``.

        On Linux it ends with this process, whatever that dies of.  Raises ChildError if
        there is no such program.
        """
        if not os.access(command[0], os.X_OK):
            raise ChildError(f"{name}: {command[0]} cannot be started: it is no program")
        try:
            process = await asyncio.create_subprocess_exec(
                *tied(command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=folder,
                env=dict(environment or {}),
                pass_fds=tuple(descriptors),
                limit=LONGEST_LINE,
                # Ctrl-C in the terminal is for the owner, who ends its children.
                start_new_session=True,
            )
        except OSError as e:
            raise ChildError(f"{name}: {command[0]} cannot be started: {e.strerror}") from e
        child = cls(name, process)
        child._reading = child._tasks.start(f"lines of {name}", child._read(line))
        return child

    async def _read(self, line: Callable[[str], None] | None) -> None:
        assert self._process.stderr is not None
        while True:
            try:
                data = await self._process.stderr.readline()
            except ValueError:
                continue  # a line beyond all measure: the rest of it follows
            if not data:
                return
            text = data.decode(errors="replace").rstrip()
            self.lines.append(text)
            log.debug("%s: %s", self.name, text)
            if line is not None:
                line(text)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process.returncode is not None

    async def write(self, data: bytes) -> None:
        """Write all of its standard input and close that."""
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(data)
            await stdin.drain()
        stdin.close()

    async def wait(self) -> int:
        """Its exit code, negative for a signal, once it has ended and all it said was read."""
        code = await self._process.wait()
        if self._reading is not None:
            await asyncio.wait((self._reading,))
        return code

    async def ready(self, signal: asyncio.Future[None]) -> None:
        """Return when ``signal`` is set; raises ChildError if the program ends before."""
        end = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait((signal, end), return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
        if not signal.done():
            raise ChildError(self.epitaph())

    def epitaph(self) -> str:
        """How it ended, and what it said last."""
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended ({code})"
        last = f": {self.lines[-1]}" if self.lines else ""
        return f"{self.name} {how}{last}"

    async def stop(self, grace: float = GRACE) -> None:
        """End it, after ``grace`` seconds by force; return when nothing of it is left."""
        try:
            if not self.ended:
                with suppress(ProcessLookupError):
                    self._process.terminate()
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._process.wait()
        finally:
            if not self.ended:
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
            await self._tasks.close()
            if self._process.stdin is not None:
                self._process.stdin.close()


def tied(command: Sequence[str]) -> list[str]:
    """The command that, on Linux, ends with this process, whatever that dies of."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-ISc", _TIED, str(os.getpid()), *command]


def program(*names: str) -> str | None:
    """The path of the first of ``names`` there is: beside this Python, else on PATH."""
    import shutil
    import sysconfig

    places = os.pathsep.join(
        filter(None, (sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)))
    )
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return found
    return None
