"""pods/ephemeralcontainers and pods/resize: updates of one part of a pod."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cove.kube.apply import update_managed_fields
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.server.body import decode_object
from cove.server.negotiate import accept
from cove.server.options import write_options
from cove.server.registry import Handler
from cove.server.request import Request, Response
from cove.server.verbs._render import object_response
from cove.server.verbs._write import (
    Subject,
    Update,
    anew,
    check_namespace,
    check_uid,
    managed_context,
    update_object,
)
from cove.server.verbs.get import get
from cove.server.verbs.patch import compile_patch, patch_type
from cove.server.verbs.update import check_name

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["part"]

Prepare = Callable[[Obj, Obj], None]
Validate = Callable[[Obj, Obj], list[FieldError]]


def part(subresource: str, prepare: Prepare, validate: Validate) -> dict[str, Handler]:
    """Handlers of a subresource that is the whole object with only one part writable."""

    async def update(api: Api, request: Request, endpoint: Endpoint) -> Response:
        accept(request.headers.get("Accept") or "")
        options = write_options(request, "UpdateOptions")
        subject = Subject(api, request, endpoint, options, subresource)
        name = request.info.name

        def read() -> Obj:
            obj = decode_object(request, endpoint, options.field_validation)
            check_name(obj, name)
            check_namespace(subject, obj["metadata"])
            return obj

        document = anew(read(), read)

        async def make(live: Obj) -> Obj:
            obj = document()
            check_uid(endpoint, obj["metadata"], live)
            update_managed_fields(live, obj, managed_context(subject))
            return obj

        data, _ = await update_object(subject, name, Update(make, prepare, validate))
        return object_response(api, request, endpoint, data)

    async def patch(api: Api, request: Request, endpoint: Endpoint) -> Response:
        media = patch_type(request, custom=endpoint.custom)
        accept(request.headers.get("Accept") or "")
        options = write_options(request, "PatchOptions", patch=True)
        subject = Subject(api, request, endpoint, options, subresource)
        patcher = compile_patch(request, endpoint, options, media)
        name = request.info.name

        async def make(live: Obj) -> Obj:
            obj = patcher(live)
            check_name(obj, name)
            check_namespace(subject, obj["metadata"])
            update_managed_fields(live, obj, managed_context(subject))
            return obj

        data, _ = await update_object(subject, name, Update(make, prepare, validate))
        return object_response(api, request, endpoint, data)

    return {"get": get, "update": update, "patch": patch}
