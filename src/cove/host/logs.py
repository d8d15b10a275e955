"""What resources say: a file each, a few lines in memory, and whoever follows.

A line is kept before anybody is shown it.  Who shows lines more slowly than they come
misses some, and is told how many; the files hold them all, up to their size.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

from cove.client import Clock

__all__ = ["Line", "LogBook", "read_log"]

# Bytes of a file before it is begun anew; the one before is kept beside it.
LARGEST = 16 << 20
# Lines of each resource kept in memory, and lines that a follower may be behind.
REMEMBERED = 1_000
BEHIND = 10_000

Listener = Callable[["Line"], None]


class Line(NamedTuple):
    """One line: when it was said (aware, UTC), by which resource, and what."""

    time: datetime
    name: str
    text: str

    def encode(self) -> bytes:
        """As files hold it: RFC 3339 time, a blank, the text."""
        return f"{self.time.isoformat(timespec='microseconds')} {self.text}\n".encode(
            errors="replace"
        )


class _Book:
    """The lines of one resource."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recent: deque[Line] = deque(maxlen=REMEMBERED)
        self._file: IO[bytes] | None = None
        self._size = 0

    def write(self, line: Line) -> None:
        self.recent.append(line)
        data = line.encode()
        if self._file is None or self._size + len(data) > LARGEST:
            self._open()
        assert self._file is not None
        self._file.write(data)
        self._size += len(data)

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".log.1"))
        # Every line is written at once: whoever reads the file sees what was said.
        self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115 — closed with the book
        self.path.chmod(0o600)
        self._size = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class LogBook:
    """The lines of an application's resources, kept in ``folder``; close it."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._books: dict[str, _Book] = {}
        self._listeners: list[Listener] = []

    def write(self, name: str, text: str) -> None:
        """Keep and show a line of a resource."""
        line = Line(self._clock.now(), name, text)
        book = self._books.get(name)
        if book is None:
            book = self._books[name] = _Book(self._folder / f"{name}.log")
        book.write(line)
        for listener in tuple(self._listeners):
            listener(line)

    def listen(self, listener: Listener) -> None:
        """Show every line from now on to ``listener``, which must return at once."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """Show it no more."""
        self._listeners.remove(listener)

    def recent(self, names: Iterable[str], tail: int | None = None) -> list[Line]:
        """The last lines of these resources in the order they were said; None: all there are."""
        lines = [line for name in names if (book := self._books.get(name)) for line in book.recent]
        lines.sort(key=lambda line: line.time)
        return lines if tail is None else lines[max(len(lines) - tail, 0) :]

    @asynccontextmanager
    async def follow(
        self, names: Iterable[str], tail: int | None = None
    ) -> AsyncIterator[AsyncIterator[Line]]:
        """The last lines of these resources, then every one that follows."""
        wanted = frozenset(names)
        queue: deque[Line] = deque(self.recent(wanted, tail))
        arrived = asyncio.Event()
        missed = 0

        def listener(line: Line) -> None:
            nonlocal missed
            if line.name not in wanted:
                return
            if len(queue) < BEHIND:
                queue.append(line)
            else:
                missed += 1
            arrived.set()

        async def lines() -> AsyncIterator[Line]:
            nonlocal missed
            while True:
                while queue:
                    yield queue.popleft()
                if missed:
                    count, missed = missed, 0
                    yield Line(self._clock.now(), "cove", f"… {count} lines were not shown")
                arrived.clear()
                await arrived.wait()

        self.listen(listener)
        try:
            yield lines()
        finally:
            self.unlisten(listener)

    def close(self) -> None:
        """Close the files."""
        for book in self._books.values():
            book.close()


def read_log(folder: Path, name: str) -> list[Line]:
    """The lines that files hold of a resource, oldest first, also when nothing runs."""
    lines = []
    for path in (folder / f"{name}.log.1", folder / f"{name}.log"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        for text in data.decode(errors="replace").split("\n"):
            stamp, _, rest = text.partition(" ")
            try:
                lines.append(Line(datetime.fromisoformat(stamp), name, rest))
            except ValueError:
                continue  # cut short by a crash
    return lines
