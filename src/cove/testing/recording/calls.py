"""Recorded: a Call that keeps bytes, and is filled in where somebody looks at it.

Most calls of most tests are never looked at.  What costs anything — the meaning of the path,
the documents, their redaction — waits until a field is read: by a report, by an expectation, by
:meth:`~cove.testing.timeline.Timeline.to_json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from cove.testing.recording import bodies
from cove.testing.recording.paths import asked
from cove.testing.recording.redact import HARMLESS, harmless, redact, redact_query, redact_text
from cove.testing.recording.slots import current_slot
from cove.testing.recording.watched import Watched
from cove.testing.timeline import Call, Timeline

__all__ = ["Recorded", "agent_of", "begin"]

Doc = dict[str, Any]
_ASKED = ("kind", "verb", "group", "version", "resource", "subresource", "namespace", "name")
# What the fields are before anything is known.
_BEGINNINGS: dict[str, Any] = {
    "_before": None,
    "_body": b"",
    "_media": "",
    "_sent": b"",
    "_sent_media": "",
    "_sent_size": 0,
    "_watched": None,
    "parent": 0,
    "size": 0,
    "sort": "call",
    "status": 0,
    "took": None,
}
_FIELDS = tuple(field.name for field in fields(Call))


class Recorded(Call):
    """A call as it is being made; see the fields of :class:`~cove.testing.timeline.Call`.

    Its fields are plain slots: one that was not set yet is worked out when it is first read,
    and set when the call is over.  Sent to another process it is a plain Call.
    """

    __slots__ = (
        "_asked",
        "_before",
        "_body",
        "_media",
        "_sent",
        "_sent_media",
        "_sent_size",
        "_watched",
    )
    _asked: str
    _before: Callable[[], Doc | None] | None
    _body: bytes
    _media: str
    _sent: bytes
    _sent_media: str
    _sent_size: int
    _watched: Watched | None

    def __init__(
        self,
        timeline: Timeline,
        method: str,
        path: str,
        query: str,
        agent: str,
        sent: bytes,
        sent_media: str,
    ) -> None:
        # As little as can be: what is not set here has a beginning in _BEGINNINGS.
        self.id = timeline.next_id()
        self.at = timeline.now()
        self.method = method
        self.path = path
        # Redacted when it is read; see below.
        self._asked = query
        self.agent = agent
        if sent:
            self._sent = sent if len(sent) <= bodies.KEPT else bodies.head_of(sent)
            self._sent_size = len(sent)
            self._sent_media = sent_media

    # -- while it is made

    def answered(self, status: int, media: str, body: bytes, took: float) -> None:
        """The whole answer is there."""
        self.status = status
        self.size = len(body)
        self._body = body if len(body) <= bodies.KEPT else bodies.head_of(body)
        self._media = media
        self.took = took

    def opened(self, status: int, media: str) -> None:
        """The answer has begun."""
        self.status = status
        self._media = media
        if status < 300 and self.verb == "watch":
            self._watched = Watched()

    def chunk(self, at: float, data: bytes) -> None:
        """A piece of it came."""
        self.size += len(data)
        if self._watched is not None:
            self._watched.add(at, data)
        elif len(self._body) < bodies.KEPT:
            self._body = bodies.head_of(self._body + data)

    def ended(self, took: float) -> None:
        """Nothing more comes; the first who says so is right."""
        if self.took is None:
            self.took = took

    def failed(self, error: BaseException, took: float) -> None:
        """There is no answer, or not all of it."""
        self.ended(took)
        name = type(error).__name__
        if name == "CancelledError":
            self.error = "cancelled"
        elif name != "GeneratorExit":
            self.error = redact_text(str(error)) or name

    def was(self, before: Callable[[], Doc | None]) -> None:
        """How to find out what the object was."""
        self._before = before

    # -- when it is looked at

    def __getattr__(self, name: str) -> Any:
        """A field that nobody has read yet."""
        if name in _BEGINNINGS:
            return _BEGINNINGS[name]
        if name in _ASKED:
            found = asked(self.method, self.path, self._asked)
            for key, value in zip(_ASKED, found, strict=True):
                setattr(self, key, value)
            return getattr(self, name)
        if name == "query":
            self.query = redact_query(self._asked)
            return self.query
        if name == "request":
            self.request = bodies.shown(
                self._sent, self._sent_media, self._sent_size, secret=self._secret
            )
            return self.request
        if name == "before":
            return self._look_back()
        if name == "seen":
            seen = self._watched.events if self._watched is not None else []
            if self.took is not None:
                self.seen = seen
            return seen
        if name in ("response", "error", "resource_version"):
            return self._look_at_answer(name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @property
    def _secret(self) -> bool:
        return self.resource == "secrets" and not self.group

    def _look_back(self) -> Doc | None:
        if self._before is None:
            return None
        try:
            before = self._before()
        except Exception:
            # A version that has to be asked for: nobody can be asked any more.
            before = None
        self.before = None if before is None else redact(before, secret=self._secret)
        return self.before

    def _look_at_answer(self, name: str) -> Any:
        """The three that are read off the answer; set once that is whole."""
        doc = None
        if self._watched is None:
            doc = bodies.shown(self._body, self._media, self.size, secret=self._secret)
        error = version = ""
        if isinstance(doc, dict):
            if self.status >= 400:
                doc = self._harmless(doc)
                error = str(doc.get("message") or doc.get("reason") or "")
            metadata = doc.get("metadata")
            if isinstance(metadata, Mapping):
                version = str(metadata.get("resourceVersion") or "")
        elif self.status >= 400:
            error = str(doc or "").strip() or f"the server answered {self.status}"
        told = {"response": doc, "error": error, "resource_version": version}
        if self.took is None:
            return told[name]
        for key, value in told.items():
            try:
                # An error that was told already is why there is no answer.
                object.__getattribute__(self, key)
            except AttributeError:
                setattr(self, key, value)
        return getattr(self, name)

    def _harmless(self, status: Doc) -> Doc:
        if not self._secret or self.status in HARMLESS:
            return status
        return harmless(status, bodies.read(self._sent, self._sent_media))

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, tuple(getattr(self, name) for name in _FIELDS)


def begin(
    timeline: Timeline,
    method: str,
    path: str,
    query: str,
    agent: str,
    sent: bytes,
    sent_media: str,
) -> Recorded:
    """A call of now, on the timeline and in the slot of who makes it."""
    call = Recorded(timeline, method, path, query, agent, sent, sent_media)
    timeline.add(call)
    within = current_slot()
    if within is not None:
        call.parent = within.parent
        within.add(call)
    return call


@lru_cache(maxsize=256)
def agent_of(user_agent: str) -> str:
    """The first word of a User-Agent: ``kubectl``, ``Helm``, ``python`` for its official client."""
    product, _, rest = user_agent.strip().partition("/")
    if product == "OpenAPI-Generator":
        return rest.rpartition("/")[2] or product
    return product.split(" ")[0] or "unknown"
