"""Elector: work that one replica does at a time, chosen by a Lease.

::

    async with Elector(client, "cache-operator", "caches") as elector:
        await run_elected(lambda: op.runtime(client), elector)

Source: https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Self

from cove.client import Client, ClientError, Clock, Informer, Recorder, SystemClock, deadline
from cove.client.clock import Timer
from cove.client.recorder import reference
from cove.kube.status import StatusError
from cove.operator.leadership.lease import LEASES, Claim
from cove.operator.runtime.runtime import Runtime
from cove.operator.settings import Leadership

__all__ = ["Elector", "new_identity", "run_elected"]

log = logging.getLogger("cove.operator")

# Seconds of the machine that a goodbye may take: nobody advances the clock of one who leaves.
GOODBYE = 5.0
# Candidates wait up to so many times longer than told, so that not all try at once: client-go's.
JITTER = 1.2
# Seconds of the machine in which a task is told that it is cancelled.
MOMENT = 0.02

Doc = dict[str, Any]
Work = Callable[[], Awaitable[None]]


def new_identity() -> str:
    """A name that no other replica has, not even an earlier one on this machine."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class Elector:
    """A candidate for a Lease; entered it follows it, and it stands in :meth:`term` only.

    ``namespace`` "" is the client's own.  The client is the caller's.  Left, the Lease is
    free, if it was ours, and nothing of it runs.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        namespace: str = "",
        identity: str = "",
        leadership: Leadership | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.times = leadership or Leadership()
        self.name = self.times.name or name
        self.namespace = self.times.namespace or namespace or client.namespace
        self.identity = identity or new_identity()
        self._clock = clock or SystemClock()
        self._claim = Claim(
            client, self.name, self.namespace, self.identity, self.times, self._clock,
            lost=self._lost,
        )  # fmt: skip
        self._informer = Informer(
            client,
            LEASES,
            namespace=self.namespace,
            field_selector=f"metadata.name={self.name}",
            clock=self._clock,
        )
        self._informer.add_handler(self._told)
        self._recorder = Recorder(client, name, host=self.identity, clock=self._clock)
        self._rng = random.Random()
        self._wake = asyncio.Event()
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._leading = False
        self._demoted = False
        self._handlers: list[Callable[[bool], None]] = []
        self._change = asyncio.Event()

    @property
    def leading(self) -> bool:
        """Whether this replica is the one that works; exact at any time of the clock."""
        return self._claim.held

    @property
    def holder(self) -> str:
        """Who leads, as far as is known; "" nobody."""
        return self._claim.holder

    async def changed(self) -> bool:
        """Wait until leadership is won or lost, and tell which."""
        await self._change.wait()
        return self.leading

    def add_handler(self, handler: Callable[[bool], None]) -> None:
        """Call ``handler`` with whether it leads: now, and whenever that changes."""
        self._handlers.append(handler)
        handler(self.leading)

    # -- its life

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._recorder)
            await stack.enter_async_context(self._informer)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._release()
            async with asyncio.timeout(GOODBYE):
                await self._recorder.written()
        except TimeoutError:
            log.warning("events of %s were not written", self.name)
        finally:
            await self._stack.aclose()

    # -- leading

    async def lead(self, work: Work) -> None:
        """Do ``work`` whenever this replica leads, again for every term, until cancelled.

        Returns when the work has returned; what it raises is raised.
        """
        while not await self.term(work):
            pass

    async def term(self, work: Work) -> bool:
        """Wait for leadership and do ``work`` under it: True when that has returned.

        False when leadership was lost: then the work was cancelled, and once more half-way to
        when another replica may lead, for the case that its end takes long.  Cancelled, it
        cancels the work and leads on until that has ended.
        """
        await self._win()
        self._demoted = False
        self._turn()
        log.info("%s leads %s", self.identity, self.name)
        self._tell("became leader")
        task = self._task = asyncio.ensure_future(_run(work))
        task.set_name(f"work of {self.name}")
        renewals = asyncio.create_task(self._renew(), name=f"renewals of {self.name}")
        try:
            await _ended(task)
        finally:
            self._task = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            renewals.cancel()
            await asyncio.gather(renewals, return_exceptions=True)
            log.info("%s does not lead %s any more", self.identity, self.name)
            self._tell("stopped leading")
            await self._release()
        return self._outcome(task)

    def _outcome(self, task: asyncio.Task[None]) -> bool:
        if not self._demoted:
            task.result()
            return True
        if not task.cancelled() and task.exception() is not None:
            log.error("work of %s failed at its end", self.name, exc_info=task.exception())
        return False

    async def _win(self) -> None:
        while True:
            self._wake.clear()
            if await self._claim.attempt():
                return
            delay = self.times.retry * (1 + self._rng.random() * JITTER)
            if not self._claim.available:
                delay = min(delay, max(self._claim.expires, 1e-3))
            await self._woken(delay)

    async def _renew(self) -> None:
        while self.leading:
            self._wake.clear()
            await self._woken(self.times.retry)
            if self.leading:
                await self._claim.attempt()

    async def _woken(self, delay: float) -> None:
        try:
            async with deadline(self._clock, delay):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _told(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """The watch tells of the Lease: one that becomes free is taken at once."""
        self._claim.told(new)
        if new is None or (not self.leading and self._claim.available):
            self._wake.set()

    def _lost(self) -> None:
        """The claim says so, at the very time."""
        task = self._task
        if task is not None and not task.done():
            self._demoted = True
            task.cancel()
            if self.holder not in ("", self.identity):
                self._hurry(task)
            else:
                half = self._claim.until_taken / 2
                self._timer = self._clock.call_later(half, lambda: self._hurry(task))
        self._turn()

    def _hurry(self, task: asyncio.Task[None]) -> None:
        """Cancel it again; a moment later, for it may not have been told of the first yet."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(MOMENT, task.cancel)

    def _turn(self) -> None:
        if self.leading == self._leading:
            return
        self._leading = self.leading
        self._change.set()
        self._change = asyncio.Event()
        for handler in self._handlers:
            handler(self._leading)

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE):
                await self._claim.release()
        except (TimeoutError, StatusError, ClientError) as e:
            log.warning("lease %s was not given back: %r", self.name, e)
        finally:
            self._turn()

    def _tell(self, what: str) -> None:
        doc = self._claim.doc or {"metadata": {"name": self.name, "namespace": self.namespace}}
        involved = reference(doc, "coordination.k8s.io/v1", "Lease")
        self._recorder.event(involved, "Normal", "LeaderElection", f"{self.identity} {what}")


async def _run(work: Work) -> None:
    await work()


async def _ended(task: asyncio.Task[None]) -> None:
    """Return when it has ended; cancelled, it is cancelled and still waited for."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as e:
            cancelled = e
            task.cancel()
    if cancelled is not None:
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed at its end", task.get_name(), exc_info=task.exception())
        raise cancelled


async def run_elected(make_runtime: Callable[[], Runtime], elector: Elector) -> None:
    """Have an operator work whenever this replica leads, until cancelled.

    Standing by, a runtime is entered and synced: its work begins at once.  After leadership
    was lost another one takes its place.
    """
    while True:
        async with make_runtime() as runtime:
            runtime.mine = lambda key: elector.leading
            # Twice: who led may have seen the end of an object and died before anything was done.
            runtime.memory = 2 * elector.times.lease

            async def work(runtime: Runtime = runtime) -> None:
                runtime.readd()
                await runtime.work()

            await runtime.synced()
            if await elector.term(work):
                return
