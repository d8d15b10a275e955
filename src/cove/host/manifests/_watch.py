"""Watch: when the files of manifests change, so that they can be applied again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from cove.host.manifests import _kustomize as kustomize
from cove.host.manifests._sources import SUFFIXES

__all__ = ["changes"]

# Milliseconds of quiet that end a burst of changes: editors write in several steps.
DEBOUNCE = 200

Seen = dict[Path, tuple[int, int, int]]


def changes(source: str | os.PathLike[str]) -> AsyncGenerator[None, None]:
    """Yield whenever what a source is read from has changed, once for a burst of changes.

    Counted from this call on, not from the first wait: who calls it and then reads the
    source misses nothing.  What appears later counts, the source itself included; what
    disappears does, too.  Close the iterator (``aclosing``) to stop watching.
    """
    place = Path(source).absolute()
    return _changes(place, _look(place))


async def _changes(place: Path, seen: Seen) -> AsyncGenerator[None, None]:
    from watchfiles import awatch

    while True:
        roots, recursive = await asyncio.to_thread(_roots, place)
        stop = asyncio.Event()
        events = awatch(*roots, recursive=recursive, debounce=DEBOUNCE, stop_event=stop)
        told = asyncio.ensure_future(anext(events, None))
        try:
            # It watches when it waits for the first time; what happened before is seen now.
            await asyncio.sleep(0)
            while True:
                now = await asyncio.to_thread(_look, place)
                if now != seen:
                    seen = now
                    yield
                if await asyncio.to_thread(_roots, place) != (roots, recursive):
                    break
                if await told is None:
                    break
                told = asyncio.ensure_future(anext(events, None))
        finally:
            stop.set()
            await asyncio.gather(told, return_exceptions=True)


def _roots(place: Path) -> tuple[list[Path], bool]:
    """What has to be watched for the source as it is now, and whether with all below it."""
    if place.exists() and kustomize.is_one(place):
        return sorted(kustomize.folders(place)), True
    if place.is_dir():
        return [place], False
    # The nearest folder that is there: the file, or a folder on the way to it, will appear.
    return [next(folder for folder in place.parents if folder.is_dir())], False


def _look(place: Path) -> Seen:
    """The files that the source is read from, and what tells one content from another."""
    if kustomize.is_one(place) and place.exists():
        files = [f for root in kustomize.folders(place) for f in root.rglob("*") if f.is_file()]
    elif place.is_dir():
        files = [f for f in place.iterdir() if f.suffix in SUFFIXES]
    else:
        files = [place]
    seen: Seen = {}
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        seen[file] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return seen
