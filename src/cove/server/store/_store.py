"""The map of objects, its revisions, and the window of recent events.

All methods run on the event loop's thread and none of them awaits: a verb that reads,
decides and writes without an ``await`` in between is a transaction.  Keys are
``(resource, namespace, name)`` where resource is the storage key ("pods",
"deployments.apps") and namespace is "" for cluster-scoped objects.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from immutables import Map

from cove.client.clock import Clock, SystemClock

if TYPE_CHECKING:
    from cove.server.store._journal import Journal
    from cove.server.store._watch import Watcher

__all__ = ["Event", "EventType", "Expired", "State", "Store", "Stored", "Window"]

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

Names = Map[str, "Stored"]
Namespaces = Map[str, Names]

# Every so many events the whole state is kept; one in between is made again from the last
# that was.  A state of its own for each event would cost more than the objects do.
CHECKPOINT = 128
# How many events keep the encodings that watchers were sent: those that are still sent.
RENDERED_EVENTS = 512


class Window(NamedTuple):
    """How far back a watch can start, a list can continue and history goes.

    Whichever is reached first, a number of writes or their size in bytes.  etcd compacts by
    time (5 min); these bound the memory instead.
    """

    events: int = 16_384
    bytes: int = 24 * 1024 * 1024


class Expired(Exception):  # noqa: N818 - Kubernetes' word for it
    """The revision asked for has left the window; ``oldest`` is the oldest still there."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"revision {revision} is older than {oldest}")
        self.revision = revision
        self.oldest = oldest


class Stored:
    """One object at one revision: its encoded JSON and the few fields that are indexed.

    ``labels`` is None where the object has none.  ``fields`` is what field selectors of
    the kind may ask, computed by whoever wrote the object, or None.
    """

    __slots__ = ("data", "fields", "labels", "name", "namespace", "revision", "uid")

    def __init__(
        self,
        namespace: str,
        name: str,
        uid: str,
        revision: int,
        data: bytes,
        labels: dict[str, str] | None,
        fields: Mapping[str, str] | None,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.revision = revision
        self.data = data
        self.labels = labels
        self.fields = fields

    def of(
        self, data: bytes, labels: dict[str, str] | None, fields: Mapping[str, str] | None
    ) -> Stored:
        """The same object told in another way: in another version of its kind."""
        return Stored(self.namespace, self.name, self.uid, self.revision, data, labels, fields)


class Event:
    """One write: what it was, the object after it (for DELETED: as last seen, at the deletion's
    revision) and the one before it; ``time`` in seconds since 1970.

    ``rendered`` holds encodings made of it, None for none; :meth:`Store.rendered` fills it.
    """

    __slots__ = ("object", "previous", "rendered", "resource", "revision", "time", "type")

    def __init__(
        self,
        type: EventType,
        resource: str,
        revision: int,
        object: Stored,
        previous: Stored | None,
    ) -> None:
        self.type: EventType = type
        self.resource = resource
        self.revision = revision
        self.object = object
        self.previous = previous
        self.time = 0.0
        self.rendered: dict[Any, bytes] | None = None


class State(NamedTuple):
    """The cluster at one revision: resource → namespace → name → object."""

    revision: int
    root: Map[str, Namespaces]

    def get(self, resource: str, namespace: str, name: str) -> Stored | None:
        """The object, or None."""
        namespaces = self.root.get(resource)
        if namespaces is None:
            return None
        names = namespaces.get(namespace)
        return None if names is None else names.get(name)

    def list(self, resource: str, namespace: str | None = None) -> list[Stored]:
        """The objects of a resource in key order; ``namespace`` None means all of them."""
        namespaces = self.root.get(resource)
        if namespaces is None:
            return []
        if namespace is not None:
            names = namespaces.get(namespace)
            return [] if names is None else [names[n] for n in sorted(names)]
        out: list[Stored] = []
        # As etcd orders keys: "a-b/x" comes before "a/x".
        for key in sorted(namespaces, key=_directory):
            names = namespaces[key]
            out.extend([names[n] for n in sorted(names)])
        return out

    def bucket(self, resource: str) -> Namespaces | None:
        """The immutable map of a resource: the same object as long as nothing in it changed.

        What is derived from a resource's objects (roles, CRDs, quotas) keeps this beside
        the derivation and compares with ``is``.
        """
        return self.root.get(resource)

    def count(self, resource: str) -> int:
        """How many objects a resource has."""
        namespaces = self.root.get(resource)
        return 0 if namespaces is None else sum(len(names) for names in namespaces.values())

    def resources(self) -> Iterator[str]:
        """The storage keys that have, or had, objects."""
        return iter(self.root)


def _directory(namespace: str) -> str:
    return namespace + "/"


Root = Map[str, Namespaces]

_EMPTY: Names = Map()
_NO_NAMESPACES: Namespaces = Map()


def _with(root: Root, resource: str, stored: Stored) -> Root:
    namespaces = root.get(resource, _NO_NAMESPACES)
    names = namespaces.get(stored.namespace, _EMPTY)
    return root.set(resource, namespaces.set(stored.namespace, names.set(stored.name, stored)))


def _without(root: Root, resource: str, stored: Stored) -> Root:
    namespaces = root[resource]
    names = namespaces[stored.namespace].delete(stored.name)
    if names:
        return root.set(resource, namespaces.set(stored.namespace, names))
    return root.set(resource, namespaces.delete(stored.namespace))


def _revision(state: State) -> int:
    return state.revision


class Store:
    """A cluster's objects.  Owned by one event loop; close the journal it was given yourself."""

    def __init__(
        self,
        state: State | None = None,
        journal: Journal | None = None,
        *,
        window: Window | None = None,
        clock: Clock | None = None,
    ) -> None:
        # Revision 1 is the empty cluster, as etcd's: 0 has a meaning of its own in requests.
        self.state = state or State(1, Map())
        self.clock = clock or SystemClock()
        self._window = window or Window()
        self._journal = journal
        # What readers and watchers may be told: everything before it is on disk.
        self.durable_revision = self.state.revision
        self._events: list[Event] = []
        self._revisions: list[int] = []
        self._bytes = 0
        # Revisions up to and including this one can no longer be told apart.
        self.compacted = self.state.revision - 1
        # The state before the first event, then one now and then; and the last one asked for.
        self._checkpoints = [State(self.state.revision, self.state.root)]
        self._remade = self._checkpoints[0]
        # What was listed since it last changed: resource → namespace (None: all of them) → objects.
        self._listed: dict[str, dict[str | None, list[Stored]]] = {}
        self._sent: deque[Event] = deque()
        self._watchers: dict[str, set[Watcher]] = {}
        # Told of every event of any resource, before the watchers are.
        self.on_write: Callable[[Event], None] | None = None
        self._pending: list[Event] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        if journal is not None:
            journal.attach(self._committed, self.fail)

    @property
    def revision(self) -> int:
        """The revision of the last write."""
        return self.state.revision

    @property
    def oldest(self) -> int:
        """The oldest revision whose state can still be had."""
        return self._checkpoints[0].revision

    # -- writing

    def put(
        self,
        resource: str,
        namespace: str,
        name: str,
        uid: str,
        encode: Callable[[str], bytes],
        labels: dict[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Stored:
        """Write an object at the next revision; ``encode`` gets that revision as text."""
        root = self.state.root
        revision = self.state.revision + 1
        namespaces = root.get(resource, _NO_NAMESPACES)
        names = namespaces.get(namespace, _EMPTY)
        previous = names.get(name)
        stored = Stored(namespace, name, uid, revision, encode(str(revision)), labels, fields)
        root = root.set(resource, namespaces.set(namespace, names.set(name, stored)))
        self.state = State(revision, root)
        if self._listed:
            self._listed.pop(resource, None)
        type_: EventType = "ADDED" if previous is None else "MODIFIED"
        self._record(Event(type_, resource, revision, stored, previous))
        return stored

    def delete(
        self, resource: str, namespace: str, name: str, encode: Callable[[str], bytes]
    ) -> Stored:
        """Remove an object; ``encode`` gives its last form at the deletion's revision.

        Raises KeyError if it is not there.
        """
        root = self.state.root
        previous = root[resource][namespace][name]
        revision = self.state.revision + 1
        self.state = State(revision, _without(root, resource, previous))
        self._listed.pop(resource, None)
        last = Stored(
            namespace,
            name,
            previous.uid,
            revision,
            encode(str(revision)),
            previous.labels,
            previous.fields,
        )
        self._record(Event("DELETED", resource, revision, last, previous))
        return last

    def _record(self, event: Event) -> None:
        event.time = self.clock.now().timestamp()
        self._events.append(event)
        self._revisions.append(event.revision)
        self._bytes += len(event.object.data)
        if event.revision - self._checkpoints[-1].revision >= CHECKPOINT:
            self._checkpoints.append(self.state)
        if len(self._events) > self._window.events or self._bytes > self._window.bytes:
            self._compact()
        if self._journal is None:
            self.durable_revision = event.revision
            self._publish(event)
        else:
            self._pending.append(event)
            self._journal.append(event)

    def _compact(self) -> None:
        """Forget the older half of the window: one slice now and then, not a shift per write."""
        cut = max(1, len(self._events) // 2)
        start = self.at(self._revisions[cut - 1])
        later = bisect_right(self._checkpoints, start.revision, key=_revision)
        self._checkpoints[:later] = [start]
        self.compacted = start.revision
        self._bytes -= sum(len(e.object.data) for e in self._events[:cut])
        del self._events[:cut]
        del self._revisions[:cut]

    def compact(self) -> None:
        """Forget every earlier state: watches and pages can go on from now only."""
        self._checkpoints = [self.state]
        self.compacted = self.state.revision
        self._bytes = 0
        del self._events[:]
        del self._revisions[:]

    def _committed(self, revision: int) -> None:
        """The journal says that everything up to ``revision`` is on disk."""
        # Never back: a restored state is durable before what was written just before it is told.
        self.durable_revision = max(revision, self.durable_revision)
        done = 0
        for event in self._pending:
            if event.revision > revision:
                break
            done += 1
            self._publish(event)
        del self._pending[:done]
        still = []
        for wanted, future in self._waiting:
            if wanted > revision:
                still.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still

    async def durable(self, revision: int) -> None:
        """Return when everything up to ``revision`` is on disk; at once without a journal."""
        if revision <= self.durable_revision or self._journal is None:
            return
        self._journal.check()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, future))
        await future

    def fail(self, error: BaseException) -> None:
        """The journal cannot write: nobody who waits is told otherwise."""
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting = []

    # -- reading back

    def at(self, revision: int) -> State:
        """The state at a revision; raises :class:`Expired` if it has left the window."""
        if revision >= self.state.revision:
            return self.state
        checkpoints = self._checkpoints
        if revision < checkpoints[0].revision:
            raise Expired(revision, checkpoints[0].revision)
        if revision == self._remade.revision:
            return self._remade
        start = checkpoints[bisect_right(checkpoints, revision, key=_revision) - 1]
        root = start.root
        first = bisect_right(self._revisions, start.revision)
        for event in self._events[first : bisect_right(self._revisions, revision)]:
            change = _without if event.type == "DELETED" else _with
            root = change(root, event.resource, event.object)
        self._remade = State(revision, root)
        return self._remade

    def listed(self, state: State, resource: str, namespace: str | None = None) -> list[Stored]:
        """As :meth:`State.list`, put in order once as long as nothing of the resource changes.

        Who reads a collection page by page asks for all of it each time.  The list is not the caller's to change.
        """
        if state.root is not self.state.root:
            return state.list(resource, namespace)
        known = self._listed.get(resource)
        found = None if known is None else known.get(namespace)
        if found is None:
            found = state.list(resource, namespace)
            # Nothing is kept of what is not there: anybody may ask for any namespace.
            if found:
                self._listed.setdefault(resource, {})[namespace] = found
        return found

    def since(self, revision: int, resource: str) -> list[Event]:
        """A resource's events after ``revision`` that watchers have been told."""
        if revision < self.compacted:
            raise Expired(revision, self.compacted)
        index = bisect_right(self._revisions, revision)
        durable = self.durable_revision
        return [e for e in self._events[index:] if e.resource == resource and e.revision <= durable]

    def rendered(self, event: Event, key: Any, make: Callable[[], bytes]) -> bytes:
        """An encoding of an event, made once for all watchers that want the same.

        Only the last events keep theirs; whoever is further behind makes it again.
        """
        kept = event.rendered
        if kept is None:
            kept = event.rendered = {}
            self._sent.append(event)
            if len(self._sent) > RENDERED_EVENTS:
                self._sent.popleft().rendered = None
        line = kept.get(key)
        if line is None:
            line = kept[key] = make()
        return line

    def fork(self, revision: int | None = None) -> Store:
        """A store with the content of a revision that goes its own way, in memory.

        ``revision`` None is now; raises :class:`Expired`.  O(1): nothing is copied.  Its window starts empty, so resource versions of before
        are answered from the state they were forked at.
        """
        state = self.state if revision is None else self.at(revision)
        return Store(state, window=self._window, clock=self.clock)

    def restore(self, state: State) -> None:
        """Make the content of ``state`` the content from the next revision on.

        Watches end and the past is forgotten, so that everybody lists again.  With a journal
        it is on disk when this returns: nobody may write in between, so nobody is let in.
        """
        revision = max(self.state.revision, state.revision) + 1
        restored = State(revision, state.root)
        if self._journal is not None:
            self._journal.replace(restored)
        self.state = restored
        self._listed.clear()
        self.durable_revision = revision
        self.compact()
        self.disconnect()

    def history(self, resource: str, namespace: str | None = None, name: str = "") -> list[Event]:
        """The writes in the window, oldest first: of one object, or of many.

        ``namespace`` None means all of them, ``name`` "" all names.  What is not yet on disk
        is not told.
        """
        durable = self.durable_revision
        return [
            e
            for e in self._events
            if e.resource == resource
            and (not name or e.object.name == name)
            and (namespace is None or e.object.namespace == namespace)
            and e.revision <= durable
        ]

    # -- watching

    def subscribe(self, resource: str, watcher: Watcher) -> None:
        """Tell ``watcher`` of every later event of the resource, until it unsubscribes."""
        self._watchers.setdefault(resource, set()).add(watcher)

    def unsubscribe(self, resource: str, watcher: Watcher) -> None:
        """Stop telling; unknown watchers are ignored."""
        watchers = self._watchers.get(resource)
        if watchers is not None:
            watchers.discard(watcher)

    def _publish(self, event: Event) -> None:
        if self.on_write is not None:
            self.on_write(event)
        watchers = self._watchers.get(event.resource)
        if watchers:
            for watcher in tuple(watchers):
                watcher.offer(event)

    def told(self) -> bool:
        """Whether every watch that is read in this process has got all there is."""
        return not self._pending and not any(
            watcher.inside and watcher.waiting
            for watchers in self._watchers.values()
            for watcher in watchers
        )

    def disconnect(self) -> None:
        """End every watch: the server is stopping, or a resource went away."""
        for watchers in self._watchers.values():
            for watcher in tuple(watchers):
                watcher.close()

    def disconnect_resource(self, resource: str) -> None:
        """End the watches of one resource."""
        for watcher in tuple(self._watchers.get(resource, ())):
            watcher.close()
