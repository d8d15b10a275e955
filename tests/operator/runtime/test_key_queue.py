"""The queue: each key once, never twice at a time, fair in spite of priorities."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.client import ManualClock
from cove.operator.runtime.queue import KeyQueue, QueueEndedError


async def drained(queue: KeyQueue[str]) -> list[str]:
    found = []
    while len(queue):
        key = await queue.get()
        found.append(key)
        queue.done(key)
    return found


async def test_a_key_waits_once() -> None:
    queue: KeyQueue[str] = KeyQueue(clock=ManualClock())
    for key in "abab":
        queue.add(key)
    assert await drained(queue) == ["a", "b"]


async def test_what_is_added_while_it_is_worked_on_waits_until_that_is_done() -> None:
    queue: KeyQueue[str] = KeyQueue(clock=ManualClock())
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    assert not len(queue)
    queue.done("a")
    assert await queue.get() == "a"


async def test_the_urgent_come_first_and_who_waits_becomes_urgent() -> None:
    clock = ManualClock()
    queue: KeyQueue[str] = KeyQueue(clock=clock, ageing=1.0)
    queue.add("low", -10)
    clock.advance(5)
    queue.add("now", 0)
    queue.add("urgent", 3)
    assert await queue.get() == "urgent"
    assert await queue.get() == "now"
    clock.advance(6)
    queue.add("later", 0)
    assert await queue.get() == "low", "eleven seconds are worth eleven steps"


async def test_one_that_waits_is_made_more_urgent_and_never_less() -> None:
    queue: KeyQueue[str] = KeyQueue(clock=ManualClock())
    queue.add("a", -100)
    queue.add("b", 0)
    queue.add("a", 5)
    queue.add("a", -200)
    assert await drained(queue) == ["a", "b"]


async def test_delays_go_by_the_clock_and_the_earliest_counts() -> None:
    clock = ManualClock()
    queue: KeyQueue[str] = KeyQueue(clock=clock)
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 7)
    queue.add_after("b", 6)
    assert queue.delayed == 2
    clock.advance(5)
    assert len(queue) == 1
    assert await drained(queue) == ["a"]
    queue.forget_delays("b")
    clock.advance(100)
    assert await drained(queue) == []


async def test_closing_wakes_who_waits() -> None:
    queue: KeyQueue[str] = KeyQueue(clock=ManualClock())
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(QueueEndedError):
        await getter
    queue.add("a")
    assert not len(queue)


async def test_closing_hands_out_what_waits_or_drops_it() -> None:
    queue: KeyQueue[str] = KeyQueue(clock=ManualClock())
    queue.add("a")
    queue.close()
    assert await queue.get() == "a"
    other: KeyQueue[str] = KeyQueue(clock=ManualClock())
    other.add("a")
    other.close(drop=True)
    with pytest.raises(QueueEndedError):
        await other.get()


async def test_a_cancelled_getter_does_not_lose_a_wake_up() -> None:
    queue: KeyQueue[str] = KeyQueue(clock=ManualClock())
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcd"), st.integers(-3, 3)),
        st.tuples(st.just("get"), st.just(""), st.just(0)),
        st.tuples(st.just("done"), st.just(""), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 5)),
    ),
    max_size=60,
)


@given(steps)
def test_nothing_is_lost_and_nothing_is_worked_on_twice_at_a_time(
    told: list[tuple[str, str, int]],
) -> None:
    async def run() -> None:
        clock = ManualClock()
        queue: KeyQueue[str] = KeyQueue(clock=clock, ageing=1.0)
        wanted: set[str] = set()
        working: list[str] = []
        for what, key, number in told:
            if what == "add":
                queue.add(key, number)
                wanted.add(key)
            elif what == "get" and len(queue):
                got = await queue.get()
                assert got not in working
                assert got in wanted
                wanted.discard(got)
                working.append(got)
            elif what == "done" and working:
                queue.done(working.pop(0))
            elif what == "wait":
                clock.advance(number)
        for key in working:
            queue.done(key)
        assert set(await drained(queue)) == wanted

    asyncio.run(run())
