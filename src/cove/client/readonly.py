"""A transport that lets nothing but GET through: for faces that only read, whoever has a bug."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from cove.client._client import Client
from cove.client._transport import Answer, Stream, Transport

__all__ = ["ReadOnly", "read_only"]


class ReadOnly:
    """A transport around a transport.  Raises PermissionError for every method but GET."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send a GET without a body."""
        _only_get(method, path)
        return await self.inner.request(method, path, query=query, headers=headers)

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Stream]:
        """Send a GET and read the answer as it comes."""
        _only_get(method, path)
        return self.inner.stream(method, path, query=query, headers=headers)

    async def close(self) -> None:
        """The inner transport is its owner's."""


def _only_get(method: str, path: str) -> None:
    if method != "GET":
        raise PermissionError(f"{method} {path}: this connection only reads")


def read_only(client: Client) -> Client:
    """The same connection, for reading; closing it closes nothing."""
    return Client(
        ReadOnly(client.transport), user_agent=client.user_agent, namespace=client.namespace
    )
