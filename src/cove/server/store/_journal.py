"""The durable side of a store: SQLite, one batch of writes per transaction.

Writes are queued on the event loop and committed by one owned thread; everything that
arrives while a transaction is under way shares the next one, so many clients pay one
commit.  A write is acknowledged, and shown to watchers, only after its commit.

SQLite runs in WAL mode with ``synchronous=NORMAL``: a killed process loses nothing that
was acknowledged; a power cut may lose the last moments but never corrupts the file.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from immutables import Map

from cove.kube.status import CoveError
from cove.server.store._store import Event, State, Stored

__all__ = ["CorruptStoreError", "Journal", "read_state", "write_state"]

# "cove" in ASCII: tells our files from other SQLite databases.
APPLICATION_ID = 0x636F7665
FORMAT = 1

_TABLES = """
CREATE TABLE objects (
  resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  revision INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
CREATE TABLE counter (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL);
INSERT INTO counter VALUES (1, 1);
"""

# What the store keeps beside the bytes, read back from them: (uid, labels, fields).
Index = Callable[[str, bytes], tuple[str, dict[str, str] | None, Mapping[str, str] | None]]


class CorruptStoreError(CoveError):
    """The file is not a store that this version can read.  It is left as it is."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"the store {path} cannot be used: {why}. It has not been changed; move it away, "
            "or remove the cluster with `cove reset`, to start an empty one"
        )
        self.path = path


class _Replacement(NamedTuple):
    """A state that takes the place of all the file holds."""

    state: State
    done: threading.Event


def _verify(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise CorruptStoreError(path, "it is not a store of cove")
    if version != FORMAT:
        raise CorruptStoreError(path, f"it has format {version}, not {FORMAT}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise CorruptStoreError(path, str(verdict))


def _load(path: Path, connection: sqlite3.Connection, index: Index) -> State:
    try:
        (revision,) = connection.execute("SELECT revision FROM counter").fetchone()
        resources: dict[str, dict[str, dict[str, Stored]]] = {}
        rows = connection.execute("SELECT resource, namespace, name, revision, data FROM objects")
        for resource, namespace, name, at, data in rows:
            uid, labels, fields = index(resource, data)
            resources.setdefault(resource, {}).setdefault(namespace, {})[name] = Stored(
                namespace, name, uid, at, data, labels, fields
            )
    except (sqlite3.DatabaseError, TypeError, ValueError, KeyError) as e:
        raise CorruptStoreError(path, str(e)) from e
    root = Map(
        {
            resource: Map({ns: Map(names) for ns, names in namespaces.items()})
            for resource, namespaces in resources.items()
        }
    )
    return State(revision, root)


def _fill(connection: sqlite3.Connection, state: State) -> None:
    """Make a database hold a state and nothing else, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM objects")
        connection.executemany(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?)",
            (
                (resource, stored.namespace, stored.name, stored.revision, stored.data)
                for resource in state.resources()
                for stored in state.list(resource)
            ),
        )
        connection.execute("UPDATE counter SET revision = ?", (state.revision,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def write_state(state: State, path: Path) -> None:
    """Write a state to a file of its own, all or nothing, for its owner alone.

    The file has the form of a journal.  Any thread may call it: a state never changes.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.executescript(
            f"PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={FORMAT};{_TABLES}"
        )
        _fill(connection, state)
    except BaseException:
        connection.close()
        draft.unlink(missing_ok=True)
        raise
    connection.close()
    draft.replace(path)


def read_state(path: Path, index: Index) -> State:
    """The state in a file of :func:`write_state`.

    Raises :class:`CorruptStoreError`, FileNotFoundError.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        _verify(path, connection)
        return _load(path, connection, index)
    except sqlite3.DatabaseError as e:
        raise CorruptStoreError(path, str(e)) from e
    finally:
        connection.close()


class Journal:
    """A SQLite file.  Open it with :meth:`open`, end it with :meth:`close`.

    Raises :class:`CorruptStoreError` when the file is not one of ours, is damaged, or was
    written by a later version.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._committed: Callable[[int], None] = lambda _revision: None
        self._failed: Callable[[BaseException], None] = lambda _error: None
        self._queue: list[Event | _Replacement] = []
        self._wake = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open or create the file and check it."""
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            # A process that was killed while it made the file leaves an empty database.
            if not connection.execute("PRAGMA schema_version").fetchone()[0]:
                path.chmod(0o600)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(
                    f"BEGIN;PRAGMA application_id={APPLICATION_ID};"
                    f"PRAGMA user_version={FORMAT};{_TABLES}COMMIT;"
                )
            _verify(path, connection)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.DatabaseError as e:
            if connection is not None:
                connection.close()
            raise CorruptStoreError(path, str(e)) from e
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return cls(path, connection)

    def load(self, index: Index) -> State:
        """The state that was last committed."""
        return _load(self.path, self._connection, index)

    def attach(
        self, committed: Callable[[int], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Start the thread; after each transaction it calls ``committed`` on the running loop.

        A transaction that fails is the last one: ``failed`` gets the error.
        """
        self._loop = asyncio.get_running_loop()
        self._committed = committed
        self._failed = failed
        self._thread = threading.Thread(target=self._run, name="cove-journal", daemon=True)
        self._thread.start()

    def append(self, event: Event) -> None:
        """Queue an event for the next transaction."""
        with self._wake:
            self._queue.append(event)
            self._wake.notify()

    def replace(self, state: State) -> None:
        """Make the file hold ``state`` alone; returns when that is committed.

        What was queued before is committed first.  Blocks the thread it is called on.  Raises
        CorruptStoreError if the file cannot be written.
        """
        done = threading.Event()
        with self._wake:
            self._queue.append(_Replacement(state, done))
            self._wake.notify()
        done.wait()
        self.check()

    def check(self) -> None:
        """Raise what made the journal stop, if anything did."""
        if self._error is not None:
            raise CorruptStoreError(self.path, str(self._error)) from self._error

    def close(self) -> None:
        """Commit what is queued, end the thread and close the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                batch, self._queue = self._queue, []
                if not batch:
                    return
            try:
                self._commit(batch)
            except sqlite3.Error as e:
                self._error = e
                for item in batch:
                    if isinstance(item, _Replacement):
                        item.done.set()
                if self._loop is not None and not self._loop.is_closed():
                    self._loop.call_soon_threadsafe(self._failed, e)
                return

    def _commit(self, batch: list[Event | _Replacement]) -> None:
        events: list[Event] = []
        for item in batch:
            if isinstance(item, _Replacement):
                # What was written before it is of no interest to the file any more.
                events.clear()
                _fill(self._connection, item.state)
                self._tell(item.state.revision)
                item.done.set()
            else:
                events.append(item)
        if events:
            self._write(events)
            self._tell(events[-1].revision)

    def _tell(self, revision: int) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._committed, revision)

    def _write(self, batch: list[Event]) -> None:
        # Only the last write of a key in the batch matters to the file.
        last: dict[tuple[str, str, str], Event] = {}
        for event in batch:
            last[(event.resource, event.object.namespace, event.object.name)] = event
        run = self._connection
        run.execute("BEGIN IMMEDIATE")
        try:
            run.executemany(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
                [
                    (*key, e.revision, e.object.data)
                    for key, e in last.items()
                    if e.type != "DELETED"
                ],
            )
            run.executemany(
                "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
                [key for key, e in last.items() if e.type == "DELETED"],
            )
            run.execute("UPDATE counter SET revision = ?", (batch[-1].revision,))
            run.execute("COMMIT")
        except BaseException:
            run.execute("ROLLBACK")
            raise
