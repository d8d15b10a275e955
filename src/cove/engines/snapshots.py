"""Snapshots: a cluster's objects in a file, to come back to.

Those of a cluster in the background live in its folder, below ``snapshots/``, one SQLite
file each, in the form of the store itself.  Certificates and keys are not part of one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.engines.home import ClusterFolder
from cove.kube import status as st
from cove.kube.status import CoveError
from cove.kube.times import format_time
from cove.server.index import index_of
from cove.server.request import Request, Response, json_response
from cove.server.store import State, read_state, write_state

if TYPE_CHECKING:
    from cove.engines._running import Running
    from cove.server.api import Api

__all__ = ["Snapshot", "SnapshotError", "Snapshots", "serve"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class SnapshotError(CoveError):
    """A snapshot that is not there, is there already, or cannot be called that."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects of a cluster at one revision.  ``taken`` is the cluster's time then."""

    state: State
    taken: datetime
    # How many seconds the cluster's clock was ahead of the machine's.
    ahead: float = 0.0

    @property
    def revision(self) -> int:
        """The revision it holds."""
        return self.state.revision

    @property
    def objects(self) -> int:
        """How many objects it holds."""
        return sum(self.state.count(resource) for resource in self.state.resources())

    def save(self, path: Path) -> None:
        """Write it to a file, all or nothing, for its owner alone."""
        write_state(self.state, path)

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """Read a file of :meth:`save`; raises CorruptStoreError, FileNotFoundError."""
        taken = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return cls(read_state(path, index_of), taken)


class Snapshots:
    """The snapshots in a cluster's folder."""

    def __init__(self, folder: ClusterFolder) -> None:
        self._folder = folder
        self._path = folder.path / "snapshots"

    def path(self, name: str) -> Path:
        """Where the snapshot of that name is, or would be; raises :class:`SnapshotError`."""
        if not _NAME.fullmatch(name):
            raise SnapshotError(
                f'"{name}" is no name for a snapshot: lower-case letters, digits, ".", "_" and '
                '"-", from letter or digit to letter or digit, 63 at most'
            )
        return self._path / f"{name}.db"

    def existing(self, name: str) -> Path:
        """The file of a snapshot; raises :class:`SnapshotError` if there is none."""
        path = self.path(name)
        if not path.exists():
            names = ", ".join(row["name"] for row in self.list()) or "none"
            raise SnapshotError(
                f'cluster {self._folder.name} has no snapshot "{name}"; it has: {names}'
            )
        return path

    def vacant(self, name: str) -> Path:
        """Where a new snapshot goes; raises :class:`SnapshotError` if the name is taken."""
        path = self.path(name)
        if path.exists():
            raise SnapshotError(
                f'cluster {self._folder.name} has a snapshot "{name}" already: take another name, '
                f"or remove it with `cove snapshot delete {name}`"
            )
        self._path.mkdir(mode=0o700, exist_ok=True)
        return path

    def list(self) -> list[dict[str, Any]]:
        """Name, time (RFC 3339) and size in bytes of each, the oldest first."""
        rows = []
        for path in self._path.glob("*.db"):
            about = path.stat()
            rows.append((about.st_mtime, path.stem, about.st_size))
        return [
            {
                "name": name,
                "taken": format_time(datetime.fromtimestamp(time, UTC)),
                "size": size,
            }
            for time, name, size in sorted(rows)
        ]

    def delete(self, name: str) -> None:
        """Remove one; raises :class:`SnapshotError` if there is none."""
        self.existing(name).unlink()

    # -- of a cluster that does not run

    def save_stopped(self, name: str) -> None:
        """Save what the store of the stopped cluster holds.

        Raises :class:`SnapshotError` if the cluster kept nothing.
        """
        if not self._folder.store.exists():
            raise SnapshotError(
                f"cluster {self._folder.name} is stopped and was in memory: there is nothing to "
                "save"
            )
        path = self.vacant(name)
        write_state(read_state(self._folder.store, index_of), path)

    def restore_stopped(self, name: str) -> None:
        """Make a snapshot what the stopped cluster starts with."""
        state = read_state(self.existing(name), index_of)
        for leftover in ("store.db-wal", "store.db-shm"):
            (self._folder.path / leftover).unlink(missing_ok=True)
        write_state(state, self._folder.store)


def serve(cluster: Running, folder: ClusterFolder) -> Callable[[Api, Request], Awaitable[Response]]:
    """The handler of ``/cove/snapshots``, for the commands.

    ``POST …/NAME`` saves, ``POST …/NAME/restore`` restores; both answer with what was done.
    """
    snapshots = Snapshots(folder)

    async def handle(_api: Api, request: Request) -> Response:
        name, _, action = request.path.removeprefix("/cove/snapshots/").partition("/")
        if request.method != "POST" or action not in ("", "restore"):
            raise st.StatusError(405, "MethodNotAllowed", "snapshots are saved and restored", {})
        try:
            if action:
                snapshot = await asyncio.to_thread(Snapshot.load, snapshots.existing(name))
                await cluster.restore(snapshot)
            else:
                snapshot = cluster.snapshot()
                await asyncio.to_thread(snapshot.save, snapshots.vacant(name))
        except CoveError as e:
            raise st.bad_request(str(e)) from e
        return json_response({"objects": snapshot.objects, "revision": snapshot.revision})

    return handle
