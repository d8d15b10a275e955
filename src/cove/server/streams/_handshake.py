"""How a request becomes something else: which protocols are spoken, and the answers when none.

Source: ``Handshake`` and ``UpgradeResponse`` of k8s.io/apimachinery's ``httpstream``,
``wsstream`` beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cove.kube import status as st
from cove.server.request import Request, Response
from cove.server.streams._connection import LINGER
from cove.server.upgrade import Taken, cancelled_by_hangup, take_over

if TYPE_CHECKING:
    from aiohttp import web


__all__ = [
    "is_websocket",
    "over_spdy",
    "over_websocket",
    "refused",
    "spdy_protocol",
    "subprotocol",
    "subprotocols",
]

TEXT = "text/plain; charset=utf-8"
SPDY = "SPDY/3.1"
VERSION = "X-Stream-Protocol-Version"
ACCEPTED = "X-Accepted-Stream-Protocol-Versions"
# The longest message taken from a WebSocket, in bytes.
MESSAGE_LIMIT = 32 * 1024 * 1024


def refused(code: int, why: str, headers: list[tuple[str, str]] | None = None) -> Response:
    """An answer in plain text, as what speaks these protocols gives them."""
    return Response(code, f"{why}\n".encode(), TEXT, headers)


def is_websocket(request: Request) -> bool:
    """Whether the request wants a WebSocket, else SPDY; raises 400 if it wants neither."""
    upgrade = (request.headers.get("Upgrade") or "").lower()
    connection = (request.headers.get("Connection") or "").lower()
    if request.upgrade is None or "upgrade" not in connection or not upgrade:
        raise st.bad_request("Upgrade request required")
    return upgrade == "websocket"


def _listed(request: Request, name: str) -> list[str]:
    """The values of a header that is a list, in however many lines."""
    assert request.upgrade is not None
    values = request.upgrade.headers.getall(name, ())
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def spdy_protocol(
    request: Request, spoken: Sequence[str], offered: Sequence[str] | None = None
) -> str | Response:
    """The first protocol offered that is spoken here, or what to answer instead.

    ``offered`` None are those of the request's own header.
    """
    if offered is None:
        if SPDY.lower() not in (request.headers.get("Upgrade") or "").lower():
            return refused(400, "unable to upgrade: missing upgrade headers in request")
        offered = _listed(request, VERSION)
        if not offered:
            return refused(400, f"unable to upgrade: {VERSION} is required")
    for protocol in offered:
        if protocol in spoken:
            return protocol
    why = (
        "unable to upgrade: unable to negotiate protocol: client supports "
        f"[{' '.join(offered)}], server accepts [{' '.join(spoken)}]"
    )
    return refused(403, why, [(ACCEPTED, protocol) for protocol in spoken])


def subprotocol(request: Request, spoken: Sequence[str]) -> str | Response:
    """A WebSocket's subprotocol: the first offered that is spoken; "" if none is offered."""
    for protocol in _listed(request, "Sec-WebSocket-Protocol") or [""]:
        if protocol in spoken:
            return protocol
    return Response(403, content_type="")


def subprotocols(request: Request) -> list[str]:
    """The WebSocket subprotocols a client offers."""
    return _listed(request, "Sec-WebSocket-Protocol")


@asynccontextmanager
async def over_spdy(request: Request, protocol: str) -> AsyncIterator[Taken]:
    """Answer 101 and take the connection; raises ConnectionError.

    It is closed on leaving, without a goodbye in TLS: clients that do not answer that would
    outlive the server.
    """
    assert request.upgrade is not None
    headers = {"Connection": "Upgrade", "Upgrade": SPDY, VERSION: protocol}
    taken = await take_over(request.upgrade, headers)
    try:
        with cancelled_by_hangup(request.upgrade):
            yield taken
    finally:
        taken.writer.transport.abort()


@asynccontextmanager
async def over_websocket(request: Request, protocol: str) -> AsyncIterator[web.WebSocketResponse]:
    """Answer 101 and speak WebSocket; raises ConnectionError, and 400 as HTTP has it.

    Left normally, it waits until the client has read everything and closes as well.
    """
    from aiohttp import web

    assert request.upgrade is not None
    transport = request.upgrade.transport
    socket = web.WebSocketResponse(
        protocols=(protocol,) if protocol else (),
        timeout=LINGER,
        compress=False,
        max_msg_size=MESSAGE_LIMIT,
    )
    await socket.prepare(request.upgrade)
    try:
        with cancelled_by_hangup(request.upgrade):
            yield socket
            await socket.close()
    finally:
        if transport is not None:
            transport.abort()
