"""Work that whoever waits for it never loses sight of: threads, several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from cove.client._tasks import whole

__all__ = ["finished", "together"]

P = ParamSpec("P")
T = TypeVar("T")


async def finished(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``work``'s result; who is cancelled meanwhile leaves when the thread is done.

    For work of moments that makes something its caller has to clean up.
    """
    return await whole(asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs)))


async def together(*work: Awaitable[object]) -> None:
    """Await all of it; the first failure ends the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
