"""Mounts in the background: one process each, started, found and ended here.

Such a process holds the lock of its record as long as it lives, and says through a pipe when
the directory is mounted, or why it is not.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cove.files.mounting import library
from cove.files.mounting.errors import MountError
from cove.files.source import Source

__all__ = ["MountOptions", "Record", "records", "start", "stop"]

# Seconds that a process may take to end once its directory is unmounted.
PATIENCE = 15.0
# The same, where others are cut off.
CUT_OFF = 2.0
LOG_LIMIT = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class MountOptions:
    """What is mounted where, as ``cove files mount`` was told."""

    path: str
    source: Source
    namespaces: tuple[str, ...] = ()
    hide_empty_types: bool = False
    secrets: bool = False
    allow_other: bool = False

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> MountOptions:
        """What :meth:`to_json` wrote."""
        doc = json.loads(text)
        doc["source"] = Source(**doc["source"])
        doc["namespaces"] = tuple(doc["namespaces"])
        return cls(**doc)

    @property
    def tree(self) -> dict[str, Any]:
        """The options that are the tree's."""
        return {
            "namespaces": self.namespaces,
            "hide_empty_types": self.hide_empty_types,
            "secrets": self.secrets,
        }


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a mount in the background; ``pid`` None: its process has ended."""

    path: Path
    pid: int | None
    log: Path
    context: str
    file: Path


def _file(folder: Path, path: Path) -> Path:
    name = sha256(os.fspath(path).encode(errors="surrogateescape")).hexdigest()[:16]
    return folder / f"{name}.json"


def records(folder: Path) -> list[Record]:
    """The mounts that were started with their records in ``folder``."""
    out = []
    for file in sorted(folder.glob("*.json")):
        try:
            doc = json.loads(file.read_text())
            out.append(
                Record(
                    Path(doc["path"]), _holder(file), file.with_suffix(".log"), doc["told"], file
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it ends at this moment, or is none of ours
    return sorted(out, key=lambda record: record.path)


def _holder(file: Path) -> int | None:
    """The process that holds the lock of a record."""
    with open(file, "rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = json.loads(opened.read()).get("pid")
            return int(pid) if pid else None
        return None


def start(options: MountOptions, folder: Path) -> Record:
    """Mount in a process of its own and return when it is; raises MountError.

    What a killed process left at the directory is unmounted first.
    """
    library.load()
    path = Path(options.path)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = _file(folder, path)
    log = file.with_suffix(".log")
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    read, write = os.pipe()
    with open(log, "ab", opener=_private) as opened:
        began = opened.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "cove.files.mounting.serve", str(write), os.fspath(file)],
            stdin=subprocess.PIPE,
            stdout=opened,
            stderr=opened,
            pass_fds=[write],
            start_new_session=True,
            cwd="/",
        )
    os.close(write)
    try:
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(options.to_json().encode())
        with os.fdopen(read) as told:
            said = told.read().strip()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if said == "ready":
        _children.append(process)
        for record in records(folder):
            if record.path == path:
                return record
    process.wait()
    raise MountError(said if said and said != "ready" else _last_words(log, began))


# Those this process started: they outlive it, or are collected when they have ended.
_children: list[subprocess.Popen[bytes]] = []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_words(log: Path, began: int) -> str:
    with open(log, "rb") as opened:
        opened.seek(began)
        lines = opened.read().decode(errors="replace").splitlines()[-8:]
    told = "\n".join(f"  {line}" for line in lines)
    return f"the process of the mount ended at once; its log {log} ends with\n{told}"


def stop(path: Path, folder: Path, *, lazy: bool = False) -> bool:
    """Unmount and wait for the end of the process; False if nothing was mounted.

    ``lazy`` cuts off who uses it.  Raises MountError: it is in use.
    """
    file = _file(folder, path)
    mounted = library.is_mounted(path)
    if mounted:
        library.unmount(path, lazy=lazy or library.is_stale(path))
    if file.exists():
        if lazy and (pid := _holder(file)) is not None:
            # What is in use keeps the connection alive, and with it the process.
            os.kill(pid, signal.SIGTERM)
        _await_end(file, CUT_OFF if lazy else PATIENCE)
        file.unlink(missing_ok=True)
    for child in [*_children]:
        if child.poll() is not None:
            _children.remove(child)
    return mounted


def _await_end(file: Path, seconds: float) -> None:
    """Wait until nobody holds a record's lock, and end who does not let go of it."""
    with open(file, "rb") as opened:
        ended = threading.Event()

        def wait() -> None:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH)
            except (OSError, ValueError):
                return
            ended.set()

        waiter = threading.Thread(target=wait, name="await unmount", daemon=True)
        waiter.start()
        if ended.wait(seconds):
            return
        pid = _holder(file)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        ended.wait(PATIENCE)
