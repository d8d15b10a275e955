"""Whether something answers: checks of processes and containers, and who makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self, TypeAlias
from urllib.parse import urljoin, urlsplit

from cove.host.errors import AppError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Check", "Prober", "checked"]

# A URL (http, https, tcp), a path on the resource's own URL, or a function that returns
# None or True when all is well, and else says why not.
Check: TypeAlias = "str | Callable[[], Awaitable[bool | str | None]]"

TIMEOUT = 5.0


def checked(name: str, check: Check | None, url: str | None) -> Check | None:
    """A check as it is declared, complete; raises AppError for one that cannot be made.

    ``url`` is the resource's own, None if it has none yet but will.
    """
    if check is None or not isinstance(check, str):
        return check
    if check.startswith("/"):
        if not url:
            raise AppError(
                f'health "{check}" of {name} is a path, and {name} has no URL: give a port'
            )
        return urljoin(url, check)
    parts = urlsplit(check)
    if parts.scheme not in ("http", "https", "tcp") or not parts.hostname:
        raise AppError(
            f'health "{check}" of {name} is no check: use /path, http://…, https://… or tcp://HOST:PORT'
        )
    if parts.scheme == "tcp" and not parts.port:
        raise AppError(f'health "{check}" of {name} has no port')
    return check


class Prober:
    """Makes checks; one HTTP session for all, closed with it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def probe(self, check: Check) -> str:
        """ "" if all is well, else why not; never raises, leaves nothing open."""
        try:
            async with asyncio.timeout(TIMEOUT):
                if not isinstance(check, str):
                    said = await check()
                    return (
                        said
                        if isinstance(said, str)
                        else ""
                        if said in (None, True)
                        else "it is not well"
                    )
                if check.startswith("tcp://"):
                    return await self._tcp(check)
                return await self._http(check)
        except TimeoutError:
            return f"{_what(check)} did not answer within {TIMEOUT:g} s"
        except Exception as e:
            # Whatever keeps it from being well is what there is to say.
            return f"{_what(check)}: {str(e) or type(e).__name__}"

    async def _tcp(self, check: str) -> str:
        parts = urlsplit(check)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.close()
        await writer.wait_closed()
        return ""

    async def _http(self, check: str) -> str:
        if self._session is None:
            import aiohttp

            from cove.client._connector import Connector

            connector = Connector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        async with self._session.get(check, allow_redirects=False) as answer:
            await answer.read()
            return "" if answer.status < 400 else f"GET {check} was answered {answer.status}"


def _what(check: Check) -> str:
    if not isinstance(check, str):
        return "its check"
    return check if check.startswith("tcp") else f"GET {check}"
