"""Eventually: what a test asserts, asserted again when something it has read has changed."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Self

from cove.kube.status import StatusError
from cove.testing.diagnosis import situation
from cove.testing.kubernetes._watching import Watching
from cove.testing.place import READS, Place, Read
from cove.testing.values import unwrap

__all__ = ["eventually", "eventually_async"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

# Seconds between two looks at what no watch tells of.
TICK = 0.1
# Seconds that a watch may take to be there, until it is looked at intervals, too.
OPENING = 2.0


def eventually(place: Place, what: Callable[[], Any], timeout: float, message: str) -> Any:
    """See :meth:`Kubernetes.eventually`; for plain functions."""
    call = place.bridge.call
    attempts = _Attempts(place, timeout, message)
    call(attempts.__aenter__())
    try:
        while True:
            with attempts.attempt() as attempt:
                attempt.said = what()
                if inspect.isawaitable(attempt.said):
                    if inspect.iscoroutine(attempt.said):
                        attempt.said.close()
                    raise TypeError("what is awaited is asked with `await k8s.aio.eventually(…)`")
            if attempt.passed:
                return attempt.said
            if not call(attempts.change()):
                raise AssertionError(call(attempts.told()))
    finally:
        call(attempts.__aexit__(None, None, None))


async def eventually_async(
    place: Place, what: Callable[[], Any], timeout: float, message: str
) -> Any:
    """The same for coroutines on a loop of their own."""
    wait = place.bridge.wait
    attempts = _Attempts(place, timeout, message)
    await wait(attempts.__aenter__())
    try:
        while True:
            with attempts.attempt() as attempt:
                said = what()
                attempt.said = await said if inspect.isawaitable(said) else said
            if attempt.passed:
                return attempt.said
            if not await wait(attempts.change()):
                raise AssertionError(await wait(attempts.told()))
    finally:
        await wait(attempts.__aexit__(None, None, None))


class _Attempt:
    """One attempt: takes what means "not yet" out of the way, and remembers it."""

    def __init__(self, owner: _Attempts) -> None:
        self._owner = owner
        self.said: Any = None
        self.passed = False

    def __enter__(self) -> Self:
        self._owner.begin()
        self._token = READS.set(self._owner.reads)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        READS.reset(self._token)
        if error is None:
            self.passed = unwrap(self.said) is not False
            if not self.passed:
                self._owner.problem = "it is False"
            return False
        if isinstance(error, StatusError) and error.code != 404:
            return False
        if not isinstance(error, AssertionError | LookupError | StatusError):
            return False
        self._owner.problem = str(error) or type(error).__name__
        return True


class _Attempts:
    """Owns the watches; lives on the cluster's loop but for :meth:`attempt`."""

    def __init__(self, place: Place, timeout: float, message: str) -> None:
        self.place = place
        self.reads: list[Read] = []
        self.problem = ""
        self._timeout, self._message = timeout, message
        self._until = time.monotonic() + timeout
        self._changed = asyncio.Event()
        self._watched: dict[tuple[Any, ...], Watching] = {}
        self._stack = AsyncExitStack()
        self._tick = False
        self._mark = 0
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def attempt(self) -> _Attempt:
        """The next one."""
        return _Attempt(self)

    def begin(self) -> None:
        """Forget what the last attempt has read, and the comparisons that came to nothing."""
        timeline = self.place.timeline
        if timeline is not None:
            if self._count:
                for event in timeline.assertions:
                    if event.id > self._mark:
                        timeline.retract(event.id)
            self._mark = timeline.next_id()
        self._count += 1
        self.reads.clear()
        self._changed.clear()

    async def change(self) -> bool:
        """Wait for something to change that was read; False when the time is over."""
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(left):
                for read in self.reads:
                    await self._watch(read)
                if self._tick or not self.reads:
                    try:
                        async with asyncio.timeout(TICK):
                            await self._changed.wait()
                    except TimeoutError:
                        return time.monotonic() < self._until
                else:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _watch(self, read: Read) -> None:
        if not read.watchable:
            self._tick = True
            return
        key = (id(read.place.plain), read.gvr, read.namespace, read.name)
        if key in self._watched:
            return
        watching = Watching(
            read.place.plain, read.gvr, read.namespace, read.name, self._changed.set
        )
        self._watched[key] = await self._stack.enter_async_context(watching)
        try:
            async with asyncio.timeout(OPENING):
                await watching.synced()
        except TimeoutError:
            # What cannot be watched (a kind that is yet to come) is looked at.
            self._tick = True
            return
        self._changed.clear()
        if read.name:
            now = watching.get()
            if (
                str(((now or {}).get("metadata") or {}).get("resourceVersion") or "")
                != read.version
            ):
                self._changed.set()
        elif watching.version() != read.version:
            self._changed.set()

    async def told(self) -> str:
        """What the failure says."""
        place = self.place
        times = "1 attempt" if self._count == 1 else f"{self._count} attempts"
        lines = [
            f"{self._message or 'it was not so'} within {self._timeout:g} s ({times}): "
            f"{self.problem}"
        ]
        problems = [w.problem for w in self._watched.values() if w.problem]
        lines += [f"what it reads cannot be followed: {p}" for p in dict.fromkeys(problems)]
        lines += (await situation(place.plain, place.space)).lines
        text = "\n".join(lines)
        if place.timeline is not None:
            place.timeline.note("wait", f"waited {self._timeout:g} s in vain", text)
        return text
