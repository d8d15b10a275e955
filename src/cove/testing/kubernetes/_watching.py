"""Watching: the states of an object or a collection as they come, over what may go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from cove.client import Informer

if TYPE_CHECKING:
    from cove.client import Client
    from cove.kube.gvk import GVR

__all__ = ["Watching"]

Doc = dict[str, Any]


class Watching:
    """``async with Watching(client, gvr, namespace, name) as watching``: a collection followed.

    With ``name`` only that object.  ``changed`` is called, on the loop, whenever something of it
    has changed.  Watches that end are opened again, so that nobody notices a restart.
    """

    def __init__(
        self,
        client: Client,
        gvr: GVR,
        namespace: str | None,
        name: str = "",
        changed: Callable[[], None] | None = None,
    ) -> None:
        selector = f"metadata.name={name}" if name else ""
        self._name, self._namespace = name, namespace
        self._informer = Informer(
            client, gvr, namespace=namespace, field_selector=selector, transform=None
        )
        self._change = asyncio.Event()
        self._tell = changed
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._informer.add_handler(self._handle)
        self._informer.add_state_handler(self._change.set)
        await self._stack.enter_async_context(self._informer)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _handle(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._change.set()
        if self._tell is not None:
            self._tell()

    @property
    def problem(self) -> str:
        """Why it cannot be followed now, "" if it can."""
        return str(self._informer.problem or "")

    async def synced(self) -> None:
        """Return when it was listed once."""
        await self._informer.synced.wait()

    def version(self) -> str:
        """The resource version that it has come to."""
        return self._informer.resource_version

    def get(self) -> Doc | None:
        """The object as it was last seen, None if it is not there."""
        return self._informer.get(self._namespace, self._name)

    async def states(self) -> AsyncIterator[Doc | None]:
        """The object as it is, and at every change from then on; None while it is not there."""
        await self.synced()
        while True:
            self._change.clear()
            yield self.get()
            await self._change.wait()
