"""Files: that something has changed, and what exactly.

The kernel's word is only a signal; what has changed is found by looking, so that nothing
depends on how an editor, a checkout or a rename tells it.  Folders that appear, disappear
or come back after a sleep are seen the same way.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import NamedTuple, Self

from cove.client import Tasks
from cove.dev.contexts import Context

__all__ = ["Changes", "Scan", "Watcher"]

# Milliseconds of quiet that end a burst of changes, and after which it is told all the same.
QUIET, LONGEST = 40, 400
# What is never worth a look.
_NOISE = frozenset((".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv"))


class Changes(NamedTuple):
    """Paths relative to a context: files that are new or other, and those that are gone."""

    changed: tuple[str, ...]
    deleted: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.deleted)

    @property
    def all(self) -> tuple[str, ...]:
        """Both."""
        return self.changed + self.deleted


class Scan:
    """The files of one context as they were at the last look.  Blocks: call it in a thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[str, tuple[int, int, int, int]] = {}

    def look(self) -> Changes:
        """What is different from the last look; raises BuildError for a context that is none."""
        now: dict[str, tuple[int, int, int, int]] = {}
        root = os.fspath(self._context.artifact.context)
        for path in self._context.paths():
            try:
                info = os.lstat(f"{root}/{path}")
            except OSError:
                continue
            if S_ISDIR(info.st_mode):
                continue  # an empty folder
            now[path] = (info.st_mtime_ns, info.st_size, info.st_ino, info.st_mode)
        changed = tuple(path for path, state in now.items() if self._seen.get(path) != state)
        deleted = tuple(path for path in self._seen if path not in now)
        self._seen = now
        return Changes(changed, deleted)


class Watcher:
    """Follows folders: ``async with Watcher(folders) as watcher``.

    ``folders`` are followed with all below them, ``files`` by the folders they are in.  What
    is told is kept until :meth:`take`, so that nothing is lost while somebody is at work.
    ``poll`` looks again and again instead of asking the kernel, for file systems of which it
    does not tell; it is turned to by itself where the kernel refuses.  ``say`` is told so.
    """

    def __init__(
        self,
        folders: Iterable[Path],
        files: Iterable[Path] = (),
        *,
        poll: bool = False,
        say: Callable[[str], None],
    ) -> None:
        deep = sorted({folder.resolve() for folder in folders if folder.is_dir()})
        self._deep = [f for f in deep if not any(o != f and o in f.parents for o in deep)]
        flat = {file.resolve().parent for file in files}
        self._flat = sorted(
            f for f in flat if f.is_dir() and not any(f == o or o in f.parents for o in self._deep)
        )
        self._poll = poll
        self._say = say
        self._tasks = Tasks()
        self._paths: set[Path] = set()
        self._stop = asyncio.Event()
        self.changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        ready = []
        for roots, recursive in ((self._deep, True), (self._flat, False)):
            if roots:
                started = asyncio.Event()
                ready.append(started)
                self._tasks.start("files", self._follow(roots, recursive, started))
        for started in ready:
            await started.wait()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop.set()
        await self._tasks.close()

    def take(self) -> set[Path]:
        """What was told since this was last called."""
        paths, self._paths = self._paths, set()
        self.changed.clear()
        return paths

    async def _follow(self, roots: list[Path], recursive: bool, started: asyncio.Event) -> None:
        poll = self._poll
        while True:
            try:
                await self._events(roots, recursive, poll, started)
                return
            except (OSError, RuntimeError) as e:
                # Too many folders for the kernel, or a file system it does not watch.
                if poll:
                    raise
                self._say(f"files cannot be watched ({e}): they are looked at every 0.3 s instead")
                poll = True

    async def _events(
        self, roots: list[Path], recursive: bool, poll: bool, started: asyncio.Event
    ) -> None:
        from watchfiles import awatch

        events = awatch(
            *roots,
            watch_filter=_matters,
            recursive=recursive,
            step=QUIET,
            debounce=LONGEST,
            stop_event=self._stop,
            force_polling=poll or None,
            ignore_permission_denied=True,
        )
        told = asyncio.ensure_future(anext(events, None))
        try:
            # It watches from its first step on, which does not wait.
            await asyncio.sleep(0)
            if not told.done():
                started.set()
            while (found := await told) is not None:
                started.set()
                self._paths.update(Path(path) for _, path in found)
                self.changed.set()
                told = asyncio.ensure_future(anext(events, None))
        finally:
            told.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, OSError, RuntimeError):
                await told
            await events.aclose()


def _matters(change: object, path: str) -> bool:
    return _NOISE.isdisjoint(path.split(os.sep))
