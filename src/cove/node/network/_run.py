"""Commands of the machine, run to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cove.client._tasks import whole
from cove.kube.status import CoveError

__all__ = ["CommandError", "Run", "run"]

Run = Callable[..., Awaitable[str]]


class CommandError(CoveError):
    """A command of the machine failed; the message is what it said."""

    def __init__(self, command: tuple[str, ...], code: int, said: str) -> None:
        super().__init__(f"{' '.join(command)} failed ({code}): {said.strip()}")
        self.said = said


async def run(*command: str, stdin: str = "") -> str:
    """What a command printed; raises CommandError.

    A command that was started is waited for even when the caller is cancelled: what is done
    to a machine is done whole.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        # A command that reads nothing may have ended before uvloop could write nothing to it.
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    ending = asyncio.ensure_future(process.communicate(stdin.encode() if stdin else None))
    out, err = await whole(ending)
    if process.returncode:
        raise CommandError(command, process.returncode, err.decode(errors="replace"))
    return out.decode(errors="replace")
