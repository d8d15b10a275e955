"""Clusters in the background: one process each, started, found and ended here.

The process holds the lock of its cluster's folder as long as it lives; that is how it is
found, and how a process that died is told from one that runs.  It says through a pipe
when it is ready, or why it is not.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from cove.engines.credentials import NO_CREDENTIALS, authority_of, credentials_to_json, issue
from cove.engines.home import ClusterFolder, Settings, UnknownClusterError, clusters
from cove.engines.subnets import planned
from cove.kube.status import CoveError

__all__ = ["StartError", "Started", "start", "stop"]

LOG_LIMIT = 8 * 1024 * 1024
# Those this process started: they outlive it, or are collected once they have ended.
_children: list[subprocess.Popen[bytes]] = []


class StartError(CoveError):
    """The background process ended before it was ready."""


@dataclass(frozen=True, slots=True)
class Started:
    """A running cluster; ``already`` tells that it was running before."""

    folder: ClusterFolder
    pid: int
    already: bool


def start(
    name: str,
    settings: Settings,
    *,
    began: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> Started:
    """Start the cluster's process and wait until it serves.

    Who is interrupted while waiting ends the process again; ``began`` is given the process
    as soon as there is one, so that another thread can.  Raises :class:`StartError` with what
    the process said, InvalidNameError, HomeError.
    """
    _collect()
    folder = ClusterFolder(name)
    folder.create()
    with folder.starting():
        settings = planned(settings, folder)
        pid = folder.serving()
        return Started(folder, pid, True) if pid is not None else _start(folder, settings, began)


def _start(
    folder: ClusterFolder,
    settings: Settings,
    began: Callable[[subprocess.Popen[bytes]], None] | None,
) -> Started:
    read, write = os.pipe()
    _trim(folder)
    with open(folder.log, "ab", opener=_private) as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cove.engines.serve",
                folder.name,
                str(write),
                settings.to_json(),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[write],
            start_new_session=True,
            cwd="/",
        )
    os.close(write)
    try:
        if began is not None:
            began(process)
        _hand_over(process, folder, settings)
        with os.fdopen(read) as pipe:
            said = pipe.read().strip()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if said == "ready":
        _children.append(process)
        return Started(folder, process.pid, False)
    process.wait()
    if said == "taken":
        other = folder.serving()
        if other is not None:
            return Started(folder, other, True)
    raise StartError(said or _last_words(folder))


def _collect() -> None:
    """Take note of the end of processes that were started here."""
    _children[:] = [child for child in _children if child.poll() is None]


def _bury(pid: int) -> None:
    """Wait for the end of a process that was started here and let its folder go.

    The folder is let go of while the process ends, a moment before it has ended.
    """
    for child in _children:
        if child.pid == pid:
            child.wait()
    _collect()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_words(folder: ClusterFolder) -> str:
    """What the log of a process ends with that said nothing through the pipe."""
    lines = folder.log.read_text(errors="replace").splitlines()[-12:]
    told = "\n".join(f"  {line}" for line in lines)
    return f"the cluster's process ended at once; its log {folder.log} ends with\n{told}"


def _hand_over(process: subprocess.Popen[bytes], folder: ClusterFolder, settings: Settings) -> None:
    """Make the certificates while the process gets ready, and give them to it.

    The serving process then never loads what signs: several megabytes it does not need.
    """
    assert process.stdin is not None
    with process.stdin as pipe:
        try:
            credentials = issue(authority_of(folder), settings.service_subnet, [folder.name])
            given = credentials_to_json(credentials)
        except CoveError:
            given = NO_CREDENTIALS  # what is wrong with the options, the process says itself
        try:
            pipe.write(given)
        except BrokenPipeError:
            pass  # it ended: what it said through the other pipe tells why


def _trim(folder: ClusterFolder) -> None:
    """Start the log anew when it has become long; the last one is kept beside it."""
    try:
        if folder.log.stat().st_size > LOG_LIMIT:
            folder.log.replace(folder.log.with_suffix(".log.1"))
    except FileNotFoundError:
        pass


def stop(name: str, *, timeout: float = 15.0) -> bool:
    """End the cluster's process and wait for its end; False if it was not running.

    A process that does not end within ``timeout`` seconds is killed.  Raises
    UnknownClusterError.
    """
    folder = ClusterFolder(name)
    if not folder.path.is_dir():
        raise UnknownClusterError(name, [c.name for c in clusters()])
    pid = folder.serving()
    if pid is None:
        return False
    _send(pid, signal.SIGTERM)
    if not _released(folder, timeout):
        _send(pid, signal.SIGKILL)
        _released(folder, timeout)
    _bury(pid)
    return True


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile


def _released(folder: ClusterFolder, timeout: float) -> bool:
    """Wait until nobody holds the folder's lock."""
    descriptor = os.open(folder.path / "lock", os.O_RDWR)

    def wait() -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except OSError:
            return
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    waiter = threading.Thread(target=wait, name="cove-stop", daemon=True)
    waiter.start()
    waiter.join(timeout)
    if waiter.is_alive():
        return False
    os.close(descriptor)
    return True
