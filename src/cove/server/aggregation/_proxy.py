"""A request handed on to an extension server, as its front proxy.

The server is told who asks in headers, which it believes because of the certificate it is
asked with.  Answers are streamed through: watches last as long as both ends want.

Source: ``handler_proxy.go`` of kube-aggregator, ``transport.SetAuthProxyHeaders`` of client-go.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

from cove.server.aggregation._remote import Remote
from cove.server.outgoing import CallError, ResolveError, answer_of, handed_on, relay
from cove.server.request import Request, Response, User

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from cove.server.api import Api

__all__ = ["caller", "proxy", "url_of"]

log = logging.getLogger("cove.server.aggregation")

TEXT = "text/plain; charset=utf-8"
# Discovery has to be quick; seconds.
DISCOVERY_TIMEOUT = 5.0


def caller(user: User) -> list[tuple[str, str]]:
    """The headers that say who asks."""
    headers = [("X-Remote-User", user.name)]
    if user.uid:
        headers.append(("X-Remote-Uid", user.uid))
    headers += [("X-Remote-Group", group) for group in user.groups]
    for key, values in user.extra.items():
        name = "X-Remote-Extra-" + quote(key, safe="!#$&'*+.^_`|~-")
        headers += [(name, value) for value in values]
    return headers


def url_of(api: Api, remote: Remote, path: str, query: str = "") -> str:
    """A path at one of the server's endpoints; raises ResolveError."""
    host, port = api.outgoing.resolve(api, remote.service)
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}:{port}{path}" + (f"?{query}" if query else "")


async def proxy(api: Api, request: Request, remote: Remote, path: str = "") -> Response:
    """The extension server's answer; 503 if there is none.

    ``path`` "" means the request's own.
    """
    if not remote.available:
        return _unavailable("service unavailable")
    path = path or request.path
    try:
        url = url_of(api, remote, path, request.query_string)
    except ResolveError as error:
        log.warning("error resolving %s/%s: %s", *remote.service[:2], error)
        return _unavailable("service unavailable")
    if request.headers.get("Upgrade"):
        trust = remote.trust(api.outgoing.identity)
        return await relay(api.outgoing, request, url, _headers(request), trust)
    timeout = DISCOVERY_TIMEOUT if path.strip("/").count("/") == 2 else None
    try:
        async with asyncio.timeout(timeout):
            response = await api.outgoing.open(
                request.method,
                url,
                headers=_headers(request),
                body=request.body,
                trust=remote.trust(api.outgoing.identity),
            )
            return await _answer(response)
    except CallError as error:
        return _unavailable(str(error))
    except TimeoutError:
        return _unavailable("context deadline exceeded")


def _unavailable(why: str) -> Response:
    return Response(503, f"{why}\n".encode(), TEXT, [("X-Content-Type-Options", "nosniff")])


def _headers(request: Request) -> list[tuple[str, str]]:
    return handed_on(request) + caller(request.user)


async def _answer(response: ClientResponse) -> Response:
    if 300 <= response.status <= 399 and response.headers.get("Location"):
        response.close()
        why = b"the backend attempted to redirect this request, which is not permitted"
        return Response(502, why, TEXT)
    return await answer_of(response)
