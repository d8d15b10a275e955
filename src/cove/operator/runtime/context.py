"""Ctx: what a handler is given besides its object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol, TypeVar

from cove.client import Client, Clock
from cove.operator.entities import Entity, info, to_document, with_owner
from cove.operator.runtime.api import Api
from cove.operator.runtime.predicates import Change

__all__ = ["Ctx", "Publisher"]

Doc = dict[str, Any]
E = TypeVar("E", bound=Entity)


class Publisher(Protocol):
    """Who publishes events; never fails and never waits."""

    def publish(
        self, about: Entity, reason: str, message: str, *, type: str, action: str
    ) -> None: ...


class _Log(logging.LoggerAdapter[logging.Logger]):
    """Lines that say which object they are about, for people and for machines."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        extra = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return f"{extra['object']}: {msg}", {**kwargs, "extra": extra}


class Ctx:
    """One call of a handler: the API, the object's log, events, and what led to the call.

    ``change`` is why it is called; ``attempt`` counts from 1 since the last success;
    ``stopping`` is set when the operator is about to end, so that who takes long may stop at
    a good moment.
    """

    def __init__(
        self,
        api: Api,
        about: Entity,
        *,
        change: Change,
        attempt: int,
        publisher: Publisher,
        clock: Clock,
        stopping: asyncio.Event,
        logger: logging.Logger,
    ) -> None:
        self.api = api
        self.change = change
        self.attempt = attempt
        self.clock = clock
        self.stopping = stopping
        self._about = about
        self._publisher = publisher
        said = info(about)
        key = f"{about.metadata.namespace}/{about.metadata.name}".lstrip("/")
        self.log: logging.LoggerAdapter[logging.Logger] = _Log(
            logger,
            {
                "object": f"{said.kind.lower()} {key}",
                # Of one name: a log record has a name of its own.
                "kubernetes": {
                    "kind": said.kind,
                    "namespace": about.metadata.namespace or "",
                    "name": about.metadata.name,
                    "uid": about.metadata.uid or "",
                    "attempt": attempt,
                },
            },
        )

    @property
    def client(self) -> Client:
        """The client below the API, for what that does not do."""
        return self.api.client

    async def get(self, cls: type[E], name: str, namespace: str | None = None) -> E | None:
        """See Api.get; ``namespace`` None is the object's own."""
        return await self.api.get(cls, name, self._namespace(cls, namespace))

    async def list(
        self, cls: type[E], namespace: str | None = None, *, selector: str = ""
    ) -> list[E]:
        """See Api.list; ``namespace`` None is the object's own, "*" all of them."""
        place = None if namespace == "*" else self._namespace(cls, namespace)
        return await self.api.list(cls, place, selector=selector)

    async def apply(self, child: E, *, owned: bool = True, force: bool = True) -> E:
        """Apply what is wanted, as a child of the object: it goes when the object goes.

        Its namespace is the object's unless it says another; a no-op is not sent.  A cluster-
        scoped child of an object in a namespace cannot be owned (``owned=False``).
        """
        if info(child).namespaced and not child.metadata.namespace:
            child.metadata.namespace = self._about.metadata.namespace
        if owned:
            child = with_owner(child, self._about)
        return await self.api.apply(child, force=force)

    async def create(self, obj: E) -> E:
        """See Api.create."""
        return await self.api.create(obj)

    async def update(self, obj: E) -> E:
        """See Api.update."""
        return await self.api.update(obj)

    async def patch(self, obj: E, patch: Mapping[str, Any]) -> E:
        """See Api.patch: a merge patch."""
        return await self.api.patch(obj, patch)

    async def delete(self, obj: Entity) -> bool:
        """See Api.delete."""
        return await self.api.delete(obj)

    def event(
        self,
        reason: str,
        message: str,
        *,
        type: str = "Normal",
        about: Entity | None = None,
        action: str = "Reconcile",
    ) -> None:
        """Publish an event about the object, or another one; the same again is counted.

        Never fails and never waits.  ``type`` is Normal or Warning.
        """
        self._publisher.publish(
            about if about is not None else self._about, reason, message, type=type, action=action
        )

    def publisher(
        self, reason: str, *, type: str = "Normal", about: Entity | None = None
    ) -> Callable[..., None]:
        """A publisher of one event: ``scaled = ctx.publisher("Scaled"); scaled("to 3")``.

        About the object, or the one that is given here, or with each call (``about=``).
        """

        def publish(message: str, *, about: Entity | None = about) -> None:
            self.event(reason, message, type=type, about=about)

        return publish

    async def add_finalizer(self, name: str) -> None:
        """Keep the object from going before the finalizer of that name has run.

        Nothing if it is there; RetryError if somebody changed the list meanwhile.
        """
        there = self._about.metadata.finalizers
        if name not in there:
            await self._put_finalizers([*there, name])

    async def remove_finalizer(self, name: str) -> None:
        """Take a finalizer off the object without running it; nothing if it is not there."""
        there = self._about.metadata.finalizers
        if name in there:
            await self._put_finalizers([f for f in there if f != name])

    async def _put_finalizers(self, names: Sequence[str]) -> None:
        doc = to_document(self._about)
        answer = await self.api.put_finalizers(info(self._about).gvr, doc, names)
        self._about.metadata.finalizers = [*names]
        self._about.metadata.resource_version = answer["metadata"]["resourceVersion"]

    def warn(self, reason: str, message: str) -> None:
        """Publish a Warning about the object."""
        self.event(reason, message, type="Warning")

    def _namespace(self, cls: type[Entity], namespace: str | None) -> str | None:
        if not info(cls).namespaced:
            return None
        return namespace or self._about.metadata.namespace or None
