"""A clock that runs and can be put forward."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.client import TravelClock


@pytest.fixture
async def clock() -> AsyncIterator[TravelClock]:
    made = TravelClock()
    yield made
    made.close()


@given(st.lists(st.integers(1, 1000), max_size=40), st.integers(0, 1000))
def test_what_is_due_is_called_in_order_and_at_its_time(delays: list[int], until: int) -> None:
    """And nothing else is."""

    async def main() -> None:
        clock = TravelClock()
        begun = clock.monotonic()
        called: list[tuple[int, float]] = []
        for delay in delays:
            clock.call_later(
                delay,
                lambda d=delay: called.append((d, clock.monotonic())),  # type: ignore[misc]
            )
        await clock.advance(until)
        assert [d for d, _ in called] == sorted(d for d in delays if d <= until)
        # A second of the machine's own time at most: this is no measurement.
        assert all(0 <= at - begun - d < 1 for d, at in called)
        clock.close()

    asyncio.run(main())


async def test_what_is_due_may_lead_to_more_on_the_way(clock: TravelClock) -> None:
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(10)
            ticks.append(clock.now().timestamp())

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    begun = clock.now().timestamp()
    await clock.advance(61)
    ticking.cancel()
    assert [round((t - begun) / 10) for t in ticks] == [1, 2, 3, 4, 5, 6]


async def test_time_passes_by_itself(clock: TravelClock) -> None:
    before = clock.now()
    async with asyncio.timeout(5):
        await clock.sleep(0.01)
    assert (clock.now() - before).total_seconds() >= 0.009


async def test_what_was_cancelled_is_not_called_and_not_kept(clock: TravelClock) -> None:
    called: list[int] = []
    for i in range(5000):
        clock.call_later(100, lambda: called.append(1)).cancel()
        if i % 1000 == 0:
            clock.call_later(100, lambda: called.append(2))
    assert len(clock._due) < 1000
    await clock.advance(100)
    assert called == [2] * 5


async def test_it_is_not_put_back(clock: TravelClock) -> None:
    with pytest.raises(ValueError, match="put back"):
        await clock.advance(-1)


async def test_closed_it_calls_nothing() -> None:
    clock = TravelClock()
    called: list[int] = []
    clock.call_later(0, lambda: called.append(1))
    clock.close()
    await asyncio.sleep(0.005)
    assert not called
