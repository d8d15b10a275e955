"""Requests of a client, counted by how they were answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cove.client import Answer, Client, Stream, Transport

if TYPE_CHECKING:
    from cove.operator.metrics.numbers import Metrics

__all__ = ["MeteredTransport", "metered"]

# Instead of a code, where there was no answer: client-go's word.
NO_ANSWER = "<error>"


def metered(client: Client, metrics: Metrics) -> Client:
    """A client over the same connection whose requests are counted; closing it closes nothing."""
    return Client(
        MeteredTransport(client.transport, metrics),
        user_agent=client.user_agent,
        namespace=client.namespace,
    )


class MeteredTransport:
    """Counts what goes through another transport, which stays its owner's."""

    def __init__(self, transport: Transport, metrics: Metrics) -> None:
        self._transport = transport
        self._requests = metrics.requests
        # Transports around it (audits, recordings) have its connection, too.
        connection = getattr(transport, "connection", None)
        self._host = "in-process" if connection is None else urlsplit(connection.server).netloc

    def __getattr__(self, name: str) -> Any:
        # Connections into pods, which not every transport has.
        return getattr(self._transport, name)

    def _count(self, method: str, code: str) -> None:
        self._requests.labels(code, method, self._host).inc()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """As the transport below."""
        code = NO_ANSWER
        try:
            answer = await self._transport.request(
                method, path, query=query, headers=headers, body=body
            )
            code = str(answer.status)
            return answer
        finally:
            self._count(method, code)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """As the transport below; counted when it is open."""
        opened = False
        try:
            async with self._transport.stream(method, path, query=query, headers=headers) as stream:
                opened = True
                self._count(method, str(stream.status))
                yield stream
        finally:
            if not opened:
                self._count(method, NO_ANSWER)

    async def close(self) -> None:
        """The transport below is closed by its owner."""
