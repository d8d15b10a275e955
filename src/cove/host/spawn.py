"""Programs of the user: started in a group of their own, read line by line, ended whole.

Not asyncio's subprocesses: their end is not noticed as long as anybody holds their
output, and a program may well leave somebody behind who does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from cove.host.errors import ResourceError

__all__ = ["Program"]

# A line that is longer is shown in parts; output that nobody ends is given up soon after
# the program's own end.
LONGEST = 64 * 1024
LAST_WORDS = 0.5


class Program:
    """One run of a program; made by :meth:`start`, ended by :meth:`stop`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        output: asyncio.Task[None],
        ended: asyncio.Future[int],
    ) -> None:
        self._process = process
        self._output = output
        self._ended = ended

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        line: Callable[[str], None],
    ) -> Program:
        """Start ``command`` with exactly the environment ``env``; ``line`` gets what it says.

        Raises ResourceError if it cannot be started, saying what to do.
        """
        process, read = _spawn(command, cwd, env)
        output = asyncio.create_task(_read(read, line), name=f"output of {process.pid}")
        return cls(process, output, _end_of(process))

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code, negative for a signal, when it has ended and what it said was read."""
        code = await asyncio.shield(self._ended)
        # Whoever it left behind may hold its output open; they are not the program.
        await asyncio.wait((self._output,), timeout=LAST_WORDS)
        return code

    async def stop(self, grace: float, hurry: asyncio.Event) -> int:
        """End it and its group, by force after ``grace`` seconds or as soon as ``hurry`` is set.

        Returns its exit code when nothing of the group is left.
        """
        try:
            if not self._ended.done():
                self._signal(signal.SIGTERM)
                hurried = asyncio.ensure_future(hurry.wait())
                try:
                    await asyncio.wait(
                        (self._ended, hurried), timeout=grace, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    hurried.cancel()
        finally:
            self._signal(signal.SIGKILL)
            code = await self._ended
            await asyncio.wait((self._output,), timeout=LAST_WORDS)
            self._output.cancel()
            await asyncio.gather(self._output, return_exceptions=True)
        return code

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _spawn(
    command: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """The program and what it says, both streams in the order they were written."""
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            [_find(command[0], cwd, env), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            cwd=cwd,
            env=dict(env),
            # Ctrl-C is for the host, which ends its programs; a group is ended as a whole.
            start_new_session=True,
        )
    except BaseException as e:
        os.close(read)
        if isinstance(e, OSError):
            raise ResourceError(f"{command[0]} cannot be started: {e.strerror}") from e
        raise
    finally:
        os.close(write)
    return process, open(read, "rb", buffering=0)


def _find(program: str, cwd: Path, env: Mapping[str, str]) -> str:
    """The path of a program; raises ResourceError that says where it was looked for."""
    import shutil

    if os.sep in program:
        path = cwd / program
        if not path.exists():
            raise ResourceError(f"{program} cannot be started: there is no {path}")
        if not os.access(path, os.X_OK):
            raise ResourceError(
                f"{program} cannot be started: {path} may not be executed (chmod +x {program})"
            )
        return str(path)
    found = shutil.which(program, path=env.get("PATH"))
    if found is None and program in ("python", "python3"):
        return sys.executable
    if found is None:
        raise ResourceError(
            f'"{program}" cannot be started: it is not on PATH ({env.get("PATH", "which is empty")})'
        )
    return found


def _end_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Set with the exit code when the program ends."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    opener = getattr(os, "pidfd_open", None)
    if opener is None:  # macOS: a thread waits
        return asyncio.ensure_future(asyncio.to_thread(process.wait))
    descriptor = opener(process.pid)

    def reap() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if not ended.done():
            ended.set_result(process.wait())

    loop.add_reader(descriptor, reap)
    return ended


async def _read(pipe: IO[bytes], line: Callable[[str], None]) -> None:
    """Hand on lines until the end; the pipe holds back who writes faster than we read."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while True:
            try:
                data = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as e:
                if e.partial:
                    line(_text(e.partial))
                return
            except asyncio.LimitOverrunError as e:
                data = await reader.readexactly(min(max(e.consumed, 1), LONGEST))
            line(_text(data))
            # Who floods us is not to keep everybody else from their turn.
            await asyncio.sleep(0)
    finally:
        transport.close()


def _text(data: bytes) -> str:
    """A line as a terminal would show it at last: what follows the last return."""
    return data.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
