"""Controller: keys in a queue, and a function that makes the world fit one of them.

A controller watches through shared informers, queues the keys of what has to be looked
at, and its workers call :meth:`Controller.sync` for one key at a time.  A sync that fails
is tried again, later each time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cove.client import (
    Client,
    Clock,
    Informer,
    Informers,
    QueueClosed,
    Recorder,
    Tasks,
    UnreachableError,
    WorkQueue,
)
from cove.client.meta import controller_of, key_of
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

if TYPE_CHECKING:
    from cove.pki.authority import Authority

__all__ = ["Context", "Controller", "Doc", "Retry"]

log = logging.getLogger("cove.controllers")

Doc = dict[str, Any]


class Retry(Exception):  # noqa: N818 - a wish, not a fault
    """Raised by a sync that has to be tried again, without more to say."""


class Context:
    """What controllers are made with.

    ``ca`` is the cluster's certificate authority in PEM, "" if pods need none;
    ``authority`` gives the one that signs, None where nobody does; ``recorder`` gives the
    event recorder of a component.
    """

    def __init__(
        self,
        client: Client,
        informers: Informers,
        clock: Clock,
        rng: random.Random,
        recorder: Callable[[str], Recorder],
        ca: str = "",
        authority: Callable[[], Authority] | None = None,
    ) -> None:
        self.client = client
        self.informers = informers
        self.clock = clock
        self.rng = rng
        self.recorder = recorder
        self.ca = ca
        self.authority = authority


class Controller:
    """Base of the controllers; subclasses register handlers in ``__init__`` and sync keys.

    ``workers`` keys are worked on at a time.
    """

    name = ""
    workers = 5
    # Seconds between attempts at a key that keeps failing: client-go's.
    retry_base = 0.005
    retry_limit = 1000.0

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.client
        self.clock = context.clock
        self.queue: WorkQueue[str] = WorkQueue(
            clock=context.clock, base=self.retry_base, limit=self.retry_limit
        )
        self._informers: list[Informer] = []

    async def sync(self, key: str) -> None:
        """Make the world fit what ``key`` names; raise to have it tried again."""
        raise NotImplementedError

    def informer(self, gvr: GVR, *, metadata_only: bool = False) -> Informer:
        """A shared informer that is synced before the first key is."""
        informer = self.context.informers.informer(gvr, metadata_only=metadata_only)
        self._informers.append(informer)
        return informer

    def watch_own(self, informer: Informer) -> None:
        """Queue every object of ``informer`` that changes."""

        def handle(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
            self.queue.add(key_of(new or old or {}))

        informer.add_handler(handle)

    def watch_owned(self, informer: Informer, kind: str) -> None:
        """Queue the controlling owners, of ``kind``, of what changes."""

        def handle(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
            for obj in (old, new):
                if obj is not None:
                    owner = controller_of(obj)
                    if owner is not None and owner["kind"] == kind:
                        self.queue.add(f"{obj['metadata']['namespace']}/{owner['name']}")

        informer.add_handler(handle)

    def idle(self) -> bool:
        """Whether nothing waits or is in work; delayed keys do not count."""
        return self.queue.idle

    def start(self, tasks: Tasks) -> None:
        """Start the workers."""
        for index in range(self.workers):
            tasks.start(f"{self.name} {index}", self._work())

    def stop(self) -> None:
        """Take no more keys."""
        self.queue.close()

    async def _work(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        queue = self.queue
        while True:
            try:
                key = await queue.get()
            except QueueClosed:
                return
            try:
                await self.sync(key)
            except Retry:
                queue.add_rate_limited(key)
            except StatusError as e:
                # Somebody else was faster; the next look will see what they did.
                level = logging.DEBUG if e.code in (404, 409, 429) else logging.INFO
                log.log(level, "%s: %s: %s", self.name, key, e)
                queue.add_rate_limited(key)
            except UnreachableError as e:
                log.info("%s: %s: %s", self.name, key, e)
                queue.add_rate_limited(key)
            except Exception:
                # The boundary of one key: its fault must not end the worker of all others.
                log.exception("%s: %s failed", self.name, key)
                queue.add_rate_limited(key)
            else:
                queue.forget(key)
            finally:
                queue.done(key)
            # Calls within the process never wait: others get their turn here.
            await asyncio.sleep(0)


def split(key: str) -> tuple[str, str]:
    """(namespace, name) of a key."""
    namespace, _, name = key.rpartition("/")
    return namespace, name
