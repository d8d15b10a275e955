"""The source of a clone: read page by page, patiently, and never written to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from cove.client import Client, Clock, Resource, SystemClock, UnreachableError
from cove.client._client import error_of, path_of
from cove.client.readonly import read_only
from cove.kube.gvk import GVR

__all__ = ["Page", "Source"]

# How often a request that may succeed later is sent, and how long the first wait is, in seconds.
TRIES = 5
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
_LATER = (429, 500, 502, 503, 504)


class Page(NamedTuple):
    """Objects, and the token of the next page, "" on the last."""

    items: list[dict[str, Any]]
    token: str


class Source:
    """A cluster through a connection that lets nothing but GET out."""

    def __init__(self, client: Client, clock: Clock | None = None) -> None:
        self._client = read_only(client)
        self._clock = clock or SystemClock()

    async def resources(self) -> list[Resource]:
        """Every resource of every version, the preferred ones first."""
        return await self._client.discovery.resources(fresh=True)

    async def pages(
        self, gvr: GVR, namespace: str | None, *, size: int, token: str = ""
    ) -> AsyncIterator[Page]:
        """The pages from ``token`` on ("": the first), one request each.

        A token that has expired (410) is replaced by the one that the server offers instead,
        which goes on at the same place in the cluster of now; else the collection is read
        from its start, :data:`TRIES` times at most.  Raises StatusError, UnreachableError.
        """
        path = path_of(gvr, namespace)
        starts = 0
        while True:
            status, doc, body = await self._get(path, {"limit": size, "continue": token})
            if status == 410 and token:
                offered = str((doc.get("metadata") or {}).get("continue") or "")
                token = offered if offered != token else ""
                starts += not token
                if starts < TRIES:
                    continue
            if status >= 400:
                raise error_of(status, body)
            token = str((doc.get("metadata") or {}).get("continue") or "")
            yield Page(doc.get("items") or [], token)
            if not token:
                return

    async def one(self, gvr: GVR, name: str) -> dict[str, Any]:
        """One object without a namespace; raises StatusError, UnreachableError."""
        status, doc, body = await self._get(path_of(gvr, None, name), {})
        if status >= 400:
            raise error_of(status, body)
        return doc

    async def _get(self, path: str, query: Mapping[str, Any]) -> tuple[int, dict[str, Any], bytes]:
        """Status, document and body; a server that is busy or away is asked again."""
        asked = urlencode({k: v for k, v in query.items() if v})
        headers = {"Accept": "application/json", "User-Agent": self._client.user_agent}
        wait = FIRST_WAIT
        for attempt in range(1, TRIES + 1):
            try:
                answer = await self._client.transport.request(
                    "GET", path, query=asked, headers=headers
                )
            except UnreachableError:
                if attempt == TRIES:
                    raise
            else:
                if answer.status not in _LATER or attempt == TRIES:
                    return answer.status, _document(answer.body), answer.body
                told = answer.headers.get("retry-after", "")
                wait = max(wait, float(told) if told.isdecimal() else 0.0)
            await self._clock.sleep(min(wait, LONGEST_WAIT))
            wait *= 2
        raise AssertionError("the last attempt returns or raises")


def _document(body: bytes) -> dict[str, Any]:
    try:
        doc = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return doc if isinstance(doc, dict) else {}
