"""The cluster at a revision, to read: ``/revisions/N/…``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

from cove.kube import status as st
from cove.server.request import Request, Response, parse_info
from cove.server.store import Expired

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["past", "past_path"]

_READING = ("GET", "HEAD")


def past_path(revision: int) -> str:
    """The path below which a server answers as of ``revision``."""
    return f"/revisions/{revision}"


async def past(api: Api, request: Request) -> Response:
    """Answer ``/revisions/N/PATH`` as PATH would have been answered at revision N.

    Raises 410 for a revision that has left the window, 404 for what is no revision, 405 for
    requests that write or watch.
    """
    _, _, rest = request.path.partition("/revisions/")
    text, _, path = rest.partition("/")
    if not text.isdecimal() or int(text) > api.store.durable_revision:
        raise st.StatusError(404, "NotFound", f'there is no revision "{text}" yet', {})
    try:
        then = api.fork(revision=int(text))
    except Expired as e:
        raise st.expired(f"too old resource version: {text} ({e.oldest})") from e
    then.server_address = api.server_address
    inner = Request(
        request.method,
        "/" + path,
        query=request.query_string,
        headers=own_headers(request),
        body=request.body,
        user=request.user,
    )
    # Reviews are asked by POST, and of the past they tell the past's answer.
    info = parse_info(inner.method, inner.path)
    review = info.is_resource and info.resource.endswith("reviews")
    watching = inner.param("watch").lower() in ("1", "true") or info.verb == "watch"
    if watching or (request.method not in _READING and not review):
        raise st.StatusError(405, "MethodNotAllowed", "the past can only be read", {})
    inner.info = info
    if not request.user.in_group("system:masters"):
        # By the rights of now: those of then may have been taken back.
        api.identity.authorize(api, request.user, inner)
    return await then.handle(inner)


def own_headers(request: Request) -> CIMultiDict[str]:
    """The headers less those that make the user another one: that was done already."""
    return CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if not name.lower().startswith("impersonate-")
    )
