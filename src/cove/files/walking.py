"""Walking: all files below a directory, and copies of them, without FUSE."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cove.files.errors import FileError
from cove.files.paths import join
from cove.files.tree import Tree
from cove.files.values import Attributes, Kind, Listed
from cove.kube.status import CoveError
from cove.kube.times import format_time

__all__ = ["ExportError", "Found", "details", "export", "pieces", "search", "walk"]

PIECE = 1 << 20
# Bytes of a file that are held in memory while it is copied.
HELD = 8 << 20
Problem = Callable[[FileError], None]


class ExportError(CoveError):
    """The target of a copy cannot be used."""


class Found(NamedTuple):
    """A file or directory; ``depth`` 0 is where the walk began."""

    path: str
    kind: Kind
    depth: int


async def walk(
    tree: Tree,
    top: str,
    *,
    problem: Problem,
    max_depth: int | None = None,
    exclude: Sequence[str] = (),
) -> AsyncIterator[Found]:
    """Everything below ``top`` and itself, a directory before what is in it.

    Links are not followed.  ``exclude`` are patterns of names that are left out with all
    below.  What cannot be listed is told to ``problem``; that ``top`` is not there, raised.
    """
    attributes = await tree.lookup(top)
    pending = [Found(top if top == "/" else top.rstrip("/"), attributes.kind, 0)]
    while pending:
        found = pending.pop()
        yield found
        if found.kind != "directory" or (max_depth is not None and found.depth >= max_depth):
            continue
        try:
            entries = await tree.readdir(found.path)
        except FileError as e:
            problem(e)
            continue
        pending += [
            Found(join(found.path, entry.name), entry.kind, found.depth + 1)
            for entry in reversed(entries)
            if not any(fnmatchcase(entry.name, pattern) for pattern in exclude)
        ]


async def search(
    tree: Tree,
    top: str,
    *,
    problem: Problem,
    pattern: str | None = None,
    kind: str | None = None,
    max_depth: int | None = None,
    exclude: Sequence[str] = (),
) -> AsyncIterator[Found]:
    """Of a walk what matches: ``pattern`` the name, ``kind`` ("f", "d", "l") what it is."""
    async for found in walk(tree, top, problem=problem, max_depth=max_depth, exclude=exclude):
        if pattern is not None and not fnmatchcase(found.path.rpartition("/")[2], pattern):
            continue
        if kind is None or found.kind.startswith(kind):
            yield found


async def details(
    tree: Tree, path: str, *, detailed: bool, problem: Problem
) -> list[dict[str, Any]]:
    """The entries of a directory, by name, or a file as the only one; for printing.

    ``detailed`` tells kind, size and time of each as well.
    """
    attributes = await tree.lookup(path)
    if attributes.kind == "directory":
        entries = sorted(await tree.readdir(path))
    else:
        entries = [Listed(path.rpartition("/")[2], attributes.kind, attributes.inode, attributes)]
    if not detailed:
        return [{"name": entry.name} for entry in entries]
    rows = []
    for entry in entries:
        known = entry.attributes
        if known is None:
            try:
                known = await tree.lookup(join(path, entry.name))
            except FileError as e:
                problem(e)
                continue
        modified = datetime.fromtimestamp(known.mtime // 1_000_000_000, UTC)
        rows.append(
            {
                "name": entry.name,
                "kind": entry.kind,
                "size": known.size,
                "modified": format_time(modified),
            }
        )
    return rows


async def pieces(tree: Tree, path: str) -> AsyncIterator[bytes]:
    """A file, piece by piece."""
    file = await tree.open(path)
    offset = 0
    try:
        while piece := await file.read(offset, PIECE):
            yield piece
            offset += len(piece)
    finally:
        await file.close()


async def export(
    tree: Tree, top: str, target: str, *, problem: Problem, exclude: Sequence[str] = ()
) -> int:
    """Copy what is below ``top`` to a new directory, a ``.tar`` (``.tar.gz``, ``.tgz``), or "-".

    "-" is a tar on standard output.  How many files were copied; those that cannot be read are
    told to ``problem``.  Raises ExportError for a target that cannot be.
    """
    copied = 0
    base = top.rstrip("/")
    with _target(target) as put:
        async for found in walk(tree, top, problem=problem, exclude=exclude):
            name = found.path[len(base) :].lstrip("/")
            try:
                attributes = await tree.lookup(found.path)
                with tempfile.SpooledTemporaryFile(max_size=HELD) as held:
                    if found.kind == "file":
                        async for piece in pieces(tree, found.path):
                            held.write(piece)
                    elif found.kind == "link":
                        held.write((await tree.readlink(found.path)).encode())
                    size = held.tell()
                    held.seek(0)
                    if name or found.kind == "file":
                        put(name or os.path.basename(base), attributes, held, size)
            except FileError as e:
                problem(e)
                continue
            copied += found.kind != "directory"
    return copied


Put = Callable[[str, Attributes, "tempfile.SpooledTemporaryFile[bytes]", int], None]


@contextmanager
def _target(target: str) -> Iterator[Put]:
    if target == "-":
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
            yield _into_tar(archive)
        return
    try:
        if target.endswith((".tar", ".tar.gz", ".tgz")):
            mode = "w" if target.endswith(".tar") else "w:gz"
            with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]  # one of two
                yield _into_tar(archive)
            return
        folder = Path(target)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ExportError(f"{target} is not empty: name a directory that is, or a new one")
        times: list[tuple[Path, int]] = []
        yield _into_folder(folder, times)
        # Last, for each file made changes its directory's.
        for path, mtime in reversed(times):
            os.utime(path, ns=(mtime, mtime))
    except FileError:
        raise
    except OSError as e:
        raise ExportError(f"{target} cannot be written: {e.strerror or e}") from e


def _into_tar(archive: tarfile.TarFile) -> Put:
    def put(
        name: str, attributes: Attributes, held: tempfile.SpooledTemporaryFile[bytes], size: int
    ) -> None:
        info = tarfile.TarInfo(name)
        info.mtime = attributes.mtime // 1_000_000_000
        if attributes.kind == "directory":
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        elif attributes.kind == "link":
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, held.read().decode(), 0o777
            archive.addfile(info)
        else:
            info.size, info.mode = size, 0o644
            archive.addfile(info, held)

    return put


def _into_folder(folder: Path, times: list[tuple[Path, int]]) -> Put:
    def put(
        name: str, attributes: Attributes, held: tempfile.SpooledTemporaryFile[bytes], size: int
    ) -> None:
        path = folder / name
        if attributes.kind == "directory":
            path.mkdir()
        elif attributes.kind == "link":
            path.symlink_to(held.read().decode())
            return
        else:
            with path.open("wb") as file:
                _copy(held, file)
        times.append((path, attributes.mtime))

    return put


def _copy(
    source: tempfile.SpooledTemporaryFile[bytes], target: io.BufferedWriter | BinaryIO
) -> None:
    while piece := source.read(PIECE):
        target.write(piece)
