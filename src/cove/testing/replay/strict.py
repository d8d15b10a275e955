"""StrictTransport: recorded requests are answered as they were, all others are refused."""

from __future__ import annotations

import asyncio
import difflib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from cove.client import Answer, Client, Stream, UnreachableError
from cove.kube.status import CoveError
from cove.testing.recording.redact import redact
from cove.testing.replay.recording import Entry, Recording, body_of
from cove.testing.replay.state import filled

__all__ = ["NoRecordingError", "StrictTransport", "strict_client"]

# What differs from run to run and changes no answer.
_VOLATILE = ("timeout", "timeoutSeconds")


class NoRecordingError(CoveError):
    """A request was made that the recording does not have, or not so often."""


class StrictTransport:
    """A transport that has a recording in place of a server.

    The same request (method, path, query, and whether tables were asked for) is answered in the
    order in which it was recorded, each answer once; between different ones the order is free.
    What is sent has to be what was sent then.  Watches tell their recorded events at once, and
    end as they did: where it was the client that left, they stay open.  Raises NoRecordingError
    that names the request and what is nearest; :attr:`unused` are the answers nobody asked for.
    """

    def __init__(self, recording: Recording | str | Path) -> None:
        if not isinstance(recording, Recording):
            recording = Recording.load(recording)
        self._recording = recording
        self._waiting: dict[str, deque[Entry]] = {}
        self._count: dict[str, int] = {}
        # An answer belongs to the moment its request was made.
        for entry in sorted(recording.entries, key=lambda entry: entry.at):
            if entry.companion:
                continue
            key = _key(entry.method, entry.path, entry.query, entry.accept)
            self._waiting.setdefault(key, deque()).append(entry)
            self._count[key] = self._count.get(key, 0) + 1

    @property
    def unused(self) -> list[Entry]:
        """Recorded requests that were not made, in order."""
        left = [entry for waiting in self._waiting.values() for entry in waiting]
        return sorted(left, key=lambda entry: entry.at)

    def _take(self, method: str, path: str, query: str, accept: str, body: Any) -> Entry:
        key = _key(method, path, query, accept)
        waiting = self._waiting.get(key)
        if not waiting:
            raise NoRecordingError(self._missing(key))
        if waiting[0].cut:
            raise NoRecordingError(
                f"{key} was recorded in {self._recording.origin}, but its answer of "
                f"{waiting[0].size} bytes, or what was sent, was too long to be kept"
            )
        sent = redact(body, secret=_secret(waiting[0])) if self._recording.redacted else body
        for index, entry in enumerate(waiting):
            if entry.body == sent:
                del waiting[index]
                break
        else:
            raise NoRecordingError(
                f"{key} was recorded with another body in {self._recording.origin}: "
                + "; ".join(_differences(waiting[0].body, sent))
            )
        if entry.error and not entry.status:
            raise UnreachableError(f"{method} {path}: {entry.error} (as it was recorded)")
        return entry

    def _missing(self, key: str) -> str:
        origin = self._recording.origin
        count = self._count.get(key)
        if count:
            often = "once" if count == 1 else f"{count} times"
            return f"{key} was recorded {often} in {origin}, and all of it was asked for already"
        near = difflib.get_close_matches(key, self._count, n=1, cutoff=0.3)
        if not near:
            return f"{key} was not recorded in {origin}, nor was anything like it"
        left = len(self._waiting[near[0]])
        return (
            f"{key} was not recorded in {origin}; nearest is {near[0]} "
            f"({left} of {self._count[near[0]]} left)"
        )

    # -- a transport

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """The next recorded answer."""
        sent = body_of(body, _header(headers, "Content-Type"))
        entry = self._take(method, path, query, _header(headers, "Accept"), sent)
        return Answer(entry.status, {"content-type": entry.answer_media}, _bytes(entry))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """The next recorded answer, piece by piece."""
        entry = self._take(method, path, query, _header(headers, "Accept"), None)
        yield Stream(entry.status, {"content-type": entry.answer_media}, _chunks(entry))

    async def close(self) -> None:
        """Nothing to release."""


def strict_client(recording: Recording | str | Path) -> Client:
    """A client whose server is a recording."""
    return Client(StrictTransport(recording))


def _secret(entry: Entry) -> bool:
    of = entry.asked
    return of.resource == "secrets" and not of.group


def _header(headers: Mapping[str, str] | None, name: str) -> str:
    return (headers or {}).get(name, "")


def _key(method: str, path: str, query: str, accept: str) -> str:
    """How a request is told apart, for people as well."""
    told = sorted(
        (name, value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name not in _VOLATILE
    )
    key = f"{method} {path}"
    if told:
        key += f"?{urlencode(told)}"
    _, _, form = accept.partition(";as=")
    if form:
        key += f" as {form.partition(';')[0].partition(',')[0]}"
    return key


def _bytes(entry: Entry) -> bytes:
    secret = _secret(entry)
    if entry.events is not None:
        events = filled(entry.events) if secret else entry.events
        return b"".join(orjson.dumps(event) + b"\n" for event in events)
    answer = filled(entry.answer) if secret else entry.answer
    if answer is None:
        return b""
    if isinstance(answer, bytes):
        return answer
    return answer.encode() if isinstance(answer, str) else orjson.dumps(answer)


async def _chunks(entry: Entry) -> AsyncIterator[bytes]:
    data = _bytes(entry)
    if data:
        yield data
    if entry.left:
        # Nobody knows what the server would have told next.
        await asyncio.Event().wait()


def _differences(then: Any, now: Any) -> Iterator[str]:
    """Where two documents differ, the first few places."""
    found = _walk(then, now, "")
    for _ in range(3):
        told = next(found, None)
        if told is None:
            return
        yield told
    if next(found, None) is not None:
        yield "…"


def _walk(then: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in {**then, **now}:
            yield from _walk(then.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for i, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _walk(one, other, f"{path}[{i}]")
    elif then != now:
        yield f"{path or 'the body'} was {_brief(then)}, is {_brief(now)}"


def _brief(value: Any) -> str:
    text = str(value) if isinstance(value, bytes) else orjson.dumps(value).decode()
    return text if len(text) <= 80 else text[:77] + "…"
