"""Board: what every resource of a running application is doing, told to whoever asks.

A state is published by the one owner of its resource, and publishing ends when everybody
who follows has been told.  Who waits is told at once when waiting has become vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from cove.client import Clock
from cove.host.errors import ResourceError
from cove.host.states import State, Status, Want

__all__ = ["BlockedError", "Board", "UnknownResourceError", "WaitTimeoutError"]

Follower = Callable[[Status], Awaitable[None]]


class UnknownResourceError(ResourceError):
    """An application has no resource of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f'there is no resource "{name}"; there are {", ".join(known)}')


class BlockedError(ResourceError):
    """What was waited for can no longer come; :attr:`chain` says why, from the end."""

    def __init__(self, what: str, chain: list[Status]) -> None:
        self.chain = chain
        super().__init__(f"{what}: {explain(chain)}")


class WaitTimeoutError(ResourceError):
    """What was waited for did not come in time; :attr:`chain` is what stands in the way."""

    def __init__(self, what: str, timeout: float, chain: list[Status]) -> None:
        self.chain = chain
        super().__init__(f"{what} within {timeout:g} s: {explain(chain)}")


def explain(chain: Iterable[Status]) -> str:
    """A chain of statuses as one sentence; why those in between failed is what follows."""
    return " ← ".join(
        f"{status.name} is {status.state}" if status.because_of else str(status) for status in chain
    )


class Board:
    """The statuses of an application's resources; see the module."""

    def __init__(self, statuses: Iterable[Status], clock: Clock) -> None:
        self._statuses = {s.name: replace(s, since=clock.now().timestamp()) for s in statuses}
        self._clock = clock
        self._followers: list[Follower] = []
        self._waiting: dict[asyncio.Future[bool], Callable[[], bool]] = {}

    def __iter__(self) -> Iterator[Status]:
        return iter(tuple(self._statuses.values()))

    def __getitem__(self, name: str) -> Status:
        """The status of a resource; raises :class:`UnknownResourceError`."""
        try:
            return self._statuses[name]
        except KeyError:
            raise UnknownResourceError(name, self._statuses) from None

    def follow(self, follower: Follower) -> None:
        """Tell ``follower`` of every change from now on, before its publishing ends."""
        self._followers.append(follower)

    async def publish(self, name: str, **changes: Any) -> Status:
        """Change the status of a resource, and return when all who follow were told.

        Nothing is told when nothing changed.
        """
        before = self[name]
        status = replace(before, **changes)
        if status.state is not before.state:
            status = replace(status, since=self._clock.now().timestamp())
        if status == before:
            return status
        self._statuses[name] = status
        # Who waits is told last, but sees this state and not one that followed.
        try:
            for follower in tuple(self._followers):
                await follower(status)
        finally:
            self._ask()
        return status

    async def until(self, what: Callable[[], bool], timeout: float | None = None) -> bool:
        """Return once ``what`` is true; it is asked at every change, so that none is missed.

        False when ``timeout`` seconds have passed before; None waits for ever.
        """
        if what():
            return True
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[told] = what
        timer = None
        if timeout is not None:
            timer = self._clock.call_later(timeout, lambda: _settle(told, False))
        try:
            return await told
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.pop(told, None)

    def _ask(self) -> None:
        for told, what in tuple(self._waiting.items()):
            if not told.done() and what():
                _settle(told, True)

    async def wait(self, name: str, want: Want = "healthy", timeout: float | None = None) -> Status:
        """Return when a resource is healthy, or has completed.

        Raises :class:`BlockedError` once that cannot happen by itself any more,
        :class:`WaitTimeoutError` after ``timeout`` seconds (None: never), both with the
        chain of what stands in the way, and :class:`UnknownResourceError`.
        """
        what = f"{name} is not healthy" if want == "healthy" else f"{name} did not complete"
        found = self[name]
        vain = False

        def settled() -> bool:
            # What holds at this moment is the answer, whatever follows.
            nonlocal found, vain
            found, vain = self[name], self.vain(name)
            return vain or found.meets(want)

        in_time = await self.until(settled, timeout)
        if found.meets(want):
            return found
        if in_time:
            raise BlockedError(what, self.chain(name))
        raise WaitTimeoutError(what, timeout or 0.0, self.chain(name))

    def vain(self, name: str) -> bool:
        """Whether a resource has ended and so will not become healthy by itself."""
        return self[name].failed

    def chain(self, name: str) -> list[Status]:
        """A resource, what it waits for, what that waits for, … down to the first cause."""
        chain = [self[name]]
        while True:
            last = chain[-1]
            following = last.because_of
            if not following and last.state is State.WAITING and last.waiting_for:
                # One that has failed tells more than one that is still on its way.
                waited = [self[other] for other in last.waiting_for]
                following = next((s.name for s in waited if s.failed), waited[0].name)
            if not following or any(s.name == following for s in chain):
                return chain
            chain.append(self[following])


def _settle(told: asyncio.Future[bool], result: bool) -> None:
    if not told.done():
        told.set_result(result)
