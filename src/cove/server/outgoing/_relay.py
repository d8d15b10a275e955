"""WebSockets to another server: bytes both ways, once it has agreed.

Other protocols that connections are upgraded to (SPDY) do not get through the front's
HTTP parser.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cove.server.outgoing._errors import CallError
from cove.server.outgoing._tls import Trust
from cove.server.request import Request, Response

if TYPE_CHECKING:
    from cove.server.outgoing._client import Outgoing

__all__ = ["relay"]

TEXT = "text/plain; charset=utf-8"
_HANDSHAKE = frozenset(
    (
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    )
)


async def relay(
    outgoing: Outgoing,
    request: Request,
    url: str,
    headers: list[tuple[str, str]],
    trust: Trust,
) -> Response:
    """Relay until either end closes; the answer where there is nothing to relay."""
    import aiohttp
    from aiohttp import web

    if request.upgrade is None or (request.headers.get("Upgrade") or "").lower() != "websocket":
        return Response(400, b"unable to upgrade: only WebSockets are\n", TEXT)
    offered = (request.headers.get("Sec-WebSocket-Protocol") or "").split(",")
    protocols = tuple(p.strip() for p in offered if p.strip())
    try:
        there = await outgoing.session().ws_connect(
            url,
            protocols=protocols,
            headers=[(k, v) for k, v in headers if k.lower() not in _HANDSHAKE],
            ssl=outgoing.context(trust),
            server_hostname=trust.server_name or None,
            max_msg_size=0,
        )
    except aiohttp.WSServerHandshakeError as error:
        return Response(error.status, f"{error.message}\n".encode(), TEXT)
    except (aiohttp.ClientError, CallError) as error:
        return Response(503, f"{error}\n".encode(), TEXT)
    async with there:
        chosen = (there.protocol,) if there.protocol else ()
        here = web.WebSocketResponse(protocols=chosen, max_msg_size=0)
        await here.prepare(request.upgrade)
        ends = [
            asyncio.create_task(_pass_on(here, there), name="websocket out"),
            asyncio.create_task(_pass_on(there, here), name="websocket in"),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            await there.close()
            await here.close()
    return Response(101, taken=here)


async def _pass_on(source: Any, target: Any) -> None:
    from aiohttp import WSMsgType

    async for message in source:
        if message.type == WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await target.send_bytes(message.data)
