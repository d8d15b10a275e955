"""The work queue: each key once at a time, retried later and later."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.client import ManualClock, QueueClosed, WorkQueue


async def test_a_key_that_waits_is_not_queued_twice() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert queue.get_nowait() is None


async def test_a_key_added_while_in_work_comes_back_after_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert queue.get_nowait() is None
    queue.done("a")
    assert queue.get_nowait() == "a"


async def test_get_waits_for_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await getting == "a"


async def test_closing_ends_those_who_wait() -> None:
    queue: WorkQueue[str] = WorkQueue()
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(QueueClosed):
        await getting


async def test_a_cancelled_waiter_passes_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_delays_double_with_every_failure_and_start_over_when_forgotten() -> None:
    clock = ManualClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock, base=1.0, limit=3.0)
    waited = []
    for _ in range(4):
        queue.add_rate_limited("a")
        seconds = 0.0
        while queue.get_nowait() is None:
            clock.advance(0.5)
            seconds += 0.5
        queue.done("a")
        waited.append(seconds)
    assert waited == [1.0, 2.0, 3.0, 3.0]
    queue.forget("a")
    queue.add_rate_limited("a")
    clock.advance(1.0)
    assert queue.get_nowait() == "a"


async def test_of_two_delays_the_earlier_counts() -> None:
    clock = ManualClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("a", 5.0)
    queue.add_after("a", 1.0)
    clock.advance(1.0)
    assert queue.get_nowait() == "a"
    queue.done("a")
    clock.advance(10.0)
    assert queue.get_nowait() is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc")),
            st.tuples(st.just("after"), st.sampled_from("abc")),
            st.tuples(st.just("take"), st.just("")),
            st.tuples(st.just("done"), st.sampled_from("abc")),
            st.tuples(st.just("tick"), st.just("")),
        )
    )
)
def test_no_key_is_lost_and_none_is_worked_on_twice_at_a_time(
    steps: list[tuple[str, str]],
) -> None:
    clock = ManualClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    working: Counter[str] = Counter()
    owed: set[str] = set()
    for step, key in steps:
        if step == "add":
            queue.add(key)
            owed.add(key)
        elif step == "after":
            queue.add_after(key, 1.0)
            owed.add(key)
        elif step == "tick":
            clock.advance(1.0)
        elif step == "take":
            taken = queue.get_nowait()
            if taken is not None:
                working[taken] += 1
                assert working[taken] == 1
                owed.discard(taken)
        elif working[key]:
            queue.done(key)
            working[key] -= 1
    clock.advance(1.0)
    for key in list(working.elements()):
        queue.done(key)
    left = set()
    while (taken := queue.get_nowait()) is not None:
        left.add(taken)
    assert owed <= left
