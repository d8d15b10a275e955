"""Informer: a collection kept in memory, and who is told of its changes.

It lists, then watches from the list's resource version on.  A watch that ends is resumed
where it was; when that is too far back (410) the collection is listed again and the
difference told, so that a handler sees every change of state, if not every event.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, Self

import orjson

from cove.client._sharing import Sharing
from cove.client._tasks import Tasks
from cove.client.clock import Clock, SystemClock, deadline
from cove.client.errors import ClientError
from cove.client.meta import key_of
from cove.kube.gvk import GVR
from cove.kube.labels import Selector
from cove.kube.status import StatusError

if TYPE_CHECKING:
    from cove.client._client import Client, WatchEvent

__all__ = [
    "Backoff",
    "Handler",
    "Index",
    "Informer",
    "Informers",
    "by_controller",
    "by_owner",
    "strip",
]

log = logging.getLogger("cove.client")

Doc = dict[str, Any]
Docs = list[Doc]
Index = Callable[[Doc], Iterable[str]]
_NONE: dict[str, Any] = {}
# Seconds that a watch is asked to last, at least; up to twice as long, so that not all end at
# once.  client-go's.
WATCH_TIMEOUT = 300.0
# Seconds that a server may take longer until its silence is taken for its end.
GRACE = 30.0
# Objects of a page, where what is kept is compact.
PAGE = 500
# Jitter of whoever brings no source of their own: to seed one takes longer than to list.
_RNG = random.Random()
_FAULT = "a handler of %s failed"


def _as_it_is(obj: Doc) -> Doc:
    return obj


def _encoded(obj: Doc) -> bytes:
    # A copy: what orjson gives keeps the buffer that it was written in, some kilobytes.
    return bytes(memoryview(orjson.dumps(obj)))


class Handler(Protocol):
    """Who is told; on the event loop's thread, in order.  Must not change the objects.

    ``old`` None: the object is new (``initial``: it was there at the first list); ``new``
    None: it is gone, ``old`` is what was last known of it.
    """

    def __call__(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None: ...


def by_owner(obj: Doc) -> Iterable[str]:
    """Index by the uids of all owners."""
    return [o["uid"] for o in obj["metadata"].get("ownerReferences", ())]


def by_controller(obj: Doc) -> Iterable[str]:
    """Index by the controlling owner's uid, "" for objects without one."""
    for owner in obj["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return (owner["uid"],)
    return ("",)


def strip(obj: Doc) -> Doc:
    """A transform that drops managedFields: half of an object's size, and few want them."""
    obj["metadata"].pop("managedFields", None)
    return obj


class Backoff:
    """Delays between attempts: ``base`` seconds doubled up to ``limit``, ±50 % of jitter.

    client-go's reflectors: 0.8 s up to 30 s.
    """

    def __init__(
        self, base: float = 0.8, limit: float = 30.0, rng: random.Random | None = None
    ) -> None:
        self._base, self._limit = base, limit
        self._rng = rng or _RNG
        self._next = base

    def reset(self) -> None:
        """The last attempt was good."""
        self._next = self._base

    def delay(self) -> float:
        """Seconds to wait now."""
        delay = self._next * (0.5 + self._rng.random())
        self._next = min(self._next * 2, self._limit)
        return delay


class Informer:
    """One collection in memory.  Run it by ``async with``, or through :class:`Informers`.

    ``transform`` changes every object before it is kept (it gets a document of its own);
    ``metadata_only`` fetches no spec and status.  ``indexes`` name functions from an
    object to the values it is found under.  ``compact`` keeps objects as JSON and decodes them
    when they are read, each time anew: a tenth of the memory, some microseconds a read.
    ``watch_timeout`` is how many seconds a watch lasts at least, and half of what it lasts at
    most; one that has not ended by then is taken for dead, and another opened.
    """

    def __init__(
        self,
        client: Client,
        gvr: GVR,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        transform: Callable[[Doc], Doc] | None = strip,
        page_size: int = 0,
        compact: bool = False,
        watch_timeout: float = WATCH_TIMEOUT,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.client = client
        self.gvr = gvr
        self.namespace = namespace
        self.label_selector = label_selector
        self.field_selector = field_selector
        self.metadata_only = metadata_only
        self.resource_version = ""
        self.synced = asyncio.Event()
        # Why the server cannot be followed now; None while it is, and before the first try.
        # A watch that breaks is none: that it cannot be opened again is.
        self.problem: StatusError | ClientError | None = None
        # Since when, by the clock's monotonic time.
        self.problem_since: float | None = None
        # Whether a watch is open at this moment; between two of them changes are not seen.
        self.following = False
        # How many events there were, bookmarks not counted, and how many watches were opened.
        self.events = 0
        self.watches = 0
        self._state_handlers: list[Callable[[], None]] = []
        self._following = False
        self._transform = transform
        self._page_size = page_size
        self._compact = compact
        self._watch_timeout = watch_timeout
        self._clock = clock or SystemClock()
        self._backoff = backoff or Backoff()
        self._rng = rng or _RNG
        # Documents, or their JSON.
        self._objects: dict[str, Any] = {}
        self._namespaces: dict[str, dict[str, Any]] = {}
        self._indexes: dict[str, tuple[Index, dict[str, dict[str, Any]]]] = {}
        self._handlers: list[Handler] = []
        self._tasks = Tasks()
        self._listed = False

    @property
    def name(self) -> str:
        """For messages: ``deployments.apps``."""
        return f"{self.gvr.resource}.{self.gvr.group}" if self.gvr.group else self.gvr.resource

    # -- reading

    def get(self, namespace: str | None, name: str) -> Doc | None:
        """The object, not to be changed, or None."""
        return self.get_key(f"{namespace}/{name}" if namespace else name)

    def get_key(self, key: str) -> Doc | None:
        """The object under ``namespace/name`` or ``name``."""
        kept = self._objects.get(key)
        return None if kept is None else self._out(kept)

    def _in(self, obj: Doc) -> Any:
        """An object as it is kept."""
        return _encoded(obj) if self._compact else obj

    def _out(self, kept: Any) -> Doc:
        """What is kept as an object."""
        return orjson.loads(kept) if self._compact else kept  # type: ignore[no-any-return]

    def list(self, namespace: str | None = None, selector: Selector | None = None) -> list[Doc]:
        """The objects, in no order; ``namespace`` None means all of them."""
        source = self._objects if namespace is None else self._namespaces.get(namespace, _NONE)
        found = [self._out(kept) for kept in source.values()] if self._compact else source.values()
        if selector is None or selector.empty:
            return list(found)
        return [o for o in found if selector.matches(o["metadata"].get("labels"))]

    def keys(self) -> Iterable[str]:
        """``namespace/name`` or ``name`` of all objects."""
        return self._objects.keys()

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Doc]:
        return iter(self.list())

    def indexed(self, index: str, value: str) -> Docs:
        """The objects that index ``index`` puts under ``value``."""
        return [self._out(kept) for kept in self._indexes[index][1].get(value, _NONE).values()]

    def count(self, index: str, value: str) -> int:
        """How many objects there are under ``value``."""
        return len(self._indexes[index][1].get(value, _NONE))

    def add_index(self, name: str, function: Index) -> None:
        """Index by ``function`` from now on; what is there is indexed at once.

        A name that exists already is kept: who shares an informer shares its indexes.
        """
        if name in self._indexes:
            return
        table: dict[str, dict[str, Doc]] = {}
        self._indexes[name] = (function, table)
        for key, kept in self._objects.items():
            for value in function(self._out(kept)):
                table.setdefault(value, {})[key] = kept

    def add_handler(self, handler: Handler) -> None:
        """Tell ``handler`` of every change, and first of what is there, if anything."""
        self._handlers.append(handler)
        for kept in tuple(self._objects.values()):
            self._call(handler, None, self._out(kept), initial=True)

    def remove_handler(self, handler: Handler) -> None:
        """Tell ``handler`` no more."""
        self._handlers.remove(handler)

    def add_state_handler(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` when :attr:`problem` has changed, and with the first list."""
        self._state_handlers.append(handler)

    def _note(self, problem: StatusError | ClientError | None) -> None:
        if str(problem) == str(self.problem):
            return
        if problem is None or self.problem_since is None:
            self.problem_since = None if problem is None else self._clock.monotonic()
        self.problem = problem
        self._tell_state()

    def _tell_state(self) -> None:
        for handler in self._state_handlers:
            handler()

    # -- running

    async def __aenter__(self) -> Self:
        self.start(self._tasks)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()

    def start(self, tasks: Tasks) -> None:
        """Run under an owner of tasks."""
        tasks.start(f"informer of {self.name}", self.run())

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            self._following = False
            try:
                if not self.resource_version:
                    await self._list()
                if await self._watch():
                    self._backoff.reset()
                    continue
            except StatusError as e:
                if e.code == 410:
                    log.debug("%s: listing again: %s", self.name, e)
                    fresh = bool(self.resource_version)
                    self.resource_version = ""
                    if fresh:
                        continue
                elif e.code == 404 and self.resource_version:
                    # The resource itself is gone (its CRD was deleted), and so are its objects.
                    self.resource_version = ""
                    self._replace([])
                else:
                    level = logging.DEBUG if e.code in (404, 429, 503, 504) else logging.WARNING
                    log.log(level, "%s: %s", self.name, e)
                    if not self._following:
                        self._note(e)
            except ClientError as e:
                # Credentials that cannot be had now are no reason to give up, either.
                log.info("%s: %s", self.name, e)
                if not self._following:
                    self._note(e)
            await self._clock.sleep(self._backoff.delay())

    async def _list(self) -> None:
        # "0": whatever the server has at hand; after a 410 it has to be the latest.
        version = "" if self._listed or self._page_size or self._compact else "0"
        if self._compact:
            self._replace(await self._pages())
        else:
            result = await self.client.list(
                self.gvr,
                self.namespace,
                label_selector=self.label_selector,
                field_selector=self.field_selector,
                resource_version=version,
                page_size=self._page_size,
                metadata_only=self.metadata_only,
            )
            self._replace(result.items)
            self.resource_version = result.resource_version
        self._listed = True
        if not self.synced.is_set():
            self.synced.set()
            self._tell_state()

    async def _pages(self) -> Iterator[Doc]:
        """The collection page by page, none of which is there as documents for long."""
        kept: list[bytes] = []
        version = ""
        async for page in self.client.pages(
            self.gvr,
            self.namespace,
            page_size=self._page_size or PAGE,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            metadata_only=self.metadata_only,
        ):
            version = version or page.resource_version
            transform = self._transform or _as_it_is
            kept += [_encoded(transform(obj)) for obj in page.items]
        self.resource_version = version
        kept.reverse()
        # Each is let go of as it is taken.
        return (orjson.loads(kept.pop()) for _ in range(len(kept)))

    async def _watch(self) -> bool:
        """Follow the changes until the watch ends; False if it ended at once and empty."""
        started = self._clock.monotonic()
        version = self.resource_version
        seconds = math.ceil(self._watch_timeout * (1 + self._rng.random()))
        try:
            # A server that is gone without a word neither tells events nor ends the watch.
            async with deadline(self._clock, seconds + GRACE):
                await self._follow(seconds)
        except TimeoutError:
            log.warning("%s: a watch did not end in %d s: another is opened", self.name, seconds)
        return self.resource_version != version or self._clock.monotonic() - started >= 1.0

    async def _follow(self, seconds: int) -> None:
        async with self.client.watch_batches(
            self.gvr,
            self.namespace,
            resource_version=self.resource_version,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            timeout_seconds=seconds,
            metadata_only=self.metadata_only,
        ) as batches:
            self.watches += 1
            self._following = self.following = True
            self._note(None)
            try:
                async for batch in batches:
                    self._apply(batch)
            finally:
                self.following = False

    def _apply(self, batch: Iterable[WatchEvent]) -> None:
        for type_, obj in batch:
            metadata = obj["metadata"]
            if type_ != "BOOKMARK":
                self.events += 1
                if self._transform is not None:
                    obj = self._transform(obj)
                if type_ == "DELETED":
                    self._remove(key_of(obj), obj)
                else:
                    self._put(key_of(obj), obj)
            self.resource_version = metadata["resourceVersion"]

    def _replace(self, items: Iterable[Doc]) -> None:
        """Make ``items`` the content, telling the difference."""
        initial = not self._listed
        keys = set()
        for obj in items:
            if self._transform is not None:
                obj = self._transform(obj)
            key = key_of(obj)
            keys.add(key)
            known = self.get_key(key)
            if known is None:
                self._put(key, obj, initial=initial)
            elif known["metadata"].get("uid") != obj["metadata"].get("uid"):
                # Another object under the same name: the first one's end went unseen.
                self._remove(key, known)
                self._put(key, obj)
            elif known["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
                self._put(key, obj)
        for key in self._objects.keys() - keys:
            self._remove(key, self._out(self._objects[key]))

    def _put(self, key: str, obj: Doc, *, initial: bool = False) -> None:
        old = self.get_key(key)
        kept = self._objects[key] = self._in(obj)
        namespace = obj["metadata"].get("namespace")
        if namespace:
            names = self._namespaces.get(namespace)
            if names is None:
                names = self._namespaces[namespace] = {}
            names[key] = kept
        for function, table in self._indexes.values():
            values = function(obj)
            if old is not None:
                _unindex(table, key, function(old), values)
            for value in values:
                entries = table.get(value)
                if entries is None:
                    entries = table[value] = {}
                entries[key] = kept
        for handler in self._handlers:
            # As _call, which costs as much as most handlers do.
            try:
                handler(old, obj, initial=initial)
            except Exception:
                log.exception(_FAULT, self.name)

    def _remove(self, key: str, last: Doc) -> None:
        stored = self._objects.pop(key, None)
        if stored is None:
            return
        old = self._out(stored)
        namespace = old["metadata"].get("namespace")
        if namespace:
            names = self._namespaces[namespace]
            del names[key]
            if not names:
                del self._namespaces[namespace]
        for function, table in self._indexes.values():
            _unindex(table, key, function(old), ())
        for handler in self._handlers:
            self._call(handler, last, None, initial=False)

    def _call(self, handler: Handler, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        try:
            handler(old, new, initial=initial)
        except Exception:
            # One handler's fault is not the others': they share this informer.
            log.exception(_FAULT, self.name)


def _unindex(
    table: dict[str, dict[str, Doc]], key: str, values: Iterable[str], kept: Iterable[str]
) -> None:
    for value in values:
        if value in kept:
            continue
        entries = table.get(value)
        if entries is not None:
            entries.pop(key, None)
            if not entries:
                del table[value]


class Informers:
    """Informers shared by all who want the same collection: one list, one watch, one copy.

    ``transform`` changes every object before it is kept; :class:`Sharing`, the default,
    also shares what objects have in common; ``compact`` keeps them as JSON instead.  Leaving
    it stops and awaits them all.
    """

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock | None = None,
        transform: Callable[[Doc], Doc] | None = None,
        compact: bool = False,
        watch_timeout: float = WATCH_TIMEOUT,
    ) -> None:
        self.client = client
        self.clock = clock or SystemClock()
        self._transform = transform or (strip if compact else Sharing())
        self._compact = compact
        self._watch_timeout = watch_timeout
        self._informers: dict[tuple[Any, ...], tuple[Informer, Tasks]] = {}
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*(tasks.close() for _, tasks in self._informers.values()))

    def informer(
        self,
        gvr: GVR,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> Informer:
        """The shared informer, started with the first who asks for it.

        Who only needs metadata gets the whole objects where somebody else has them.
        """
        key = (gvr, namespace, label_selector, field_selector)
        found = self._informers.get((*key, False))
        if found is None and metadata_only:
            found = self._informers.get((*key, True))
        if found is not None:
            return found[0]
        informer = Informer(
            self.client,
            gvr,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
            transform=self._transform,
            compact=self._compact,
            watch_timeout=self._watch_timeout,
            clock=self.clock,
        )
        tasks = Tasks()
        self._informers[(*key, metadata_only)] = (informer, tasks)
        informer.start(tasks)
        return informer

    async def stop(self, informer: Informer) -> None:
        """Stop one informer; whoever asks for its collection next gets a new one."""
        for key, (known, tasks) in tuple(self._informers.items()):
            if known is informer:
                del self._informers[key]
                await tasks.close()

    async def synced(self) -> None:
        """Return when every informer asked for so far has listed its collection."""
        for informer, _ in tuple(self._informers.values()):
            await informer.synced.wait()
