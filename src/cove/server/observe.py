"""Observers: who sees every request of an Api and what it is answered with.

An Api without observers does nothing for them.  They see requests however they arrive, by
HTTPS or from this process, before authorization, admission and faults have had their say, and
change nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from cove.server.request import Request, Response

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["Observation", "Observer", "observed", "refused"]


class Observation(Protocol):
    """What an observer is told of one request, in this order."""

    def answered(self, response: Response) -> None:
        """The answer; that of a stream, or of a connection that was taken over, in its beginning."""

    def chunk(self, data: bytes) -> None:
        """A piece of a stream, before it is sent."""

    def ended(self, error: BaseException | None) -> None:
        """Nothing more is sent; ``error`` ended it (cancellation: who asked went away)."""


class Observer(Protocol):
    """Looks at an Api: ``api.observers = (*api.observers, observer)``."""

    def began(self, api: Api, request: Request) -> Observation | None:
        """A request was read; None for one that is not of interest.  Must not raise."""


async def observed(api: Api, request: Request) -> Response:
    """Handle a request before the eyes of the Api's observers."""
    watching = [o for o in (each.began(api, request) for each in api.observers) if o is not None]
    if not watching:
        return await api.handle(request, observed=True)
    try:
        response = await api.handle(request, observed=True)
    except BaseException as e:
        if _taken(request):
            # A connection that left HTTP ends when the client leaves, not by an answer.
            for each in watching:
                each.answered(Response(101))
        _end(watching, e)
        raise
    for each in watching:
        each.answered(response)
    if response.stream is None:
        _end(watching, None)
    else:
        response.stream = _Observed(response.stream, watching)
    return response


def _taken(request: Request) -> bool:
    """Whether a connection was to be another protocol's, and its client was told that it is."""
    raw = request.upgrade
    return raw is not None and "Upgrade" in request.headers and raw.writer.output_size > 0


def refused(api: Api, request: Request, response: Response) -> None:
    """Tell of a request that was answered before it came to the Api: nobody knows who asks."""
    for each in api.observers:
        observation = each.began(api, request)
        if observation is not None:
            observation.answered(response)
            observation.ended(None)


def _end(watching: list[Observation], error: BaseException | None) -> None:
    for each in watching:
        each.ended(error)


class _Observed:
    """A stream whose pieces are told before they are given."""

    def __init__(self, stream: AsyncIterator[bytes], watching: list[Observation]) -> None:
        self._stream = stream
        self._watching = watching

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._stream.__anext__()
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as e:
            self._end(e)
            raise
        for each in self._watching:
            each.chunk(chunk)
        return chunk

    async def aclose(self) -> None:
        """End the stream, as a generator is."""
        try:
            close = getattr(self._stream, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        watching, self._watching = self._watching, []
        _end(watching, error)
