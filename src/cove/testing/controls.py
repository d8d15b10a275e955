"""Controls: what only an embedded cluster lets a test do — make things go wrong, and time pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from cove.testing.place import NotHereError
from cove.testing.values import unwrap

if TYPE_CHECKING:
    from cove.engines._running import Running
    from cove.server.faults import Fault as ServerFault
    from cove.testing.place import Place

__all__ = ["Clock", "Fault", "Faults", "NotHereError"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

# As people say it: one verb, one resource, what the status is.
_PLURALS = {
    "verb": "verbs",
    "resource": "resources",
    "namespace": "namespaces",
    "name": "names",
    "user": "users",
    "agent": "agents",
    "path": "paths",
    "times": "count",
}


def running_of(place: Place, what: str) -> Running:
    """The cluster in this process; NotHereError where it is none."""
    if place.running is None:
        raise NotHereError(f"{what} need the embedded engine; {place.name} is {place.engine}")
    return place.running


class Fault:
    """Something that goes wrong; over when it is lifted, left as a context, or with the test."""

    def __init__(self, place: Place, fault: ServerFault) -> None:
        self._place, self._fault = place, fault

    @property
    def hits(self) -> int:
        """How many requests it struck."""
        return self._fault.hits

    @property
    def seen(self) -> int:
        """How many requests it is about there were."""
        return self._fault.seen

    def lift(self) -> None:
        """Take it back."""
        self._place.bridge.do(self._fault.lift)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.lift()


class Faults:
    """What is to go wrong: the fixture ``faults``::

        faults.add(verb="create", resource="pods", status=429, retry_after=1, times=3)

    Every method takes ``verb``, ``resource``, ``namespace``, ``name``, ``user``, ``agent``, ``path``,
    each one or several, ``rate``, ``times`` and ``skip``: see :class:`cove.server.faults.Faults`.
    The cluster's own controllers are not struck unless ``user`` says so.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._running = running_of(place, "faults")

    def add(
        self, status: int = 500, message: str = "", *, retry_after: int = 0, **match: Any
    ) -> Fault:
        """Requests are refused with ``status`` (400–599); ``retry_after`` in seconds, 0: none."""
        match = _match(match)
        after = bool(match.pop("after", False))
        return self._added(
            f"{status} to {_about(match)}",
            lambda: self._running.faults.error(
                status, message, retry_after=retry_after, after=after, **match
            ),
        )

    error = add

    def latency(self, seconds: float, *, jitter: float = 0.0, **match: Any) -> Fault:
        """Requests wait, by the cluster's clock."""
        match = _match(match)
        return self._added(
            f"{seconds:g} s of latency for {_about(match)}",
            lambda: self._running.faults.latency(seconds, jitter=jitter, **match),
        )

    def hang(self, **match: Any) -> Fault:
        """Requests are not answered before it is lifted."""
        match = _match(match)
        return self._added(
            f"no answer to {_about(match)}", lambda: self._running.faults.hang(**match)
        )

    def reset(self, *, after: bool = False, **match: Any) -> Fault:
        """Connections are reset in place of an answer; ``after``: once the request was done."""
        match = _match(match)
        return self._added(
            f"resets of {_about(match)}", lambda: self._running.faults.reset(after=after, **match)
        )

    def drop_watches(
        self, *, events: int = 0, status: int = 0, cut: bool = False, **match: Any
    ) -> Fault:
        """Watches opened from now on end after ``events``, with ``status`` (410) or a reset."""
        match = _match(match)
        return self._added(
            f"dropped watches of {_about(match)}",
            lambda: self._running.faults.drop_watches(events=events, code=status, cut=cut, **match),
        )

    def disconnect(self, resource: str = "") -> None:
        """End the open watches of a resource (``pods``), "" for all."""
        self._note(f"ended the watches of {resource or 'everything'}")
        self._place.bridge.do(lambda: self._running.faults.disconnect(resource))

    def compact(self) -> None:
        """Forget the past: every earlier resource version is answered 410 from now on."""
        self._note("forgot the past")
        self._place.bridge.do(self._running.faults.compact)

    def restart(self) -> None:
        """Restart the API server as its clients see it: watches end, and have to list again."""
        self._note("restarted the server")

        def restart() -> None:
            self._running.faults.compact()
            self._running.faults.disconnect()

        self._place.bridge.do(restart)

    def clear(self) -> None:
        """Lift all of them."""
        self._place.bridge.do(self._running.faults.clear)

    def _added(self, title: str, make: Callable[[], ServerFault]) -> Fault:
        fault = Fault(self._place, self._place.bridge.do(make))
        self._note(title)
        return fault

    def _note(self, title: str) -> None:
        if self._place.timeline is not None:
            self._place.timeline.note("fault", title)


def _match(given: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for key, value in given.items():
        made[_PLURALS.get(key, key)] = unwrap(value)
    return made


def _about(match: dict[str, Any]) -> str:
    verbs, resources = match.get("verbs", "every request"), match.get("resources", "")
    words = [w if isinstance(w, str) else "/".join(w) for w in (verbs, resources) if w]
    times = f", {match['count']}×" if match.get("count") else ""
    return " ".join(words) + times


class Clock:
    """The cluster's clock: the fixture ``clock``.  It runs, and can be put forward."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._running = running_of(place, "clocks")

    def now(self) -> datetime:
        """The cluster's time, UTC."""
        return self._running.clock.now()

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Put it forward: what falls due on the way has happened, in order, when this returns.

        Raises ValueError for a negative time.
        """
        self._place.bridge.call(self._advance(days, hours, minutes, seconds))

    async def advance_async(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """The same, to be awaited on any event loop."""
        await self._place.bridge.wait(self._advance(days, hours, minutes, seconds))

    async def _advance(self, days: float, hours: float, minutes: float, seconds: float) -> None:
        by = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if self._place.timeline is not None:
            self._place.timeline.note("clock", f"advanced by {by}")
        await self._running.clock.advance(by.total_seconds())
