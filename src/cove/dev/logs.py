"""Logs: what the containers of a round say, line by line, for as long as they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote, urlencode

from cove.client import Client, ClientError, Clock, SystemClock, Tasks
from cove.dev.pods import Container
from cove.kube.status import StatusError

__all__ = ["Logs"]

# Seconds until a log that broke off is asked for again; a line longer than this is cut.
AGAIN = 1.0
LONGEST = 64 * 1024


class Logs:
    """A listener of Pods: ``async with Logs(client, show) as logs``; ``show(name, line)``.

    Every run of a container is followed from its beginning; the next one, and those of pods
    that replace it, follow by themselves.
    """

    def __init__(
        self, client: Client, show: Callable[[str, str], None], *, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._show = show
        self._clock = clock or SystemClock()
        self._tasks = Tasks()
        self._following: dict[Container, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Logs:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()

    def started(self, container: Container) -> None:
        """See Listener."""
        self._following[container] = self._tasks.start(
            f"log of {container}", self._follow(container)
        )

    def gone(self, container: Container) -> None:
        """See Listener: its last lines are on their way, the server ends the log."""
        self._following.pop(container, None)

    async def _follow(self, container: Container) -> None:
        # What was shown before it broke off is not shown again.
        shown = 0
        while True:
            skip = shown
            try:
                async for line in self._lines(container):
                    if skip:
                        skip -= 1
                        continue
                    shown += 1
                    self._show(str(container), line.decode(errors="replace").rstrip("\r"))
                return
            except StatusError:
                return  # the pod is gone
            except ClientError:
                if container not in self._following:
                    return
                await self._clock.sleep(AGAIN)

    async def _lines(self, container: Container) -> AsyncIterator[bytes]:
        path = f"/api/v1/namespaces/{quote(container.namespace)}/pods/{quote(container.pod)}/log"
        query = urlencode({"container": container.name, "follow": "true"})
        async with self._client.transport.stream("GET", path, query=query) as answer:
            if answer.status >= 400:
                raise StatusError(answer.status, "", f"no log of {container}")
            rest = b""
            async for piece in answer.chunks:
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > LONGEST:
                    lines.append(rest)
                    rest = b""
                for line in lines:
                    yield line
            if rest:
                yield rest
