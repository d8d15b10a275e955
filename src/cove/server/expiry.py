"""Events end: an hour after they were last written they are deleted.

Upstream leases them from etcd for ``--event-ttl``, 1h unless told otherwise.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cove.kube.times import TimeError, parse_time
from cove.server.verbs._write import remove

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["EVENT_TTL", "EventExpiry"]

EVENT_TTL = timedelta(hours=1)
# How often is looked, in seconds: so much later than due an event may end.
INTERVAL = 60.0
EVENTS = "events"


class EventExpiry:
    """Deletes old events of one Api as long as :meth:`run` does."""

    def __init__(self, api: Api, ttl: timedelta = EVENT_TTL) -> None:
        self._api = api
        self._ttl = ttl
        # uid → the revision that was looked at and when it ends.
        self._due: dict[str, tuple[int, datetime]] = {}

    async def run(self) -> None:
        """Look now and then until cancelled."""
        while True:
            await self._api.config.clock.sleep(INTERVAL)
            self.sweep()

    def sweep(self) -> None:
        """Delete what is due now."""
        api = self._api
        endpoint = api.registry.builtin("", "v1", EVENTS)
        assert endpoint is not None
        now = api.now()
        known, self._due = self._due, {}
        for stored in api.store.state.list(EVENTS):
            revision, due = known.get(stored.uid, (0, now))
            if revision != stored.revision:
                due = self._last(endpoint.load(stored.data), now) + self._ttl
            if due <= now:
                remove(api, endpoint, endpoint.load(stored.data))
            else:
                self._due[stored.uid] = (stored.revision, due)

    @staticmethod
    def _last(event: dict[str, Any], now: datetime) -> datetime:
        """When it was last written, as far as it says so itself."""
        told = (
            (event.get("series") or {}).get("lastObservedTime"),
            event.get("lastTimestamp"),
            event.get("eventTime"),
            event["metadata"].get("creationTimestamp"),
        )
        times = []
        for text in told:
            try:
                if text:
                    times.append(parse_time(text))
            except (TimeError, ValueError):
                continue
        # A time that is yet to come would keep it for ever.
        return min(max(times, default=now), now)
