"""GET of one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.server.options import parse_revision
from cove.server.request import Request, Response
from cove.server.verbs._render import object_response
from cove.server.verbs.list import too_large

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["get"]


async def get(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """The object as it is now; a resourceVersion parameter asks for "not older than"."""
    info = request.info
    if request.query_string:
        check_not_ahead(api, request.param("resourceVersion"))
    store = api.store
    # A Namespace's path names it as the namespace of the request as well.
    namespace = info.namespace if endpoint.namespaced else ""
    stored = store.state.get(endpoint.storage, namespace, info.name)
    if stored is None:
        raise endpoint.not_found(info.name)
    if stored.revision > store.durable_revision:
        await store.durable(stored.revision)
    if endpoint.converts:
        (stored,) = await endpoint.shown(api, [stored])
    return object_response(api, request, endpoint, stored.data)


def check_not_ahead(api: Api, text: str) -> None:
    """Raise what upstream says of resource versions it cannot serve a get at."""
    if not text:
        return
    revision = parse_revision(text, listed=False)
    if revision > api.store.revision:
        raise too_large(revision, api.store.revision)
