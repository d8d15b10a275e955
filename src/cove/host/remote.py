"""Remote: an application that another process runs, reached through its control socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from cove.host.errors import ResourceError
from cove.host.folder import AppFolder, apps
from cove.host.states import Status

__all__ = ["NotRunningError", "Remote", "RemoteError", "running"]


class NotRunningError(ResourceError):
    """No such application is being run."""


class RemoteError(ResourceError):
    """What an application that runs said no to; ``status`` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def running(name: str | None = None) -> AppFolder:
    """The application of that name that runs, or the only one.

    Raises NotRunningError that names those that do.
    """
    found = {folder.name: folder for folder in apps() if folder.running}
    if name is not None:
        if name not in found:
            others = f"; {', '.join(found)} does" if found else ""
            raise NotRunningError(f'"{name}" does not run{others}: start it with cove up APP')
        return found[name]
    if not found:
        raise NotRunningError("no application runs: start one with cove up APP")
    if len(found) > 1:
        raise NotRunningError(
            f"several applications run ({', '.join(found)}): say which with --app"
        )
    return next(iter(found.values()))


class Remote:
    """``async with Remote(folder) as remote``; raises RemoteError, NotRunningError."""

    def __init__(self, folder: AppFolder) -> None:
        self._folder = folder
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        socket = self._folder.facts().get("socket", "")
        connector = aiohttp.UnixConnector(path=str(socket))
        self._session = aiohttp.ClientSession(
            "http://cove", connector=connector, timeout=aiohttp.ClientTimeout(total=None)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._session is not None
        await self._session.close()

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, params: Sequence[tuple[str, str]] = ()
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        try:
            async with self._session.request(method, path, params=list(params)) as answer:
                if answer.status >= 400:
                    doc = msgspec.json.decode(await answer.read())
                    raise RemoteError(answer.status, doc["error"])
                yield answer
        except aiohttp.ClientError as e:
            raise NotRunningError(f'"{self._folder.name}" does not answer (any more): {e}') from e

    async def _doc(self, method: str, path: str, params: Sequence[tuple[str, str]] = ()) -> Any:
        async with self._ask(method, path, params) as answer:
            return msgspec.json.decode(await answer.read())

    async def status(self) -> list[Status]:
        """The status of every resource."""
        doc = await self._doc("GET", "/status")
        return [Status.from_dict(s) for s in doc["resources"]]

    async def wait(self, name: str | None, want: str, timeout: float | None) -> None:
        """As Host.wait, or Host.ready without a name."""
        params = [("status", want)]
        if name is not None:
            params.append(("name", name))
        if timeout is not None:
            params.append(("timeout", str(timeout)))
        await self._doc("GET", "/wait", params)

    async def tell(self, verb: str, name: str) -> Status:
        """start, stop or restart a resource."""
        return Status.from_dict(await self._doc("POST", f"/resources/{quote(name)}/{verb}"))

    async def down(self, *, all: bool = False) -> None:
        """Ask for the end of the application; ``all`` means what is persistent as well."""
        await self._doc("POST", "/down", [("all", "true")] if all else [])

    @asynccontextmanager
    async def logs(
        self, names: Sequence[str], tail: int | None
    ) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
        """Lines as {"time", "name", "text"}, the last ones first, then what follows."""
        params = [("name", name) for name in names]
        if tail is not None:
            params.append(("tail", str(tail)))

        async def lines(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
            try:
                async for line in answer.content:
                    yield msgspec.json.decode(line)
            except aiohttp.ClientError:
                return  # the application has ended

        async with self._ask("GET", "/logs", params) as answer:
            yield lines(answer)
