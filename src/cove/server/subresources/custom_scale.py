"""The scale subresource of custom resources, by the paths their CRD gives.

Source: ``pkg/registry/customresource/etcd.go`` of apiextensions-apiserver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.server.custom import CustomEndpoint
from cove.server.custom_kind import at, split_path
from cove.server.endpoint import Endpoint
from cove.server.registry import Handler
from cove.server.request import Request, Response
from cove.server.subresources._common import stored_or_404
from cove.server.subresources.scale import ScalePaths
from cove.server.subresources.scale import handlers as scale_handlers

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["handlers"]


def _paths(endpoint: Endpoint) -> ScalePaths:
    assert isinstance(endpoint, CustomEndpoint)
    scale = endpoint.scale
    assert scale is not None
    selector = scale.get("labelSelectorPath")
    path = split_path(selector) if selector else ()

    def text(obj: Obj) -> str:
        found = at(obj, path) if path else None
        return found if isinstance(found, str) else ""

    return ScalePaths(
        split_path(scale["specReplicasPath"]), split_path(scale["statusReplicasPath"]), text
    )


_HANDLERS = scale_handlers(_paths)


async def _get(api: Api, request: Request, endpoint: Endpoint) -> Response:
    assert isinstance(endpoint, CustomEndpoint)
    assert endpoint.scale is not None
    path = endpoint.scale["specReplicasPath"]
    obj = endpoint.load(stored_or_404(api, request, endpoint).data)
    if at(obj, split_path(path)) is None:
        raise st.internal_error(f'the spec replicas field "{path}" does not exist')
    return await _HANDLERS["get"](api, request, endpoint)


handlers: dict[str, Handler] = {**_HANDLERS, "get": _get}
