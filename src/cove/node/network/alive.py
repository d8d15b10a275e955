"""Which clusters on this machine are using their rules and routes right now.

A lock per key, held by the process for as long as its network is up: however that ends,
the kernel lets go of it.  Rules and routes of a key that nobody holds may be removed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

__all__ = ["Alive", "held"]

# Only root changes routes and packet filters; the folder is gone with the machine's uptime.
FOLDER = Path("/run/cove")


class Alive:
    """Holds the lock of a key while it is entered; several networks of one process share it."""

    def __init__(self, key: str) -> None:
        self._path = FOLDER / f"{key}.lock"
        self._descriptor = -1

    def __enter__(self) -> Self:
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # another network of the same key is still up
        finally:
            os.close(self._descriptor)


def held() -> set[str]:
    """The keys that somebody holds."""
    found = set()
    for path in FOLDER.glob("*.lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found.add(path.stem)
        finally:
            os.close(descriptor)
    return found
