"""Wait for the end of an application that another process runs."""

from __future__ import annotations

import fcntl
import os
import signal
import time

from cove.host.folder import AppFolder

__all__ = ["stop"]

# Seconds it has, counted from when it was asked to end.
PATIENCE = 60.0


def stop(folder: AppFolder, *, timeout: float = PATIENCE) -> None:
    """Return when the process that ran it has let go of its folder.

    After ``timeout`` seconds it is told to hurry, and then killed; what it leaves behind is
    reaped by the next start.
    """
    if _released(folder, timeout):
        return
    pid = folder.facts().get("pid")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        if isinstance(pid, int):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
        if _released(folder, 5.0):
            return


def _released(folder: AppFolder, timeout: float) -> bool:
    """Wait until nobody holds the folder's lock."""
    descriptor = os.open(folder.path / "lock", os.O_RDWR)
    limit = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > limit:
                    return False
                time.sleep(0.01)
    finally:
        os.close(descriptor)
