"""Work that is done whole, whatever becomes of who waits for it."""

from __future__ import annotations

import asyncio

import pytest

from cove.client._tasks import whole
from cove.engines._work import together


async def test_its_result_and_its_failure_are_told() -> None:
    async def fails() -> None:
        raise LookupError("nothing there")

    assert await whole(asyncio.ensure_future(asyncio.sleep(0, "made"))) == "made"
    with pytest.raises(LookupError, match="nothing there"):
        await whole(asyncio.ensure_future(fails()))


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_who_is_cancelled_leaves_when_it_has_ended(times: int) -> None:
    made, go = [], asyncio.Event()

    async def make() -> None:
        await go.wait()
        made.append("one")

    waiting = asyncio.ensure_future(whole(asyncio.ensure_future(make())))
    for _ in range(times):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()

    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert made == ["one"]


async def test_several_things_at_once_cut_none_of_them_short() -> None:
    """The first of them that is cancelled has the others cancelled once more."""
    made, go = [], asyncio.Event()

    async def make() -> None:
        await go.wait()
        made.append("one")

    async def both() -> None:
        await together(asyncio.sleep(3600), whole(asyncio.ensure_future(make())))

    entering = asyncio.ensure_future(both())
    for _ in range(3):
        await asyncio.sleep(0)
    entering.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not entering.done()

    go.set()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert made == ["one"]
