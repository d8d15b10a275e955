"""Recordings: files that hold every request of a run and what it was answered with.

JSON, a document on each line, compressed where the name ends in ``.gz``.  The first says what
it is, then come the entries in the order in which their answers were whole, last a summary;
a run that was killed leaves a file without one, which can be read all the same.

::

    {"cove": "recording", "format": 1, "context": "prod", "server": "v1.36.2", "redacted": true, …}
    {"id": 1, "at": 0.02, "method": "GET", "path": "/api/v1/pods", "status": 200, "answer": …, …}
    {"end": true, "entries": 1, "dropped": 0}

Bodies are told as ``{"json": …}``, ``{"text": …}`` or ``{"base64": …}``.
"""

from __future__ import annotations

import base64
import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from cove.kube.status import CoveError
from cove.testing.recording import bodies
from cove.testing.recording.paths import Asked, asked
from cove.testing.recording.redact import (
    HARMLESS,
    harmless,
    redact,
    redact_query,
    redact_text,
)

__all__ = ["BODY_LIMIT", "Entry", "Recording", "RecordingError", "Writer"]

Doc = dict[str, Any]
FORMAT = 1
# A longer body is not kept: what it was is told by its size.
BODY_LIMIT = 8 * 1024 * 1024
# Bytes of a recording, before compression, unless its owner says otherwise.
LIMIT = 256 * 1024 * 1024


class RecordingError(CoveError):
    """A file is no recording, or cannot be written."""


@dataclass(slots=True)
class Entry:
    """A request and its answer.

    ``at`` are seconds since the recording began; ``accept`` and ``media`` the request's Accept
    and Content-Type; ``body`` and ``answer`` documents, texts, bytes, or None.  ``events``
    is a watch's: the documents of its lines.  ``left`` says that who asked went away before the
    server had told all, ``cut`` that what it told was too long to be kept whole.  ``error`` is why
    there is no answer.  ``companion`` tells a
    read that the recorder made for itself: of an object before it was changed, of objects that
    were asked for as a table, of the definition of a kind.
    """

    id: int
    at: float
    method: str
    path: str
    query: str = ""
    agent: str = ""
    accept: str = ""
    media: str = ""
    body: Any = None
    status: int = 0
    answer_media: str = ""
    answer: Any = None
    size: int = 0
    took: float = 0.0
    events: list[Any] | None = None
    left: bool = False
    cut: bool = False
    error: str = ""
    companion: bool = False

    @property
    def asked(self) -> Asked:
        """What it means."""
        return asked(self.method, self.path, self.query)

    def redacted(self) -> Entry:
        """Without secrets: see :mod:`cove.testing.recording.redact`."""
        of = self.asked
        secret = of.resource == "secrets" and not of.group
        answer = self.answer
        if secret and self.status >= 400 and self.status not in HARMLESS:
            answer = harmless(answer, self.body) if isinstance(answer, dict) else answer
        made = Entry(**{name: getattr(self, name) for name in self.__slots__})
        made.query = redact_query(self.query)
        made.body = _redacted(self.body, secret)
        made.answer = _redacted(answer, secret)
        if self.events is not None:
            made.events = [redact(event, secret=secret) for event in self.events]
        return made


def _redacted(value: Any, secret: bool) -> Any:
    if isinstance(value, bytes):
        return f"<redacted: {len(value)} bytes>" if secret else value
    if isinstance(value, str):
        return f"<redacted: {len(value.encode())} bytes>" if secret else redact_text(value)
    return redact(value, secret=secret)


def body_of(data: bytes, media: str) -> Any:
    """A body as an entry has it: None for none, and for one that is too long."""
    if not data or len(data) > BODY_LIMIT:
        return None
    found = bodies.read(data, media)
    if isinstance(found, str):
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    return found


def _told(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return {"text": value}
    return None if value is None else {"json": value}


def _heard(value: Any) -> Any:
    if value is None:
        return None
    if "base64" in value:
        return base64.b64decode(value["base64"])
    return value["text"] if "text" in value else value["json"]


_BODIES = ("body", "answer")
_ALWAYS = ("id", "at", "method", "path")


def _line(entry: Entry) -> bytes:
    doc = {}
    for name in entry.__slots__:
        value = getattr(entry, name)
        if name in _BODIES:
            value = _told(value)
        if value or name in _ALWAYS or (name == "events" and value is not None):
            doc[name] = value
    return orjson.dumps(doc) + b"\n"


class Writer:
    """Writes a recording: ``with Writer(path, context="prod") as writer``.

    ``secrets`` keeps them; without it they are redacted before they are written.  ``limit`` is
    how many bytes are written, before compression: what is dropped then is counted.  The file is
    readable by its owner alone.  Raises RecordingError if there is one already, unless
    ``force``.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: str = "",
        server: str = "",
        secrets: bool = False,
        limit: int = LIMIT,
        force: bool = False,
    ) -> None:
        self.path = path
        self.secrets = secrets
        self.written = self.dropped = 0
        self._limit = limit
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        try:
            self._raw = os.fdopen(os.open(path, flags, 0o600), "wb")
        except FileExistsError:
            raise RecordingError(f"{path} is there already: --force writes over it") from None
        except OSError as e:
            raise RecordingError(f"{path} cannot be written: {e.strerror}") from e
        os.fchmod(self._raw.fileno(), 0o600)
        self._file: IO[bytes] = self._raw
        if path.suffix == ".gz":
            self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", mtime=0)  # type: ignore[assignment]  # it writes bytes
        head = {"cove": "recording", "format": FORMAT, "context": context, "server": server}
        self._put(orjson.dumps({**head, "redacted": not secrets}) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end = {"end": True, "entries": self.written, "dropped": self.dropped}
        self._put(orjson.dumps(end) + b"\n")
        if self._file is not self._raw:
            self._file.close()
        self._raw.close()

    def write(self, entry: Entry) -> None:
        """Add an entry whose answer is whole."""
        line = _line(entry if self.secrets else entry.redacted())
        if self._size + len(line) > self._limit:
            self.dropped += 1
            return
        self._size += len(line)
        self.written += 1
        self._put(line)

    def _put(self, line: bytes) -> None:
        self._file.write(line)
        # What is killed leaves what it had.
        self._file.flush()


@dataclass(slots=True)
class Recording:
    """A recording in memory; ``context`` and ``server`` are where it was made.

    ``complete`` is false for one whose end was not written, ``dropped`` how many answers did not
    fit.
    """

    entries: list[Entry]
    context: str = ""
    server: str = ""
    redacted: bool = True
    complete: bool = False
    dropped: int = 0
    origin: str = field(default="a recording", compare=False)

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read a file; raises RecordingError for one that is no recording."""
        path = Path(path)
        lines = _lines(path)
        head = next(lines, None)
        if not isinstance(head, dict) or head.get("cove") != "recording":
            raise RecordingError(f"{path} is no recording: `cove record -o FILE` makes one")
        if head.get("format") != FORMAT:
            raise RecordingError(
                f"{path} is a recording of format {head.get('format')}, this cove reads {FORMAT}: "
                "take the version that made it, or record again"
            )
        made = cls(
            [],
            context=head.get("context", ""),
            server=head.get("server", ""),
            redacted=bool(head.get("redacted", True)),
            origin=str(path),
        )
        known = set(Entry.__slots__)
        for doc in lines:
            if doc.get("end"):
                made.complete, made.dropped = True, doc.get("dropped", 0)
                break
            told = {name: value for name, value in doc.items() if name in known}
            for name in _BODIES:
                told[name] = _heard(told.get(name))
            try:
                made.entries.append(Entry(**told))
            except TypeError as e:
                raise RecordingError(f"{path}: an entry is incomplete: {e}") from e
        return made


def _lines(path: Path) -> Iterator[Any]:
    """The documents of a file, up to where it was broken off."""
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            for line in file:
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError:
                    if not line.endswith(b"\n"):
                        return
                    raise RecordingError(f"{path} is no recording: a line is not JSON") from None
    except (EOFError, zlib.error):
        return
    except OSError as e:
        raise RecordingError(f"{path} cannot be read: {e.strerror or e}") from e
