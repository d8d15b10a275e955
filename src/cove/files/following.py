"""Following: what is being looked at, kept in memory by watches and given up when it is not.

A collection is followed from its first use on, a single object when only that was asked for;
when several of one collection were, the collection is.  How many watches and objects there
are is bounded: the ones used longest ago are given up, and all of them after a while unused.

What is followed can be believed as long as its watch is open.  A listing is confirmed all
the same (:meth:`Following.listing`): the server's count has to be ours, so that who has just
created something finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from cove.client import Client, Informer, Tasks
from cove.client._client import METADATA_ONLY, path_of
from cove.client.errors import ClientError
from cove.files.discovery import Type
from cove.files.documents import inode, mtime_of, slim, whole
from cove.kube.status import StatusError

__all__ = ["MOMENT", "Change", "Entry", "Followed", "Following"]

Doc = dict[str, Any]
Key = tuple[Type, str, str]
# Seconds that what was just fetched is believed without a watch: the files of one object, read
# one after the other, come from one GET.  The kernel believes us for as long.
MOMENT = 1.0
# Seconds to wait for the event that makes our count the server's.
PATIENCE = 1.0
# Seconds after which what nobody looks at is given up.
IDLE = 300.0
# Watches at a time.  Each has a connection of its own.
WATCHES = 64
# Objects kept at a time, of all that is followed; the collection used last may have more.
OBJECTS = 200_000
# When so many single objects of a collection are wanted, it is followed whole.
SEVERAL = 4
# Objects of a page.
PAGE = 500
# Objects fetched singly that are remembered for a moment.
RECENT = 512


class Entry:
    """What is known of an object without reading it: its name, uid, version, times, inode."""

    __slots__ = ("inode", "mtime", "name", "uid", "version")

    def __init__(self, doc: Doc) -> None:
        metadata = doc["metadata"]
        self.name: str = metadata["name"]
        self.uid: str = metadata.get("uid", "")
        self.version: str = metadata.get("resourceVersion", "")
        self.mtime = mtime_of(doc)
        self.inode = inode(self.uid or f"{doc.get('kind')}/{self.name}")


class Change(NamedTuple):
    """An object that was created, changed or is ``gone``."""

    type: Type
    namespace: str
    name: str
    gone: bool


class Followed:
    """A collection (or, with ``name``, one object of it) and its watch.

    ``entries`` may be read from any thread.
    """

    def __init__(
        self,
        client: Client,
        key: Key,
        tell: Callable[[Change], None],
        broken: Callable[[Followed], None],
    ) -> None:
        self.type, self.namespace, self.name = key
        self.entries: dict[str, Entry] = {}
        self.used = time.monotonic()
        self.listed = 0.0
        # Made when somebody asks, kept up from then on.
        self._labels: dict[str, dict[str, set[str]]] | None = None
        self._tell = tell
        self._broken = broken
        self._changed = asyncio.Event()
        self._tasks = Tasks()
        self.informer = Informer(
            client,
            self.type.gvr,
            namespace=self.namespace or None,
            field_selector=f"metadata.name={self.name}" if self.name else "",
            transform=slim,
            page_size=PAGE,
            compact=True,
        )
        self.informer.add_handler(self._handle)
        self.informer.add_state_handler(self._noted)

    def believed(self) -> bool:
        """Whether what is here is what the server has, as far as a watch can tell."""
        return self.listed > 0 and (
            self.informer.following or time.monotonic() - self.listed < MOMENT
        )

    def doc(self, name: str) -> Doc | None:
        """The object as a GET would answer it, less ``managedFields``; a document of its own."""
        doc = self.informer.get(self.namespace or None, name)
        return None if doc is None else whole(doc, self.type)

    def labels(self) -> dict[str, dict[str, set[str]]]:
        """The names of the objects by key and value of their labels, not to be changed."""
        if self._labels is None:
            self._labels = {}
            for doc in self.informer.list():
                self._label(doc, set.add)
        return self._labels

    def _label(self, doc: Doc, change: Callable[[set[str], str], None]) -> None:
        """Add an object to the labels, or take it out, by a method of sets."""
        assert self._labels is not None
        metadata = doc["metadata"]
        for key, value in (metadata.get("labels") or {}).items():
            values = self._labels.setdefault(key, {})
            names = values.setdefault(value, set())
            change(names, metadata["name"])
            if not names:
                del values[value]
            if not values:
                del self._labels[key]

    def _handle(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        doc = new or old
        assert doc is not None
        name = doc["metadata"]["name"]
        if new is None:
            self.entries.pop(name, None)
        else:
            self.entries[name] = Entry(new)
        if self._labels is not None:
            if old is not None:
                self._label(old, set.discard)
            if new is not None:
                self._label(new, set.add)
        if not initial:
            self._changed.set()
            self._tell(Change(self.type, self.namespace, name, new is None))

    @property
    def unwatchable(self) -> bool:
        """Whether listing is allowed and watching is not: to try again would be polling."""
        problem = self.informer.problem
        return (
            self.informer.synced.is_set()
            and isinstance(problem, StatusError)
            and problem.code in (403, 405)
        )

    def _noted(self) -> None:
        self._changed.set()
        if self.unwatchable:
            self._broken(self)

    async def start(self) -> None:
        """Return when the collection is here; raises what keeps it from being so."""
        informer = self.informer
        informer.start(self._tasks)
        while not informer.synced.is_set():
            self._changed.clear()
            if informer.problem is not None:
                raise informer.problem
            await self._changed.wait()
        self.listed = time.monotonic()

    async def becomes(self, count: int, seconds: float) -> bool:
        """Whether there are ``count`` objects within some seconds."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.entries) != count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End the watch."""
        await self._tasks.close()


class Following:
    """All that is followed of one server.  Leaving it ends every watch."""

    def __init__(
        self,
        client: Client,
        *,
        watches: int = WATCHES,
        objects: int = OBJECTS,
        idle: float = IDLE,
    ) -> None:
        self._client = client
        self._watches, self._objects, self._idle = watches, objects, idle
        self._followed: OrderedDict[Key, Followed] = OrderedDict()
        self._starting: dict[Key, asyncio.Task[Followed]] = {}
        # Fetched singly: when, what is known of it, the object.
        self._recent: OrderedDict[Key, tuple[float, Entry, Doc]] = OrderedDict()
        self._fetching: dict[Key, asyncio.Task[tuple[Entry, Doc]]] = {}
        self._tasks = Tasks()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.on_change: list[Callable[[Change], None]] = []

    async def close(self) -> None:
        """End every watch and whatever is being fetched."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.close()
        ended = [*self._starting.values(), *self._fetching.values()]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        followed, self._followed = [*self._followed.values()], OrderedDict()
        await asyncio.gather(*(f.close() for f in followed))

    @property
    def watched(self) -> list[tuple[str, str, str]]:
        """What is followed: (type, namespace, name or "")."""
        return [(type_.shown, namespace, name) for type_, namespace, name in self._followed]

    # -- from any thread

    def peek(self, type_: Type, namespace: str) -> Followed | None:
        """The collection, if it is followed and can be believed."""
        found = self._followed.get((type_, namespace, ""))
        if found is None or not found.believed():
            return None
        found.used = time.monotonic()
        return found

    def peek_entry(self, type_: Type, namespace: str, name: str) -> Entry | None:
        """What is known of an object, if that can be believed."""
        collection = self.peek(type_, namespace)
        if collection is not None:
            return collection.entries.get(name)
        found = self._single(type_, namespace, name)
        return None if found is None else found[0]

    def peek_doc(self, type_: Type, namespace: str, name: str) -> tuple[Entry, Doc] | None:
        """The object, if what is known of it can be believed."""
        collection = self.peek(type_, namespace)
        if collection is not None:
            return _both(collection, name)
        return self._single(type_, namespace, name)

    def _single(self, type_: Type, namespace: str, name: str) -> tuple[Entry, Doc] | None:
        key = (type_, namespace, name)
        followed = self._followed.get(key)
        if followed is not None and followed.believed():
            followed.used = time.monotonic()
            return _both(followed, name)
        recent = self._recent.get(key)
        if recent is not None and time.monotonic() - recent[0] < MOMENT:
            return recent[1], recent[2]
        return None

    # -- on the loop

    async def collection(self, type_: Type, namespace: str) -> Followed:
        """The collection, followed; raises StatusError and ClientError."""
        found = self.peek(type_, namespace)
        if found is not None:
            self._followed.move_to_end((type_, namespace, ""))
            return found
        return await self._begin((type_, namespace, ""))

    async def listing(self, type_: Type, namespace: str) -> Followed:
        """A collection as it is now, whoever wrote it; raises StatusError and ClientError.

        An empty one is not followed: listing it again costs no more than confirming it.
        """
        found = self.peek(type_, namespace)
        if found is None:
            found = await self._begin((type_, namespace, ""))
        elif not await self._confirmed(found):
            await self._give_up((type_, namespace, ""))
            found = await self._begin((type_, namespace, ""))
        if not found.entries or not type_.watched:
            await self._give_up((type_, namespace, ""))
        return found

    async def get(self, type_: Type, namespace: str, name: str) -> tuple[Entry, Doc]:
        """An object; raises StatusError (404 among them) and ClientError."""
        found = self.peek_doc(type_, namespace, name)
        if found is not None:
            return found
        key = (type_, namespace, name)
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(
                self._fetch(key), name=f"get {namespace}/{name}"
            )
            task.add_done_callback(lambda done: self._fetched(key, done))
        return await asyncio.shield(task)

    def _fetched(self, key: Key, task: asyncio.Task[tuple[Entry, Doc]]) -> None:
        self._fetching.pop(key, None)
        if not task.cancelled():
            task.exception()

    async def _fetch(self, key: Key) -> tuple[Entry, Doc]:
        type_, namespace, name = key
        doc = await self._client.get(type_.gvr, name, namespace or None)
        doc = slim(whole(doc, type_))
        entry = Entry(doc)
        self._recent[key] = (time.monotonic(), entry, doc)
        self._recent.move_to_end(key)
        while self._recent:
            oldest, (when, *_) = next(iter(self._recent.items()))
            if len(self._recent) <= RECENT and time.monotonic() - when < MOMENT:
                break
            del self._recent[oldest]
        self._follow_on(key)
        return entry, doc

    def _follow_on(self, key: Key) -> None:
        """Follow what was fetched, in the background; the collection if it was one of several."""
        type_, namespace, _ = key
        if not type_.watched:
            return
        if (type_, namespace, "") in self._starting or (type_, namespace, "") in self._followed:
            return
        siblings = [
            k
            for k in {*self._followed, *self._starting}
            if k[0] == type_ and k[1] == namespace and k[2]
        ]
        wanted = (type_, namespace, "") if len(siblings) + 1 >= SEVERAL else key
        if wanted not in self._followed and wanted not in self._starting and not self._closed:
            self._tasks.start(f"follow {type_.shown}", self._try(wanted))

    async def _try(self, key: Key) -> None:
        """Follow, if that is possible: reading may be allowed where listing is not."""
        try:
            await self._begin(key)
        except (StatusError, ClientError):
            return
        if not key[2]:
            for other in [*self._followed]:
                if other[:2] == key[:2] and other[2]:
                    await self._give_up(other)

    async def _begin(self, key: Key) -> Followed:
        """Follow; who asks for the same at the same time shares it."""
        task = self._starting.get(key)
        if task is None:
            task = self._starting[key] = asyncio.create_task(
                self._start(key), name=f"start following {key[0].shown}"
            )
            task.add_done_callback(lambda done: self._started(key, done))
        return await asyncio.shield(task)

    def _started(self, key: Key, task: asyncio.Task[Followed]) -> None:
        self._starting.pop(key, None)
        if not task.cancelled():
            task.exception()

    async def _start(self, key: Key) -> Followed:
        old = self._followed.pop(key, None)
        if old is not None:
            await old.close()
        followed = Followed(self._client, key, self._told, self._unwatched)
        try:
            await followed.start()
        except BaseException:
            await followed.close()
            raise
        self._followed[key] = followed
        if followed.unwatchable:
            self._drop(key)
        self._trim(key)
        self._arm()
        return followed

    async def _confirmed(self, followed: Followed) -> bool:
        """Whether the server has as many objects as we; waits a little for the last events."""
        page = await self._client.request(
            "GET",
            path_of(followed.type.gvr, followed.namespace or None),
            query={"limit": 1},
            accept=METADATA_ONLY,
        )
        metadata = page.get("metadata") or {}
        count = len(page.get("items") or ())
        if metadata.get("continue"):
            remaining = metadata.get("remainingItemCount")
            if remaining is None:
                return False
            count += remaining
        # What arrived with the answer, or before it, is taken note of first.
        for _ in range(2):
            await asyncio.sleep(0)
        return await followed.becomes(count, PATIENCE)

    def _told(self, change: Change) -> None:
        self._recent.pop((change.type, change.namespace, change.name), None)
        for handler in self.on_change:
            handler(change)

    # -- giving up

    def _unwatched(self, followed: Followed) -> None:
        key = (followed.type, followed.namespace, followed.name)
        if self._followed.get(key) is followed:
            self._drop(key)

    async def _give_up(self, key: Key) -> None:
        followed = self._followed.pop(key, None)
        if followed is not None:
            await followed.close()

    def _trim(self, newest: Key) -> None:
        """Give up what was used longest ago while there is too much."""
        kept = sum(len(f.entries) for f in self._followed.values())
        by_use = sorted(self._followed.items(), key=lambda item: item[1].used)
        for key, followed in by_use:
            if len(self._followed) <= self._watches and kept <= self._objects:
                return
            if key != newest:
                kept -= len(followed.entries)
                self._drop(key)

    def _drop(self, key: Key) -> None:
        followed = self._followed.pop(key)
        if not self._closed:
            self._tasks.start(f"stop following {key[0].shown}", followed.close())

    def _arm(self) -> None:
        """Look again when the first of them may have been unused for long enough."""
        if self._timer is None and self._followed and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(self._idle, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        for key, followed in [*self._followed.items()]:
            if now - followed.used >= self._idle:
                self._drop(key)
        self._arm()


def _both(followed: Followed, name: str) -> tuple[Entry, Doc] | None:
    entry, doc = followed.entries.get(name), followed.doc(name)
    return None if entry is None or doc is None else (entry, doc)
