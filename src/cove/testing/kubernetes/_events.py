"""Events: a watch that a test reads one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from cove.client import Tasks, WatchEvent
from cove.client.errors import ClientError
from cove.kube.status import StatusError
from cove.testing.kubernetes._targets import collection
from cove.testing.recording import slot
from cove.testing.timeline import Link
from cove.testing.values import wrap

if TYPE_CHECKING:
    from cove.testing.kubernetes._facade import Kubernetes

__all__ = ["Events"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

# Seconds that the next event is waited for, unless the test says otherwise.
PATIENCE = 10.0


class Events:
    """``with k8s.watch("pods") as events``; on ``aio``, ``async with``.

    :meth:`next` gives the next event (``event.type``, ``event.object``, recorded).  The watch begins
    where it is entered: what is there already is not told.  Whoever forgets to leave it has it
    ended with the test.
    """

    def __init__(self, owner: Kubernetes, what: str, namespace: str | None) -> None:
        self._owner = owner
        self._what, self._namespace = what, namespace
        self._stack = AsyncExitStack()
        self._waiting: asyncio.Queue[WatchEvent | None] = asyncio.Queue()
        self._link: Link | None = None
        self._problem = ""

    async def _open(self) -> Events:
        owner = self._owner
        resource = await collection(owner.client, self._what.partition("/")[0])
        name = self._what.partition("/")[2]
        place = self._namespace if resource.namespaced else None
        selector = f"metadata.name={name}" if name else ""
        version = (
            await owner.client.list(resource.gvr, place, field_selector=selector)
        ).resource_version
        with slot() as calls:
            batches = await self._stack.enter_async_context(
                owner.client.watch_batches(
                    resource.gvr, place, resource_version=version, field_selector=selector
                )
            )
        timeline = owner._place.timeline
        if timeline is not None and calls.last is not None:
            self._link = Link(timeline, calls.last.id)
        tasks = await self._stack.enter_async_context(Tasks())
        tasks.start(f"watch of {self._what}", self._pump(batches))
        # In this process a watch begins when it is first read.
        await asyncio.sleep(0)
        return self

    async def _pump(self, batches: AsyncIterator[list[WatchEvent]]) -> None:
        """Read what comes, so that nobody waits for the test; None is the end."""
        try:
            async for batch in batches:
                for event in batch:
                    if event.type != "BOOKMARK":
                        self._waiting.put_nowait(event)
        except (StatusError, ClientError) as e:
            self._problem = f": {e}"
        finally:
            self._waiting.put_nowait(None)

    async def _next(self, timeout: float) -> Any:
        try:
            async with asyncio.timeout(timeout):
                event = await self._waiting.get()
        except TimeoutError:
            raise AssertionError(f"no event of {self._what} within {timeout:g} s") from None
        if event is None:
            self._waiting.put_nowait(None)
            raise AssertionError(f"the server ended the watch of {self._what}{self._problem}")
        return wrap({"type": event.type, "object": event.object}, self._link)

    def next(self, timeout: float = PATIENCE) -> Any:
        """The next event; AssertionError if there is none within ``timeout`` seconds."""
        return self._owner.run(self._next(timeout))

    def __enter__(self) -> Self:
        self._owner.run(self._open())
        return self

    def __exit__(self, *exc: object) -> None:
        self._owner.run(self._stack.aclose())

    async def __aenter__(self) -> Self:
        await self._owner.run(self._open())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._owner.run(self._stack.aclose())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.next()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self.next()
