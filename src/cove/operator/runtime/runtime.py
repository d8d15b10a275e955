"""Runtime: an operator's controllers at work on one cluster.

Entered it follows what its controllers want to know; :meth:`Runtime.work` calls their
handlers, when the operator leads.  Left, no task, watch or connection of it is open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self

from cove.client import Client, Clock, Recorder, SystemClock
from cove.operator.entities import Entity
from cove.operator.runtime.api import Api
from cove.operator.runtime.context import Ctx
from cove.operator.runtime.controller import Controller
from cove.operator.runtime.inject import Providers
from cove.operator.runtime.meters import Meters, Unmetered
from cove.operator.runtime.predicates import Change
from cove.operator.runtime.publisher import EventPublisher
from cove.operator.runtime.registry import ControllerSpec
from cove.operator.runtime.stores import Stores

__all__ = ["Runtime"]

log = logging.getLogger("cove.operator")


class Runtime:
    """``async with Runtime(…) as runtime: await runtime.work()``.

    ``namespaces`` empty follows all; ``grace`` is how many seconds handlers that run have to
    end when the work ends.  The client and the providers belong to the caller.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        controllers: Sequence[ControllerSpec],
        *,
        providers: Providers | None = None,
        namespaces: Sequence[str] = (),
        meters: Meters | None = None,
        clock: Clock | None = None,
        grace: float = 30.0,
        watch_timeout: float = 300.0,
    ) -> None:
        self.name = name
        self.clock: Clock = clock or SystemClock()
        self.client = client.named(name)
        self.providers = providers or Providers()
        self.meters: Meters = meters or Unmetered()
        self.stopping = asyncio.Event()
        self.stores = Stores(
            self.client, namespaces=namespaces, clock=self.clock, watch_timeout=watch_timeout
        )
        self.api = Api(self.client, self.stores, name)
        self._specs = tuple(controllers)
        self._grace = grace
        self._stack = AsyncExitStack()
        self.controllers: list[Controller] = []
        # Whose keys are whose: a standby has none, a replica those of its shards.  What becomes
        # somebody's is added by :meth:`readd`; objects that went meanwhile are remembered for so
        # many seconds, as long as nobody may have been there to see it.
        self.mine: Callable[[str], bool] = everything_is
        self.memory = 0.0
        self._recorder = Recorder(self.client, name, clock=self.clock)
        self.publisher = EventPublisher(self._recorder)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._recorder)
            await stack.enter_async_context(self.providers)
            for type_, value in ((Client, self.client), (Api, self.api), (Stores, self.stores)):
                self.providers.value(type_, value)
            await stack.enter_async_context(self.stores)
            self.meters.stores(self.stores)
            for spec in self._specs:
                controller = Controller(self, spec)
                await controller.prepare()
                controller.follow()
                self.controllers.append(controller)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.stopping.set()
        await self._stack.aclose()

    async def synced(self) -> None:
        """Return when everything that is followed has been listed once."""
        await asyncio.gather(*(store.wait() for store in self.stores))

    @property
    def idle(self) -> bool:
        """Whether no key waits or is being worked on; what comes later does not count."""
        return all(controller.queue.idle for controller in self.controllers)

    def readd(self, belongs: Callable[[str], bool] | None = None) -> None:
        """Have every key looked at that ``belongs``, None: that is mine."""
        for controller in self.controllers:
            controller.readd(belongs or self.mine)

    async def handed_over(self, belongs: Callable[[str], bool]) -> None:
        """Return when no key that ``belongs`` is being worked on; none is taken if none is mine."""
        for controller in self.controllers:
            await controller.handed_over(belongs)

    def abandon(self, belongs: Callable[[str], bool]) -> None:
        """End the calls for keys that ``belongs``: they may be somebody else's from now on."""
        for controller in self.controllers:
            controller.abandon(belongs)

    async def work(self) -> None:
        """Call handlers until cancelled; those that run then have ``grace`` seconds to end.

        Cancelled again, they have none.
        """
        await self.synced()
        workers = {
            asyncio.create_task(controller.work(), name=f"{controller.spec.name} worker {n}")
            for controller in self.controllers
            for n in range(controller.spec.workers)
        }
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
            for worker in done:
                worker.result()
        finally:
            await self._finish(workers)

    async def _finish(self, workers: set[asyncio.Task[None]]) -> None:
        self.stopping.set()
        for controller in self.controllers:
            controller.queue.close(drop=True)
        pending = {worker for worker in workers if not worker.done()}
        try:
            if pending and self._grace:
                _, pending = await asyncio.wait(pending, timeout=self._grace)
                for worker in pending:
                    log.warning("%s did not end within %g s", worker.get_name(), self._grace)
        finally:
            for worker in pending:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def context(self, obj: Entity, *, change: Change, attempt: int, logger: logging.Logger) -> Ctx:
        """What a handler is given for one call."""
        return Ctx(
            self.api,
            obj,
            change=change,
            attempt=attempt,
            publisher=self.publisher,
            clock=self.clock,
            stopping=self.stopping,
            logger=logger,
        )


def everything_is(key: str) -> bool:
    """Whose keys are whose, for one who is alone."""
    return True
