"""Fault: one thing that goes wrong, how often, and what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import orjson

from cove.kube.status import StatusError
from cove.server.faults._match import Match
from cove.server.request import Request, Response

if TYPE_CHECKING:
    from cove.client.clock import Clock
    from cove.server.faults._faults import Faults

__all__ = [
    "Cut",
    "CutError",
    "Drop",
    "Effect",
    "Fail",
    "Fault",
    "Hang",
    "Latency",
    "Stall",
]


class CutError(ConnectionResetError):
    """The connection of this request is to be cut, without an answer."""


class Effect:
    """What a fault does to a request.  ``lifted`` is set when the fault is taken back."""

    async def before(self, request: Request, clock: Clock, lifted: asyncio.Event) -> None:
        """Delay the request, or end it by raising StatusError or CutError."""

    def after(self, request: Request, response: Response, lifted: asyncio.Event) -> Response:
        """What is answered instead of the true answer; may raise as :meth:`before`."""
        return response


class Latency(Effect):
    """The request waits."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self._delay = delay

    async def before(self, request: Request, clock: Clock, lifted: asyncio.Event) -> None:
        """Wait, by the cluster's clock."""
        await clock.sleep(self._delay())


class Hang(Effect):
    """The request is not answered as long as the fault is there."""

    async def before(self, request: Request, clock: Clock, lifted: asyncio.Event) -> None:
        """Wait for the end of the fault."""
        await lifted.wait()


class Fail(Effect):
    """The request is refused; with ``late`` only after it was done."""

    def __init__(self, error: Callable[[Request], StatusError], *, late: bool) -> None:
        self._error = error
        self._late = late

    async def before(self, request: Request, clock: Clock, lifted: asyncio.Event) -> None:
        """Refuse."""
        if not self._late:
            raise self._error(request)

    def after(self, request: Request, response: Response, lifted: asyncio.Event) -> Response:
        """Refuse what was done."""
        raise self._error(request)


class Cut(Effect):
    """The connection breaks; with ``late`` only after the request was done."""

    def __init__(self, *, late: bool) -> None:
        self._late = late

    async def before(self, request: Request, clock: Clock, lifted: asyncio.Event) -> None:
        """Cut."""
        if not self._late:
            raise CutError("a fault cut the connection")

    def after(self, request: Request, response: Response, lifted: asyncio.Event) -> Response:
        """Cut, the work being done."""
        raise CutError("a fault cut the connection after the request was done")


class Drop(Effect):
    """A watch ends after ``events`` events: in order, by an error event, or by a cut."""

    def __init__(self, events: int, error: StatusError | None, *, cut: bool) -> None:
        self._events = events
        self._error = error
        self._cut = cut

    def after(self, request: Request, response: Response, lifted: asyncio.Event) -> Response:
        """The same stream, but shorter."""
        if response.stream is not None:
            response.stream = self._shortened(response.stream)
        return response

    async def _shortened(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = self._events
        async for lines in _first(stream, left):
            left -= lines.count(b"\n")
            yield lines
        if left > 0:
            return  # it ended by itself
        if self._cut:
            raise CutError("a fault cut the watch")
        if self._error is not None:
            yield orjson.dumps({"type": "ERROR", "object": self._error.body}) + b"\n"


class Stall(Effect):
    """A watch stays open and says nothing after ``events`` events, until the fault is lifted."""

    def __init__(self, events: int) -> None:
        self._events = events

    def after(self, request: Request, response: Response, lifted: asyncio.Event) -> Response:
        """The same stream with a silence in it."""
        if response.stream is not None:
            response.stream = self._silenced(response.stream, lifted)
        return response

    async def _silenced(
        self, stream: AsyncIterator[bytes], lifted: asyncio.Event
    ) -> AsyncIterator[bytes]:
        left = self._events
        async with _closing(stream):
            if left <= 0:
                await lifted.wait()
            async for chunk in stream:
                while left > 0 and chunk:
                    head, chunk = _cut_lines(chunk, left)
                    left -= head.count(b"\n")
                    yield head
                    if left <= 0:
                        break
                if left <= 0:
                    await lifted.wait()
                if chunk:
                    yield chunk


@asynccontextmanager
async def _closing(stream: AsyncIterator[bytes]) -> AsyncIterator[None]:
    """End a stream's generator however its reader ends."""
    try:
        yield
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _cut_lines(chunk: bytes, count: int) -> tuple[bytes, bytes]:
    end = 0
    for _ in range(count):
        found = chunk.find(b"\n", end)
        if found < 0:
            return chunk, b""
        end = found + 1
    return chunk[:end], chunk[end:]


async def _first(stream: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """The first ``count`` lines of a stream, which is ended then."""
    async with _closing(stream):
        if count <= 0:
            return
        async for chunk in stream:
            head, _ = _cut_lines(chunk, count)
            count -= head.count(b"\n")
            yield head
            if count <= 0:
                return


class Fault:
    """A fault that was added; leaving it as a context lifts it.

    ``seen`` counts the requests it is about, ``hits`` those it struck.
    """

    def __init__(
        self,
        owner: Faults,
        match: Match,
        effect: Effect,
        *,
        rate: float,
        count: int | None,
        skip: int,
    ) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"rate is a share of requests, above 0 and up to 1: {rate}")
        if count is not None and count < 1:
            raise ValueError(f"count is how many requests to strike, from 1: {count}")
        if skip < 0:
            raise ValueError(f"skip is how many requests to let pass first, from 0: {skip}")
        self.match = match
        self.effect = effect
        self.rate = rate
        self.count = count
        self.skip = skip
        self.seen = 0
        self.hits = 0
        self.lifted = asyncio.Event()
        self._owner = owner

    def strikes(self, request: Request) -> bool:
        """Whether it strikes this request; counts."""
        if self.count is not None and self.hits >= self.count:
            return False
        if not self.match.matches(request):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        if self.rate < 1 and self._owner.rng.random() >= self.rate:
            return False
        self.hits += 1
        return True

    def lift(self) -> None:
        """Take it back: what it holds up goes on.  No effect the second time."""
        self._owner.remove(self)
        self.lifted.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.lift()
