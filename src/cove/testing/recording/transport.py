"""RecordingTransport: every request of a client on a timeline, whatever the cluster is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from cove.client import Answer, Client, Stream, Transport
from cove.kube.status import StatusError
from cove.testing.recording.calls import Recorded, agent_of, begin
from cove.testing.recording.paths import is_discovery
from cove.testing.timeline import Timeline

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CALL_HEADER", "Marker", "RecordingTransport", "Source"]

# Where a call goes: a timeline, or what says which one it is now (None: recorded nowhere).
Source = Timeline | Callable[[], Timeline | None]
# Tells a server that is tapped which call a request is.
CALL_HEADER = "Cove-Call"


class Marker(Protocol):
    """A tap of the server that the requests go to: see :class:`~cove.testing.recording.ServerTap`."""

    def claim(self, call: Recorded) -> str:
        """The header's value for a call that is being made."""

    def release(self, mark: str) -> None:
        """The call is over."""


class RecordingTransport:
    """A transport around a client's; ``inner`` stays its owner's to close.

    ``timeline`` gets a :class:`~cove.testing.timeline.Call` for every request but discovery's,
    the moment it is made.  ``agent`` is who makes them; None is told by each one's User-Agent.  ``tap`` is given where the server
    records for itself: it is told by a header which requests it need not; other servers
    never see that header.
    """

    def __init__(
        self,
        inner: Transport,
        timeline: Source,
        *,
        agent: str | None = "test",
        tap: Marker | None = None,
    ) -> None:
        self._inner = inner
        self._source: Callable[[], Timeline | None] = (
            (lambda: timeline) if isinstance(timeline, Timeline) else timeline
        )
        self._agent = agent
        self._tap = tap
        if hasattr(inner, "websocket"):
            # Clients ask whether there is one: calls in process have none.
            self.websocket = self._websocket

    def client(self, of: Client) -> Client:
        """A client that is recorded, otherwise like ``of``."""
        return Client(self, user_agent=of.user_agent, namespace=of.namespace)

    def __getattr__(self, name: str) -> Any:
        """What else the inner one has: its ``connection``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def _who(self, headers: Mapping[str, str] | None) -> str:
        if self._agent is not None:
            return self._agent
        return agent_of((headers or {}).get("User-Agent", ""))

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
        """Send it on, and note what came of it."""
        timeline = self._source()
        if timeline is None or is_discovery(path):
            return await self._inner.request(method, path, query=query, headers=headers, body=body)
        media = headers.get("Content-Type", "") if body and headers else ""
        call = begin(timeline, method, path, query, self._who(headers), body, media)
        tap, mark = self._tap, ""
        if tap is not None:
            mark = tap.claim(call)
            headers = {**(headers or {}), CALL_HEADER: mark}
        try:
            answer = await self._inner.request(
                method, path, query=query, headers=headers, body=body
            )
        except BaseException as e:
            call.failed(e, timeline.now() - call.at)
            raise
        finally:
            if tap is not None:
                tap.release(mark)
        status, told, content = answer
        call.answered(status, told.get("content-type", ""), content, timeline.now() - call.at)
        return answer

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """Hand it through, and note what comes by."""
        timeline = self._source()
        if timeline is None or is_discovery(path):
            async with self._inner.stream(method, path, query=query, headers=headers) as stream:
                yield stream
            return
        call = begin(timeline, method, path, query, self._who(headers), b"", "")
        with self._noted(call, timeline, headers) as sent:
            async with self._inner.stream(method, path, query=query, headers=sent) as stream:
                call.opened(stream.status, stream.headers.get("content-type", ""))
                chunks = _noted_chunks(stream.chunks, call, timeline)
                try:
                    yield Stream(stream.status, stream.headers, chunks)
                finally:
                    await chunks.aclose()

    @asynccontextmanager
    async def _websocket(
        self,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        protocols: tuple[str, ...] = (),
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Hand it through; what is said in it is not noted."""
        timeline = self._source()
        opened = self._inner.websocket  # type: ignore[attr-defined]  # it was looked for above
        if timeline is None:
            async with opened(path, query=query, headers=headers, protocols=protocols) as socket:
                yield socket
            return
        call = begin(timeline, "GET", path, query, self._who(headers), b"", "")
        with self._noted(call, timeline, headers) as sent:
            async with opened(path, query=query, headers=sent, protocols=protocols) as socket:
                call.opened(101, "")
                yield socket

    @contextmanager
    def _noted(
        self, call: Recorded, timeline: Timeline, headers: Mapping[str, str] | None
    ) -> Iterator[Mapping[str, str] | None]:
        """The headers to send; when it is left the call is over."""
        tap, mark = self._tap, ""
        if tap is not None:
            mark = tap.claim(call)
            headers = {**(headers or {}), CALL_HEADER: mark}
        try:
            yield headers
        except BaseException as e:
            if isinstance(e, StatusError) and not call.status:
                call.status = e.code
            call.failed(e, timeline.now() - call.at)
            raise
        finally:
            call.ended(timeline.now() - call.at)
            if tap is not None:
                tap.release(mark)

    async def close(self) -> None:
        """Nothing: the inner one is its owner's."""


async def _noted_chunks(
    chunks: AsyncIterator[bytes], call: Recorded, timeline: Timeline
) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        call.chunk(timeline.now(), chunk)
        yield chunk
    # The server's end; a client may take its time to leave.
    call.ended(timeline.now() - call.at)
