"""Forwards: the ports of a plan on this machine, for as long as a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from cove.client import Client, Clock
from cove.dev.plan import Forward
from cove.host.endpoint import Forwarder, ForwardStatus, PortTakenError

__all__ = ["Forwards"]


class Forwards:
    """``async with Forwards(client, forwards, say=…) as open``; a port that is taken by another
    command of the loop, or anybody else, is said, and a free one taken."""

    def __init__(
        self,
        client: Client,
        forwards: Iterable[Forward],
        *,
        say: Callable[[str, str], None],
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._forwards = list(forwards)
        self._say = say
        self._clock = clock
        self._stack = AsyncExitStack()
        self.urls: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for forward in self._forwards:
                try:
                    forwarder = await stack.enter_async_context(self._make(forward))
                except PortTakenError as e:
                    self._say(forward.name, f"{e}; another port is taken")
                    other = self._make(replace(forward, local_port=0))
                    forwarder = await stack.enter_async_context(other)
                self.urls[forward.name] = forwarder.url
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _make(self, forward: Forward) -> Forwarder:
        told = ""

        async def changed(status: ForwardStatus) -> None:
            nonlocal told
            text = f"{status.url} leads to {status.pod}" if status.phase == "ready" else ""
            if status.phase == "failed":
                text = status.reason
            if text and text != told:
                told = text
                self._say(forward.name, text)

        return Forwarder(
            self._client,
            forward.service,
            forward.port,
            namespace=forward.namespace,
            name=forward.name,
            local_port=forward.local_port,
            scheme=forward.scheme,
            on_change=changed,
            clock=self._clock,
        )
