"""The scheduler's queue: pods to place, pods that wait for a delay or for something to change.

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/scheduler/backend/queue
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from cove.client import Clock
from cove.client.meta import key_of

__all__ = ["PLUGINS_OF", "SchedulingQueue"]

Doc = dict[str, Any]

# Seconds before a pod that found no node is tried again on an event, doubled each time,
# and without any event.
BACKOFF = 1.0
BACKOFF_LIMIT = 10.0
FLUSH = 300.0

# What happened → whose "no" it may turn into a "yes".
_CLAIMS = ("VolumeBinding", "VolumeRestrictions", "VolumeZone", "NodeVolumeLimits")
PLUGINS_OF: dict[str, frozenset[str]] = {
    "pod placed": frozenset(("InterPodAffinity", "PodTopologySpread")),
    "pod gone": frozenset(
        (
            "InterPodAffinity",
            "NodePorts",
            "NodeResourcesFit",
            "NodeVolumeLimits",
            "PodTopologySpread",
            "VolumeRestrictions",
        )
    ),
    "node gone": frozenset(("PodTopologySpread",)),
    "namespace": frozenset(("InterPodAffinity",)),
    "claim": frozenset(_CLAIMS),
    "volume": frozenset(_CLAIMS),
    "class": frozenset(_CLAIMS),
    "device claim": frozenset(("DynamicResources",)),
    "csi": frozenset(("NodeVolumeLimits", "VolumeBinding")),
}


class _Waiting:
    __slots__ = ("plugins", "since")

    def __init__(self, plugins: frozenset[str], since: float) -> None:
        self.plugins = plugins
        self.since = since


class SchedulingQueue:
    """Keys of pods, the most important first; ``later`` brings a key back to :meth:`ready`."""

    def __init__(self, clock: Clock, later: Callable[[str, float], None]) -> None:
        self._clock = clock
        self._later = later
        self._order = count()
        self._active: list[tuple[int, str, int, str]] = []
        self._queued: set[str] = set()
        self._unschedulable: dict[str, _Waiting] = {}
        # Something has changed for these since, but their delay is not over.
        self._backing_off: dict[str, Doc] = {}
        self._attempts: dict[str, int] = {}
        self._wake = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return len(self._active) + len(self._backing_off)

    def push(self, pod: Doc) -> None:
        """A pod is to be placed now."""
        key = key_of(pod)
        self._unschedulable.pop(key, None)
        self._backing_off.pop(key, None)
        if key in self._queued or self.closed:
            return
        self._queued.add(key)
        since = pod["metadata"].get("creationTimestamp") or ""
        rank = (-pod["spec"].get("priority", 0), since, next(self._order), key)
        heapq.heappush(self._active, rank)
        self._wake.set()

    async def pop(self) -> str:
        """The most important pod; of those that wait for a delay one only if there is no other."""
        while True:
            if self._active:
                key = heapq.heappop(self._active)[3]
                self._queued.discard(key)
                return key
            if self._backing_off:
                key = next(iter(self._backing_off))
                del self._backing_off[key]
                return key
            self._wake.clear()
            await self._wake.wait()

    def waits(self, key: str) -> bool:
        """Whether the pod waits for something to change."""
        return key in self._unschedulable

    def forget(self, key: str) -> None:
        """The pod has a node, or is gone."""
        self._unschedulable.pop(key, None)
        self._backing_off.pop(key, None)
        self._attempts.pop(key, None)

    def unschedulable(self, key: str, plugins: Iterable[str]) -> None:
        """The pod found no node because of these plugins."""
        self._attempts[key] = self._attempts.get(key, 0) + 1
        self._unschedulable[key] = _Waiting(frozenset(plugins), self._clock.monotonic())
        self._later(key, FLUSH)

    def failed(self, key: str) -> None:
        """An attempt went wrong for reasons that are not the pod's: try again later."""
        self._attempts[key] = self._attempts.get(key, 0) + 1
        self._later(key, self._delay(key))

    def _delay(self, key: str) -> float:
        return float(min(BACKOFF * 2.0 ** (self._attempts.get(key, 1) - 1), BACKOFF_LIMIT))

    def changed(self, event: str, find: Callable[[str], Doc | None]) -> None:
        """Something happened, a name out of PLUGINS_OF or any other for everything.

        Pods that it may help compete again, once their delay is over or nobody else does.
        """
        if not self._unschedulable:
            return
        plugins = PLUGINS_OF.get(event)
        now = self._clock.monotonic()
        for key, waiting in list(self._unschedulable.items()):
            if plugins is not None and not plugins & waiting.plugins:
                continue
            pod = find(key)
            if pod is None:
                del self._unschedulable[key]
                continue
            remaining = waiting.since + self._delay(key) - now
            if remaining <= 0:
                self.push(pod)
                continue
            del self._unschedulable[key]
            self._backing_off[key] = pod
            self._later(key, remaining)
            self._wake.set()
