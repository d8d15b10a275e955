"""DELETE of all objects that a list selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube.status import StatusError
from cove.server.options import list_options
from cove.server.request import Request, Response
from cove.server.verbs._render import list_body
from cove.server.verbs.delete import delete_one, delete_options
from cove.server.verbs.list import selected

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["deletecollection"]


async def deletecollection(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """The list of what was selected; what somebody else deleted meanwhile is passed over."""
    deletion = delete_options(request)
    options = list_options(request, watch=False)
    page = await selected(api, request, endpoint, options)
    for stored in page.items:
        current = api.store.state.get(endpoint.storage, stored.namespace, stored.name)
        if current is None:
            continue
        try:
            await delete_one(api, request, endpoint, current, deletion)
        except StatusError as e:
            if e.code != 404:
                raise
    return list_body(api, request, endpoint, page.items, page.meta)
