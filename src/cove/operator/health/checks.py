"""Health: the checks of an operator, its own and those that every operator has.

A standby is as ready as the leader: rolling updates wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cove.operator.errors import EntityError

if TYPE_CHECKING:
    from cove.operator.runtime.runtime import Runtime

__all__ = ["Check", "Health", "Report"]

log = logging.getLogger("cove.operator")

# Seconds that an informer may have a problem until the operator is not ready.
PATIENCE = 60.0
# Seconds that the event loop may take for one turn.
LATE = 1.0
# Seconds that checks in threads have to end when nobody asks any more.
GOODBYE = 1.0


Answer = tuple[Any, Exception | None]


@dataclass(frozen=True, slots=True)
class Check:
    """A function that fails by raising, by returning False, or the reason as a string.

    One that is no coroutine function runs in a thread.  ``timeout`` is in seconds.
    """

    name: str
    function: Callable[[], Any]
    ready: bool = True
    live: bool = False
    timeout: float = 5.0

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise EntityError(f'"{self.name}" is no name of a check: it is part of a path')
        if not (self.ready or self.live):
            raise EntityError(f"check {self.name} is asked for nothing: ready, live, or both")


class Report(NamedTuple):
    """The checks that were made: a name, and why it failed; "" where it did not."""

    results: tuple[tuple[str, str], ...]

    @property
    def good(self) -> bool:
        """Whether none has failed."""
        return not any(reason for _, reason in self.results)

    def of(self, name: str) -> str | None:
        """What came of one of them, None if there is none of that name."""
        return dict(self.results).get(name)


class Health:
    """The checks of one operator.  Left, its threads have ended, but for checks that hang.

    :meth:`follow` a runtime to be told whether what it follows is in memory.  ``synced`` False
    does not wait for that: who converts what it follows is asked by the API server, which asks
    only those that are ready, before anything can be listed.
    """

    def __init__(self, checks: Iterable[Check] = (), *, synced: bool = True) -> None:
        self.checks: list[Check] = [
            Check("ping", _pong, ready=True, live=True),
            Check("event-loop", _turns, ready=False, live=True),
        ]
        if synced:
            self.checks += [Check("stores", self._stores), Check("watches", self._watches)]
        self._runtime: Runtime | None = None
        self._patience = PATIENCE
        self._asked: dict[str, asyncio.Future[Answer]] = {}
        self._failing: set[str] = set()
        for check in checks:
            self.add(check)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        asked = [answer for answer in self._asked.values() if not answer.done()]
        if asked:
            await asyncio.wait(asked, timeout=GOODBYE)

    def add(self, check: Check) -> None:
        """Ask this, too.  Raises EntityError if there is one of that name."""
        if any(known.name == check.name for known in self.checks):
            raise EntityError(f'there is a check "{check.name}" already: name it otherwise')
        self.checks.append(check)

    def follow(self, runtime: Runtime, *, patience: float = PATIENCE) -> None:
        """Be ready when what this runtime follows is in memory, in place of an earlier one's.

        ``patience`` is for how many seconds it may fail to reach the server, once it is.
        """
        self._runtime = runtime
        self._patience = patience

    # -- asking

    async def live(self, *, exclude: Collection[str] = (), only: str = "") -> Report:
        """Whether it lives: if not, starting it anew may help."""
        return await self._ask([c for c in self.checks if c.live], exclude, only)

    async def ready(self, *, exclude: Collection[str] = (), only: str = "") -> Report:
        """Whether it can do its work."""
        return await self._ask([c for c in self.checks if c.ready], exclude, only)

    async def _ask(self, checks: list[Check], exclude: Collection[str], only: str) -> Report:
        checks = [c for c in checks if c.name not in exclude and only in ("", c.name)]
        reasons = await asyncio.gather(*(self._one(check) for check in checks))
        return Report(tuple((c.name, r) for c, r in zip(checks, reasons, strict=True)))

    async def _one(self, check: Check) -> str:
        try:
            async with asyncio.timeout(check.timeout):
                said = await self._call(check)
        except TimeoutError as e:
            reason = str(e) or f"no answer within {check.timeout:g} s"
        except Exception as e:
            reason = str(e) or type(e).__name__
        else:
            reason = said if isinstance(said, str) else "it says no" if said is False else ""
        self._note(check.name, reason)
        return reason

    async def _call(self, check: Check) -> Any:
        if inspect.iscoroutinefunction(check.function):
            return await check.function()
        asked = self._asked.get(check.name)
        if asked is None or asked.done():
            asked = self._asked[check.name] = _in_thread(check)
        # Who stops waiting cannot stop the thread, and who asks next waits for the same answer.
        said, error = await asyncio.shield(asked)
        if error is not None:
            raise error
        return await said if inspect.isawaitable(said) else said

    def _note(self, name: str, reason: str) -> None:
        """Say why, once: probes are told no reasons and come again and again."""
        if reason and name not in self._failing:
            self._failing.add(name)
            log.warning("check %s failed: %s", name, reason)
        elif not reason and name in self._failing:
            self._failing.discard(name)
            log.info("check %s is well again", name)

    # -- those of every operator

    async def _stores(self) -> str:
        if self._runtime is None:
            return "nothing is followed yet"
        missing = [info.cls.__name__ for info in self._runtime.stores if not info.synced]
        return f"not listed yet: {', '.join(missing)}" if missing else ""

    async def _watches(self) -> str:
        if self._runtime is None:
            return ""
        now = self._runtime.clock.monotonic()
        informers = {i for store in self._runtime.stores for i in store.informers}
        bad = [
            f"{i.name}: {i.problem}"
            for i in informers
            if i.problem_since is not None and now - i.problem_since > self._patience
        ]
        return "; ".join(sorted(bad))


def _in_thread(check: Check) -> asyncio.Future[Answer]:
    """What a function says, or raises; its thread keeps nobody from ending the program."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()

    def tell(answer: Answer) -> None:
        if not future.done():
            future.set_result(answer)

    def run() -> None:
        try:
            answer: Answer = (check.function(), None)
        except Exception as e:
            answer = (None, e)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, answer)

    threading.Thread(target=run, name=f"check {check.name}", daemon=True).start()
    return future


async def _pong() -> None:
    """Whoever answers is there."""


async def _turns() -> str:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(0)
    took = loop.time() - began
    return f"one turn took {took:.1f} s" if took > LATE else ""
