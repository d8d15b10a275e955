"""A request handed on to another server, and its answer as it comes.

Source: ``httputil.ReverseProxy`` of Go, ``UpgradeAwareHandler`` of apimachinery.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from cove.server.request import Request, Response

if TYPE_CHECKING:
    from aiohttp import ClientResponse

__all__ = ["answer_of", "handed_on"]

_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
# Said anew, or for this server alone.
_OWN = frozenset(("authorization", "host", "content-length", "expect"))
_OWN_PREFIXES = ("x-remote-", "impersonate-")
# Answers without a body, and so without a length.
_EMPTY = (204, 304)
# The front writes these itself.
_ANSWERED = frozenset(("content-type", "content-length", "audit-id", "cache-control", "date"))


def handed_on(request: Request) -> list[tuple[str, str]]:
    """The headers another server gets: less those that are for this one alone."""
    dropped = {
        name.strip().lower() for name in (request.headers.get("Connection") or "").split(",")
    }
    return [
        (name, value)
        for name, value in request.headers.items()
        if (low := name.lower()) not in _HOP_BY_HOP
        and low not in _OWN
        and low not in dropped
        and not low.startswith(_OWN_PREFIXES)
    ]


async def answer_of(response: ClientResponse) -> Response:
    """The answer, streamed where its length is not known; its connection is released then."""
    headers = [
        (name, value)
        for name, value in response.headers.items()
        if name.lower() not in _ANSWERED and name.lower() not in _HOP_BY_HOP
    ]
    kind = response.headers.get("Content-Type", "")
    if response.content_length is not None or response.status in _EMPTY:
        body = await response.read()
        return Response(response.status, body, kind, headers)
    return Response(response.status, content_type=kind, headers=headers, stream=_stream(response))


async def _stream(response: ClientResponse) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except aiohttp.ClientError as error:
        # What was begun cannot be taken back: the connection ends as the other one did.
        raise ConnectionResetError(str(error)) from error
    finally:
        response.close()
