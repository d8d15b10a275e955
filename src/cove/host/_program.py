"""A program that runs to its end: what it was told, what it said, how it ended.

Helm, kubectl and kustomize are run so.  Who stops waiting ends it: the program is asked
to, and after a while made to; when :func:`run` returns or raises, nothing of it is left.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cove.kube.status import CoveError
from cove.node.child import tied

__all__ = ["Ended", "ProgramError", "run"]

# Seconds between being asked to end and being made to: Helm notes a release as failed then.
GRACE = 5.0


class ProgramError(CoveError):
    """The program could not be started."""


class Ended(NamedTuple):
    """Its exit code (negative for a signal) and all that it wrote."""

    code: int
    out: bytes
    err: str


async def run(
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    grace: float = GRACE,
) -> Ended:
    """Run ``command``, a program's path and its arguments, to its end.

    ``environment`` None hands on this process's own.  On Linux the program ends with this
    process, whatever that dies of.  Raises ProgramError if it cannot be started.
    """
    if not os.access(command[0], os.X_OK):
        raise ProgramError(f"{command[0]} cannot be started: it is no program")
    try:
        process = await asyncio.create_subprocess_exec(
            *tied(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env=None if environment is None else dict(environment),
            # Ctrl-C in the terminal is for the owner, who ends what it started.
            start_new_session=True,
        )
    except OSError as e:
        raise ProgramError(f"{command[0]} cannot be started: {e.strerror}") from e
    talk = asyncio.ensure_future(process.communicate(stdin))
    try:
        out, err = await asyncio.shield(talk)
    finally:
        if not talk.done():
            await _end(process, talk, grace)
    assert process.returncode is not None
    return Ended(process.returncode, out, err.decode(errors="replace"))


async def _end(
    process: asyncio.subprocess.Process, talk: asyncio.Future[tuple[bytes, bytes]], grace: float
) -> None:
    try:
        with suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait((talk,), timeout=grace)
    finally:
        # It leads a session of its own: what it started goes with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        talk.cancel()
        await asyncio.gather(talk, return_exceptions=True)
