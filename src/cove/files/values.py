"""What a tree answers with: attributes, entries of directories, open files."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

__all__ = ["Attributes", "Content", "Kind", "Listed", "OpenFile"]

Kind = Literal["directory", "file", "link"]


class Attributes(NamedTuple):
    """What ``stat`` tells.  ``size`` in bytes, ``mtime`` in nanoseconds since 1970.

    ``settled`` False: the size may change without the object (logs, events).
    """

    kind: Kind
    inode: int
    size: int = 0
    mtime: int = 0
    settled: bool = True


class Listed(NamedTuple):
    """An entry of a directory; ``attributes`` None where they cost a look at it."""

    name: str
    kind: Kind
    inode: int
    attributes: Attributes | None = None


class OpenFile(Protocol):
    """A file that is open: what it held when it was opened, whatever becomes of the object.

    Logs grow while they are open.
    """

    async def read(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset`` on, b"" at the end; raises FileError."""

    async def close(self) -> None:
        """Let go of it."""


class Content:
    """An open file whose content is all here."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read(self, offset: int, size: int) -> bytes:
        """A part of it."""
        return self.data[offset : offset + size]

    async def close(self) -> None:
        """Nothing to let go of."""
