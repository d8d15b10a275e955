"""Tasks: the owner of long-lived tasks; leaving it ends and awaits them all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

__all__ = ["Tasks", "whole"]

log = logging.getLogger("cove.client")

T = TypeVar("T")


async def whole(work: asyncio.Future[T]) -> T:
    """The result of work that is done whole: who is cancelled meanwhile leaves when it has ended.

    However often: ``gather`` is done with the first of its tasks that was cancelled, so that who cleans up after it may
    well cancel the others once more.
    """
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as e:
            cancelled = e
    if cancelled is not None:
        if not work.cancelled():
            work.exception()  # it is nobody's any more
        raise cancelled
    return work.result()


class Tasks:
    """A group of named tasks that live until the group is left.

    A task that fails is logged with its name; the others go on, as one broken controller
    does not stop a control plane.  The first failure is kept in :attr:`failure`.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until it ends or the group is left."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.failure = self.failure or error
            log.error("%s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)
