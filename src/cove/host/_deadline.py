"""Deadline: a time limit by an injectable clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cove.client import Clock

__all__ = ["deadline"]


@asynccontextmanager
async def deadline(seconds: float, clock: Clock) -> AsyncIterator[None]:
    """Raise TimeoutError inside once ``seconds`` have passed on ``clock``."""
    async with asyncio.timeout(None) as limit:
        timer = clock.call_later(
            seconds, lambda: limit.reschedule(asyncio.get_running_loop().time())
        )
        try:
            yield
        finally:
            timer.cancel()
