"""The board: states are told to all before publishing ends; waiting ends when it is vain."""

from __future__ import annotations

import asyncio

import pytest

from cove.client import ManualClock
from cove.host.board import BlockedError, Board, UnknownResourceError, WaitTimeoutError
from cove.host.states import State, Status


def board(*names: str) -> tuple[Board, ManualClock]:
    clock = ManualClock()
    return Board((Status(name=n, kind="process") for n in names), clock), clock


async def test_publishing_ends_when_all_were_told() -> None:
    tested, _ = board("api")
    told: list[str] = []

    async def slow(status: Status) -> None:
        await asyncio.sleep(0)
        told.append(str(status))

    tested.follow(slow)
    await tested.publish("api", state=State.STARTING, reason="")
    assert told == ["api is Starting"]
    await tested.publish("api", state=State.STARTING, reason="")
    assert told == ["api is Starting"], "nothing had changed"


async def test_waiting_ends_with_the_state_that_was_waited_for() -> None:
    tested, _ = board("api")
    waiting = asyncio.create_task(tested.wait("api"))
    await asyncio.sleep(0)
    await tested.publish("api", state=State.RUNNING)
    await tested.publish("api", state=State.EXITED, reason="later")
    assert (await waiting).state is State.RUNNING


async def test_waiting_for_completion_is_not_satisfied_by_running() -> None:
    tested, _ = board("job")
    waiting = asyncio.create_task(tested.wait("job", "completed"))
    await tested.publish("job", state=State.RUNNING)
    await asyncio.sleep(0)
    assert not waiting.done()
    await tested.publish("job", state=State.FINISHED)
    assert (await waiting).completed


async def test_waiting_that_is_vain_ends_with_the_chain() -> None:
    tested, _ = board("api", "web", "db")
    waiting = asyncio.create_task(tested.wait("api"))
    await tested.publish("db", state=State.FAILED_TO_START, reason="no such chart")
    await tested.publish(
        "web", state=State.FAILED_TO_START, reason="it was not started", because_of="db"
    )
    await tested.publish(
        "api", state=State.FAILED_TO_START, reason="it was not started", because_of="web"
    )
    with pytest.raises(BlockedError) as raised:
        await waiting
    assert [s.name for s in raised.value.chain] == ["api", "web", "db"]
    assert str(raised.value).endswith("db is FailedToStart: no such chart")


async def test_a_timeout_tells_what_stands_in_the_way() -> None:
    tested, clock = board("api", "web")
    await tested.publish("api", state=State.WAITING, reason="for web", waiting_for=("web",))
    await tested.publish("web", state=State.STARTING, reason="Service shop has no ready pod")
    waiting = asyncio.create_task(tested.wait("api", timeout=30))
    await asyncio.sleep(0)
    clock.advance(30)
    with pytest.raises(WaitTimeoutError) as raised:
        await waiting
    assert str(raised.value) == (
        "api is not healthy within 30 s: api is Waiting: for web ← web is Starting: "
        "Service shop has no ready pod"
    )


async def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    tested, _ = board("api", "web")
    with pytest.raises(UnknownResourceError, match='no resource "db"; there are api, web'):
        await tested.wait("db")


async def test_a_cancelled_wait_leaves_nothing() -> None:
    tested, _ = board("api")
    waiting = asyncio.create_task(tested.wait("api", timeout=5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not tested._waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_status_survives_json() -> None:
    status = Status(
        name="a",
        kind="process",
        state=State.EXITED,
        reason="x",
        exit_code=3,
        url="u",
        waiting_for=("b",),
    )
    assert Status.from_dict(status.to_dict()) == status
