"""Recorder: tells what happened to an object as Events.

Like upstream's, it never delays its caller: events wait in a bounded queue, similar ones
are counted up instead of repeated, and an object that has too much to tell is muted.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from cove.client._tasks import Tasks
from cove.client.clock import Clock, SystemClock
from cove.client.errors import UnreachableError
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.kube.times import format_time

if TYPE_CHECKING:
    from cove.client._client import Client

__all__ = ["Recorder", "reference"]

log = logging.getLogger("cove.client")

EVENTS = GVR("", "v1", "events")
# client-go's: how many events may wait, how many are remembered for counting up, and the
# burst and refill (one per 5 minutes) of the events of one object.
QUEUE = 1000
REMEMBERED = 4096
BURST = 25
REFILL = 300.0

Doc = dict[str, Any]


def reference(obj: Doc, api_version: str, kind: str) -> Doc:
    """An ObjectReference: what an event is about."""
    metadata = obj["metadata"]
    out: Doc = {"kind": kind, "apiVersion": api_version, "name": metadata["name"]}
    for key in ("namespace", "uid", "resourceVersion"):
        if metadata.get(key):
            out[key] = metadata[key]
    return out


class Recorder:
    """Writes events for one component; leaving it drops what still waits."""

    def __init__(
        self, client: Client, component: str, *, host: str = "", clock: Clock | None = None
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock or SystemClock()
        self._waiting: deque[tuple[Doc, str, str, str]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._known: OrderedDict[tuple[str, ...], tuple[str, str, int]] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._last = 0
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        self._tasks.start(f"events of {self._component}", self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()

    @property
    def quiet(self) -> bool:
        """Whether no event waits to be written."""
        return not self._waiting

    def event(self, involved: Doc, type: str, reason: str, message: str) -> None:
        """Tell: ``type`` is Normal or Warning, ``involved`` what :func:`reference` gives.

        Past the queue's bound the event is dropped.
        """
        if len(self._waiting) >= QUEUE or not self._allowed(involved):
            return
        self._waiting.append((involved, type, reason, message))
        self._idle.clear()
        self._wake.set()

    async def written(self) -> None:
        """Return when all that was told has been written, or given up."""
        await self._idle.wait()

    def _allowed(self, involved: Doc) -> bool:
        """The spam filter: a token bucket per object."""
        key = involved.get("uid") or involved["name"]
        now = self._clock.monotonic()
        tokens, since = self._tokens.pop(key, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - since) / REFILL)
        allowed = tokens >= 1.0
        self._tokens[key] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._tokens) > REMEMBERED:
            self._tokens.popitem(last=False)
        return allowed

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                # Events are the least urgent of all writes: others go first.
                await asyncio.sleep(0)
                try:
                    await self._write(*self._waiting.popleft())
                except (StatusError, UnreachableError) as e:
                    # Also what happens to events of a namespace that is going away.
                    log.debug("an event was not written: %s", e)
            self._idle.set()

    async def _write(self, involved: Doc, type: str, reason: str, message: str) -> None:
        now = self._clock.now()
        stamp = format_time(now)
        namespace = involved.get("namespace") or "default"
        key = (involved.get("uid", ""), involved["name"], type, reason, message)
        known = self._known.pop(key, None)
        if known is not None:
            name, first, count = known
            try:
                await self._client.patch(
                    EVENTS,
                    name,
                    {"count": count + 1, "lastTimestamp": stamp},
                    namespace,
                    type="strategic",
                )
            except StatusError as e:
                if e.code != 404:
                    raise
            else:
                self._remember(key, (name, first, count + 1))
                return
        name = f"{involved['name']}.{self._stamp(now):x}"
        source = {"component": self._component}
        if self._host:
            source["host"] = self._host
        await self._client.create(
            EVENTS,
            {
                "kind": "Event",
                "apiVersion": "v1",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": involved,
                "reason": reason,
                "message": message,
                "source": source,
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
                "type": type,
                "reportingComponent": self._component,
                "reportingInstance": self._host,
            },
            namespace,
        )
        self._remember(key, (name, stamp, 1))

    def _stamp(self, now: datetime) -> int:
        """Nanoseconds for a name, no two alike: clocks may stand still."""
        self._last = max(int(now.timestamp() * 1e6) * 1000, self._last + 1)
        return self._last

    def _remember(self, key: tuple[str, ...], value: tuple[str, str, int]) -> None:
        self._known[key] = value
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
