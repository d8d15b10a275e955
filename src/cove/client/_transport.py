"""Transport: how a request reaches an API server.

Two kinds exist: :class:`~cove.client.HttpTransport` over a network and
:class:`InProcessTransport` for a server in the same process.  Recorders and fault
injectors are transports around a transport.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol, TypeVar

import orjson

from cove.client.errors import UnreachableError
from cove.kube import status as st

__all__ = ["Answer", "InProcessTransport", "Stream", "Transport"]

log = logging.getLogger("cove.client")


class Answer(NamedTuple):
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream(NamedTuple):
    """An answer whose body comes in chunks; an error's is whole in the first."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """One connection, or pool of connections, to one API server.

    ``path`` is absolute and percent-encoded, ``query`` encoded and without "?".  Raises
    :class:`~cove.client.UnreachableError` when there is no answer.
    """

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send and await the whole answer."""

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Stream]:
        """Send and read the answer as it comes; leaving the context ends it."""

    async def close(self) -> None:
        """Release connections; open streams end."""


class _Response(Protocol):
    """What a server in this process answers with."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> str: ...
    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...
    @property
    def stream(self) -> AsyncIterator[bytes] | None: ...


R = TypeVar("R")
MakeRequest = Callable[[str, str, str, Mapping[str, str], bytes], R]


class InProcessTransport:
    """Calls a server's request handler directly: no sockets, no HTTP.

    ``make`` builds the server's request of (method, path, query, headers, body) and says
    who asks; ``handle`` answers it.  The server outlives the transport.
    """

    def __init__(self, handle: Callable[[R], Awaitable[_Response]], make: MakeRequest[R]) -> None:
        async def call(
            method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
        ) -> _Response:
            return await handle(make(method, path, query, headers, body))

        self._call = call

    async def _answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> _Response | Answer:
        try:
            return await self._call(method, path, query, headers, body)
        except ConnectionResetError as e:
            raise UnreachableError(f"{method} {path}: {e}") from e
        except Exception as e:
            # The boundary to the server: as its HTTP front does, log whole and tell in brief.
            log.exception("%s %s failed", method, path)
            error = st.internal_error(f"{type(e).__name__}: {e}")
            return Answer(error.code, {}, orjson.dumps(error.body))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Await the handler."""
        response = await self._answer(method, path, query, headers or {}, body)
        if isinstance(response, Answer):
            return response
        stream = response.stream
        if stream is None:
            return Answer(response.status, _headers(response), response.body)
        return Answer(
            response.status, _headers(response), b"".join([chunk async for chunk in _whole(stream)])
        )

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """Await the handler and hand its stream through."""
        response = await self._answer(method, path, query, headers or {}, b"")
        if isinstance(response, Answer):
            yield Stream(response.status, response.headers, _once(response.body))
            return
        chunks = response.stream
        if chunks is None:
            yield Stream(response.status, _headers(response), _once(response.body))
            return
        whole = _whole(chunks)
        try:
            yield Stream(response.status, _headers(response), whole)
        finally:
            await whole.aclose()
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async def close(self) -> None:
        """Nothing to release."""


def _headers(response: _Response) -> dict[str, str]:
    headers = {"content-type": response.content_type}
    for name, value in response.headers:
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _whole(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in chunks:
            yield chunk
    except ConnectionResetError as e:
        raise UnreachableError(f"the stream broke: {e}") from e


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
