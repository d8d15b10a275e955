"""WATCH: the events of a resource as a stream of JSON lines.

An event is encoded once per representation and shared by all watches; what a slow
client has not read waits in a bounded queue (:class:`~cove.server.store.Watcher`).

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import status as st
from cove.kube.status import StatusError
from cove.server.conversion import ConversionError
from cove.server.negotiate import Accepted, accept
from cove.server.options import ListOptions, list_options, parse_revision
from cove.server.request import Request, Response
from cove.server.store import Event, Expired, Stored, Watcher
from cove.server.verbs._render import partial, table, table_options
from cove.server.verbs._select import Matcher, matcher
from cove.server.verbs.list import too_large

if TYPE_CHECKING:
    from cove.client.clock import Clock, Timer
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["watch"]

log = logging.getLogger("cove.server")

BOOKMARK_INTERVAL = 60.0
# Upstream's --min-request-timeout: a watch without a time-out of its own ends after this
# many seconds, or up to twice as many.
DEFAULT_TIMEOUT = 1800
# Lines are joined up to about this size before they are handed to the connection.
CHUNK = 64 * 1024

WATCH_TYPES = (
    "application/json, application/yaml, application/vnd.kubernetes.protobuf, "
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
)


async def watch(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """The stream; everything that can be refused is refused before it starts."""
    try:
        accepted = accept(request.headers.get("Accept") or "")
    except StatusError as e:
        raise StatusError(
            406,
            "NotAcceptable",
            e.message.replace(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
                WATCH_TYPES,
            ),
            e.details,
        ) from e
    if accepted.transform == "Table":
        table_options(request)
    options = list_options(request, watch=True)
    test = matcher(endpoint, options)
    revision = parse_revision(options.resource_version, listed=False)
    if accepted.transform == "PartialObjectMetadataList":
        # An event is no list: upstream starts the stream and ends it at the first one.
        return Response(200, stream=_ended(), content_type=accepted.media)
    stream = _Stream(api, request, endpoint, options, accepted, test, revision)
    return Response(200, stream=stream.run(), content_type=accepted.media)


async def _ended() -> AsyncIterator[bytes]:
    """A stream that is over before it gave anything."""
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


# (type, object, the event it is of); without an object: the revision of the bookmark that ends
# the initial events.
Told = tuple[str, Stored | None, Event | None]


class _Stream:
    """One open watch."""

    def __init__(
        self,
        api: Api,
        request: Request,
        endpoint: Endpoint,
        options: ListOptions,
        accepted: Accepted,
        test: Matcher | None,
        revision: int,
    ) -> None:
        self.api = api
        self.request = request
        self.endpoint = endpoint
        self.options = options
        self.accepted = accepted
        self.test = test
        self.revision = revision
        info = request.info
        # Upstream's deprecated /watch/ paths may name one object.
        self.namespace = info.namespace if endpoint.namespaced else ""
        self.name = info.name
        self.columns_sent = False
        self.key = (endpoint.kind_name, endpoint.api_version)

    async def run(self) -> AsyncIterator[bytes]:
        """The stream's chunks, until the time-out, the store or the reader ends it."""
        api, store, storage = self.api, self.api.store, self.endpoint.storage
        watcher = Watcher(inside=self.request.upgrade is None)
        alarm: _Alarm | None = None
        try:
            backlog = self._open(watcher)
        except StatusError as e:
            yield _line("ERROR", orjson.dumps(e.body))
            return
        try:
            if self.endpoint.converts:
                backlog = await self._converted(backlog)
            if backlog:
                for chunk in _chunks([self._encode(*told) for told in backlog]):
                    yield chunk
            del backlog
            timeout = self.options.timeout
            if not timeout or timeout < 0:
                timeout = DEFAULT_TIMEOUT + api.config.rng.randrange(DEFAULT_TIMEOUT)
            clock = api.config.clock
            alarm = _Alarm(clock, watcher)
            bookmark = clock.monotonic() + BOOKMARK_INTERVAL
            end = bookmark - BOOKMARK_INTERVAL + timeout
            while True:
                now = clock.monotonic()
                # Looked at before what there is to tell: there may always be something.
                if now >= end:
                    return
                # A bookmark says that everything up to it was told.
                if now >= bookmark and not watcher.waiting:
                    bookmark = now + BOOKMARK_INTERVAL
                    if self.options.bookmarks:
                        yield self._bookmark(store.durable_revision)
                alarm.set(min(end, bookmark), now)
                if not await watcher.wait(None, clock):
                    continue
                news = [told for event in watcher.drain() if (told := self._event(event))]
                if self.endpoint.converts:
                    news = await self._converted(news)
                for chunk in _chunks([self._encode(*told) for told in news]):
                    yield chunk
                if watcher.closed:
                    if watcher.overrun:
                        yield _line(
                            "ERROR",
                            orjson.dumps(st.expired("too slow: the watch's queue overflowed").body),
                        )
                    return
        except ConversionError as e:
            # As upstream: an event that cannot be told is the end of the stream.
            log.warning("a watch of %s ends: %s", self.endpoint.plural, e)
        finally:
            if alarm is not None:
                alarm.cancel()
            store.unsubscribe(storage, watcher)

    async def _converted(self, news: list[Told]) -> list[Told]:
        """What there is to tell in the version that is watched; raises ConversionError."""
        objects = await self.endpoint.shown(
            self.api, [stored for _, stored, _ in news if stored is not None]
        )
        shown = iter(objects)
        return [(t, s if s is None else next(shown), event) for t, s, event in news]

    def _open(self, watcher: Watcher) -> list[Told]:
        """Subscribe, and what has to be sent before new events."""
        store, endpoint, options = self.api.store, self.endpoint, self.options
        asked = options.resource_version
        current = store.durable_revision
        state = store.at(current)
        initial = options.initial_events
        if initial is None:
            initial = asked in ("", "0")
        if self.revision > store.revision:
            raise too_large(self.revision, store.revision)
        lines: list[Told] = []
        if initial:
            namespace = self.namespace or None
            for stored in state.list(endpoint.storage, namespace):
                if self._selects(stored):
                    lines.append(("ADDED", stored, None))
            if options.initial_events and options.bookmarks:
                lines.append((str(current), None, None))
        elif asked not in ("", "0"):
            try:
                events = store.since(self.revision, endpoint.storage)
            except Expired as e:
                raise st.expired(f"too old resource version: {self.revision} ({e.oldest})") from e
            lines.extend([line for event in events if (line := self._event(event))])
        store.subscribe(endpoint.storage, watcher)
        return lines

    def _selects(self, stored: Stored) -> bool:
        if self.namespace and stored.namespace != self.namespace:
            return False
        if self.name and stored.name != self.name:
            return False
        return self.test is None or self.test(stored)

    def _event(self, event: Event) -> Told | None:
        """What an event is to this watch, None if it does not concern this watch.

        An object that starts or stops matching a selector is ADDED or DELETED to it.
        """
        stored, type_ = event.object, event.type
        if self.namespace and stored.namespace != self.namespace:
            return None
        if self.name and stored.name != self.name:
            return None
        test = self.test
        if test is not None:
            if type_ == "MODIFIED":
                previous = event.previous
                before = previous is not None and test(previous)
                if test(stored):
                    type_ = "MODIFIED" if before else "ADDED"
                elif before and previous is not None:
                    # Told in its last matching form, at the revision of the change.
                    return "DELETED", _at(previous, event.revision), None
                else:
                    return None
            elif not test(stored):
                return None
        return type_, stored, event

    def _encode(self, type_: str, stored: Stored | None, event: Event | None) -> bytes:
        endpoint = self.endpoint
        if stored is None:
            return self._bookmark(int(type_), initial_end=True)
        transform = self.accepted.transform
        if not transform:
            if event is None:
                return _line(type_, endpoint.render(stored.data))
            return self.api.store.rendered(
                event,
                (type_, *self.key),
                lambda: _line(type_, endpoint.render(stored.data)),
            )
        obj = endpoint.load(stored.data)
        if transform == "Table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            doc = table(
                self.api,
                self.request,
                endpoint,
                self.accepted.version,
                [obj],
                meta,
                columns=not self.columns_sent,
            )
            self.columns_sent = True
        else:
            doc = partial(obj, self.accepted.version, endpoint.kind.versioned_annotations)
        return _line(type_, orjson.dumps(doc))

    def _bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if not self.accepted.transform:
            meta["creationTimestamp"] = None
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        doc: dict[str, Any] = {
            "kind": self.endpoint.kind_name,
            "apiVersion": self.endpoint.api_version,
            "metadata": meta,
        }
        if self.accepted.transform == "Table":
            doc = table(
                self.api,
                self.request,
                self.endpoint,
                self.accepted.version,
                [],
                meta,
                columns=not self.columns_sent,
            )
        elif self.accepted.transform:
            doc = partial(doc, self.accepted.version)
        return _line("BOOKMARK", orjson.dumps(doc))


class _Alarm:
    """Wakes a watcher at a time: one timer until then, not one for every event that comes before."""

    __slots__ = ("_clock", "_due", "_timer", "_watcher")

    def __init__(self, clock: Clock, watcher: Watcher) -> None:
        self._clock = clock
        self._watcher = watcher
        self._timer: Timer | None = None
        self._due = 0.0

    def set(self, due: float, now: float) -> None:
        """Ring at ``due`` of the clock's monotonic time, of which ``now`` is this moment."""
        if self._timer is None or due != self._due:
            self.cancel()
            self._due = due
            self._timer = self._clock.call_later(due - now, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._watcher.wake()

    def cancel(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _at(stored: Stored, revision: int) -> Stored:
    """The object with the resource version of a later event."""
    doc = orjson.loads(stored.data)
    doc["metadata"]["resourceVersion"] = str(revision)
    return Stored(
        stored.namespace,
        stored.name,
        stored.uid,
        revision,
        orjson.dumps(doc),
        stored.labels,
        stored.fields,
    )


def _line(type_: str, document: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), document)


def _chunks(lines: list[bytes]) -> list[bytes]:
    """Lines joined so that a burst costs few writes."""
    out: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= CHUNK:
            out.append(b"".join(batch))
            batch, size = [], 0
    if batch:
        out.append(b"".join(batch))
    return out
