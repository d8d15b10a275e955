"""POST of a new object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube.status import StatusError
from cove.server.body import decode_object
from cove.server.negotiate import accept
from cove.server.options import write_options
from cove.server.request import Request, Response
from cove.server.verbs._render import object_response
from cove.server.verbs._write import Subject, check_namespace, create_object

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["create"]


async def create(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """A new object; 201 with what was stored."""
    accept(request.headers.get("Accept") or "")
    options = write_options(request, "CreateOptions")
    obj = decode_object(request, endpoint, options.field_validation)
    subject = Subject(api, request, endpoint, options)
    meta = obj["metadata"]
    check_namespace(subject, meta)
    version = meta.pop("resourceVersion", None) or "0"
    # What is no number is passed over, as upstream's storage does.
    if version.isascii() and version.isdigit() and 0 < int(version[:40]) < 2**64:
        raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
    data = await create_object(subject, obj)
    return object_response(api, request, endpoint, data, 201)
