"""Where the API server keeps objects: a persistent map, one revision counter, a window of events.

The whole content of a cluster is an immutable value (:class:`State`): a write makes a
new one that shares nearly everything with the last, so a revision *is* a snapshot and
:meth:`Store.fork` is O(1).  :class:`Journal` makes a store durable; without one it
lives in memory.

The door re-exports what the verbs use; who reads further finds the map in ``_store``,
watching in ``_watch`` and SQLite in ``_journal``.
"""

from cove.server.store._journal import CorruptStoreError, Journal, read_state, write_state
from cove.server.store._store import Event, Expired, State, Store, Stored, Window
from cove.server.store._watch import Watcher

__all__ = [
    "CorruptStoreError",
    "Event",
    "Expired",
    "Journal",
    "State",
    "Store",
    "Stored",
    "Watcher",
    "Window",
    "read_state",
    "write_state",
]
