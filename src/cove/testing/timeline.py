"""Timeline: what happened in one test, in order, as plain data.

Events are of three sorts: a :class:`Call` is a request to the cluster, an
:class:`Assertion` a comparison that was made with something a call answered, a
:class:`Note` everything else worth telling.  They refer to each other by ``id``.  Reports
are made of timelines alone, and timelines travel as JSON between the processes of a test
run: nothing in them is alive.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = ["Assertion", "Call", "Event", "Link", "Note", "Seen", "Timeline"]

Doc = dict[str, Any]


class Seen(NamedTuple):
    """One event that a watch delivered."""

    at: float
    type: str
    namespace: str
    name: str
    resource_version: str


@dataclass(slots=True)
class Call:
    """A request.  ``kind`` ``kube`` has the fields of the API, ``http`` only method and path.

    ``at`` are seconds since the timeline began, ``took`` seconds until the answer was whole:
    None while it is not (a watch that is open).  ``status`` 0 means no answer; ``error`` says
    why, or what the Status says.  ``agent`` is who asked: ``test`` for the test's own client,
    else the first word of the User-Agent (``kubectl``, ``Helm``, an operator's name).
    ``request`` and ``response`` are documents with secrets redacted, text where they are
    none, None where there is nothing or where it was too long to keep.  ``group`` "" is the
    core group; ``namespace`` and ``name`` "" are none.  ``parent`` is the note that this
    call is part of (an ``apply`` of several documents), 0: none.  ``size`` is how many bytes the
    answer had.
    """

    id: int
    at: float
    method: str
    path: str
    query: str = ""
    kind: Literal["kube", "http"] = "http"
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    agent: str = "test"
    took: float | None = None
    status: int = 0
    error: str = ""
    request: Any = None
    response: Any = None
    # What the object was before a write, where it is known (embedded engine).
    before: Doc | None = None
    resource_version: str = ""
    seen: list[Seen] = field(default_factory=list)
    parent: int = 0
    size: int = 0
    sort: Literal["call"] = "call"


@dataclass(slots=True)
class Assertion:
    """A comparison with a recorded value.

    ``call`` is the call whose answer it came from (0: none was recorded), ``path`` where in
    that answer (``status.phase``, ``items[0].metadata.name``).  ``operator`` is Python's (``==``,
    ``in``, ``matches`` …); ``expected`` and ``actual`` are shortened representations;
    ``where`` is ``file:line`` and ``source`` that line.  ``via`` tells ``expect`` from a
    plain ``assert``.
    """

    id: int
    at: float
    call: int
    path: str
    operator: str
    expected: str
    actual: str
    passed: bool
    where: str = ""
    source: str = ""
    via: Literal["expect", "assert"] = "expect"
    sort: Literal["assertion"] = "assertion"


@dataclass(slots=True)
class Note:
    """Anything else: ``kind`` says what.

    ``phase`` (setup, call, teardown), ``apply`` (a group of calls), ``fault`` (what was made
    to go wrong), ``clock`` (how far it was advanced), ``wait`` (what was waited for, and how it
    ended), ``pod-log``, ``event`` (the cluster's own, gathered at a failure), ``pods``,
    ``error`` and ``text``.  ``text`` may have many lines.
    """

    id: int
    at: float
    kind: str
    title: str
    text: str = ""
    data: Any = None
    sort: Literal["note"] = "note"


Event = Call | Assertion | Note
_SORTS: Mapping[str, type[Call] | type[Assertion] | type[Note]] = {
    "call": Call,
    "assertion": Assertion,
    "note": Note,
}


class Link(NamedTuple):
    """Where a value came from: a call of a timeline, and the way into its answer."""

    timeline: Timeline
    call: int
    path: tuple[str | int, ...] = ()

    def __truediv__(self, step: str | int) -> Link:
        return Link(self.timeline, self.call, (*self.path, step))


class Timeline:
    """What happened in one test.  May be written to from several threads at once.

    ``name`` is the test's node id; ``started`` seconds since the epoch.  ``outcome`` is ``""``
    while it runs, then pytest's ``passed``, ``failed``, ``skipped`` or ``error``; ``failure`` the text
    of what went wrong.  ``clock`` gives monotonic seconds.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.started = time.time()
        self.outcome = ""
        self.failure = ""
        self.took = 0.0
        # How to enter the cluster that was kept (`--cove-keep`), "" where none was.
        self.kept = ""
        self._clock = clock
        self._zero = clock()
        self._ids = itertools.count(1)
        self._events: dict[int, Event] = {}

    def now(self) -> float:
        """Seconds since the timeline began."""
        return self._clock() - self._zero

    def next_id(self) -> int:
        """An id that no other event has."""
        return next(self._ids)

    def add(self, event: Event) -> None:
        """Put an event on it; it may still be filled in."""
        self._events[event.id] = event

    def retract(self, id: int) -> None:
        """Take an event off it; nothing happens if it is not there."""
        self._events.pop(id, None)

    def note(self, kind: str, title: str, text: str = "", data: Any = None) -> Note:
        """Add a note of now."""
        note = Note(self.next_id(), self.now(), kind, title, text, data)
        self.add(note)
        return note

    def find(self, id: int) -> Event | None:
        """The event of an id."""
        return self._events.get(id)

    @property
    def events(self) -> list[Event]:
        """All of them, in the order in which they began."""
        return sorted(self._events.values(), key=lambda event: (event.at, event.id))

    @property
    def calls(self) -> list[Call]:
        """The requests, in order."""
        return [event for event in self.events if isinstance(event, Call)]

    @property
    def assertions(self) -> list[Assertion]:
        """The comparisons, in order."""
        return [event for event in self.events if isinstance(event, Assertion)]

    @property
    def notes(self) -> list[Note]:
        """The rest, in order."""
        return [event for event in self.events if isinstance(event, Note)]

    def to_json(self) -> Doc:
        """As plain data, which shares the documents of the events."""
        return {
            "name": self.name,
            "started": self.started,
            "outcome": self.outcome,
            "failure": self.failure,
            "took": self.took,
            "kept": self.kept,
            "events": [_fields(event) for event in self.events],
        }

    @classmethod
    def from_json(cls, doc: Mapping[str, Any]) -> Timeline:
        """What :meth:`to_json` gave, in another process perhaps."""
        made = cls(doc["name"])
        for key in ("started", "outcome", "failure", "took", "kept"):
            setattr(made, key, doc[key])
        for event in _events(doc["events"]):
            made.add(event)
        made._ids = itertools.count(max(made._events, default=0) + 1)
        return made


def _fields(event: Event) -> Doc:
    # Not asdict, which copies every document to its bottom.
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


def _events(docs: Iterable[Mapping[str, Any]]) -> Iterable[Event]:
    for doc in docs:
        event = _SORTS[doc["sort"]](**doc)
        if isinstance(event, Call):
            event.seen = [Seen(*each) for each in event.seen]
        yield event
