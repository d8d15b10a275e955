"""The versions of one object, or the writes of a collection, as a document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cove.kube import status as st
from cove.kube.times import format_micro_time
from cove.server.request import Request, Response, json_response, parse_info
from cove.server.store import Event, Stored

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["history"]

PREFIX = "/cove/history"


async def history(api: Api, request: Request) -> Response:
    """Answer ``GET /cove/history/PATH``.

    A document of kind History: ``oldest`` is the revision the window starts at, ``items``
    are versions, oldest first, each with ``type`` (ADDED, MODIFIED, DELETED, or PRESENT for
    what was there before the window), ``revision``, ``time`` (absent for PRESENT) and
    ``object``.  Who asks must be allowed to read what PATH names.
    """
    if request.method != "GET":
        raise st.StatusError(405, "MethodNotAllowed", "history can only be read", {})
    inner = Request(
        "GET",
        request.path.removeprefix(PREFIX) or "/",
        query=request.query_string,
        headers=request.headers,
        user=request.user,
    )
    inner.info = info = parse_info(inner.method, inner.path)
    if not info.is_resource or info.subresource:
        raise st.bad_request(
            f"{inner.path} names no objects: history is of /api/v1/namespaces/NAMESPACE/pods/NAME, "
            "/apis/GROUP/VERSION/… and their collections"
        )
    if not request.user.in_group("system:masters"):
        api.identity.authorize(api, request.user, inner)
    endpoint = api.registry.find(api, info, inner.path)
    if isinstance(endpoint, Response):
        return endpoint
    namespace: str | None = info.namespace if endpoint.namespaced else ""
    if endpoint.namespaced and not namespace:
        namespace = None
    store = api.store
    events = store.history(endpoint.storage, namespace, info.name)
    items = [_version(endpoint, event) for event in events]
    if info.name:
        first = (
            events[0].previous
            if events
            else store.state.get(endpoint.storage, namespace or "", info.name)
        )
        if first is not None:
            items.insert(0, _present(endpoint, first))
        elif not events:
            raise endpoint.not_found(info.name)
    return json_response(
        {
            "kind": "History",
            "apiVersion": "cove.dev/v1",
            "oldest": str(store.oldest),
            "metadata": {"resourceVersion": str(store.durable_revision)},
            "items": items,
        }
    )


def _version(endpoint: Endpoint, event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "revision": str(event.revision),
        "time": format_micro_time(datetime.fromtimestamp(event.time, UTC)),
        "object": endpoint.load(event.object.data),
    }


def _present(endpoint: Endpoint, stored: Stored) -> dict[str, Any]:
    return {
        "type": "PRESENT",
        "revision": str(stored.revision),
        "object": endpoint.load(stored.data),
    }
