"""Directories whose files change all at once: what config maps and secrets are mounted as.

The files are links into a directory with the time in its name, which one link chooses::

    NAME -> ..data/NAME
    ..data -> ..2026_11_21_15_04_05.123456
    ..2026_11_21_15_04_05.123456/NAME

Who reads ``..data`` sees the old files or the new ones, never some of both.

Source: ``pkg/volume/util/atomic_writer.go``
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

__all__ = ["File", "write"]

DATA = "..data"


class File(NamedTuple):
    """What a file holds, and its mode; ``gid`` None leaves its group."""

    content: bytes
    mode: int = 0o644
    gid: int | None = None
    uid: int | None = None


def write(folder: Path, files: Mapping[str, File], now: datetime) -> bool:
    """Make ``files`` (relative path → content) the content of ``folder``; False: they were.

    Blocking; call it in a thread when there may be much.
    """
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / DATA
    if current.is_symlink() and _same(folder / os.readlink(current), files):
        return False
    target = folder / now.strftime("..%Y_%m_%d_%H_%M_%S.%f")
    while target.exists():
        target = target.with_name(target.name + "_")
    target.mkdir(mode=0o755)
    for name, file in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Secrets are nobody's to read before their mode is set.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(file.content)
        if (file.gid is not None or file.uid is not None) and os.geteuid() == 0:
            os.chown(
                path, -1 if file.uid is None else file.uid, -1 if file.gid is None else file.gid
            )
        path.chmod(file.mode)
    old = folder / os.readlink(current) if current.is_symlink() else None
    draft = folder / "..data_tmp"
    draft.unlink(missing_ok=True)
    draft.symlink_to(target.name)
    draft.replace(current)
    _link(folder, files)
    if old is not None and old != target:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _same(folder: Path, files: Mapping[str, File]) -> bool:
    found: dict[str, tuple[bytes, int]] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            key = str(path.relative_to(folder))
            found[key] = (path.read_bytes(), path.stat().st_mode & 0o7777)
    return found == {name: (f.content, f.mode) for name, f in files.items()}


def _link(folder: Path, files: Mapping[str, File]) -> None:
    tops = {Path(name).parts[0] for name in files}
    for name in tops:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.name != DATA and entry.name not in tops:
            entry.unlink()
