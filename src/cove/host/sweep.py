"""Processes of a session that left their group: found by their environment, and ended.

A program may start others and leave them behind, in a session of their own.  Each inherits
a variable that names the application; on Linux the kernel tells who has it.  Elsewhere
only process groups are ended.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cove.host.folder import AppFolder

__all__ = ["SESSION", "processes", "session_of", "sweep"]

SESSION = "COVE_SESSION"
PROC = Path("/proc")


def session_of(folder: AppFolder) -> str:
    """What marks the processes of an application: its folder, which runs once at a time."""
    return str(folder.path.resolve())


def processes(session: str) -> Iterator[int]:
    """The pids of all processes that bear the mark, but for this one and those it came from.

    Somebody may start the application anew from a shell that the application had started.
    """
    if sys.platform != "linux":
        return
    own = set(_line())
    mark = f"{SESSION}={session}".encode()
    for entry in PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) in own:
            continue
        try:
            variables = (entry / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is somebody else's
        if mark in variables.split(b"\0"):
            yield int(entry.name)


def _line() -> Iterator[int]:
    """This process, its parent, that one's parent …"""
    pid = os.getpid()
    while pid > 1:
        yield pid
        try:
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return
        pid = int(fields[1])


def sweep(session: str) -> int:
    """Kill every process that bears the mark; how many there were.  Blocks shortly."""
    found = 0
    while pids := list(processes(session)):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            found += 1
    return found
