"""PUT of an object or of its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube import status as st
from cove.kube.apply import update_managed_fields
from cove.kube.kinds._kind import Obj
from cove.server.body import decode_object
from cove.server.negotiate import accept
from cove.server.options import write_options
from cove.server.request import Request, Response
from cove.server.verbs._render import object_response
from cove.server.verbs._write import (
    Subject,
    Update,
    anew,
    check_namespace,
    check_uid,
    create_object,
    managed_context,
    update_object,
)

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["check_name", "update"]


def check_name(obj: Obj, name: str) -> None:
    """Give the object the URL's name; raises 400 if it says another."""
    meta = obj["metadata"]
    given = meta.get("name")
    if not given:
        meta["name"] = name
    elif given != name:
        raise st.bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )


async def update(api: Api, request: Request, endpoint: Endpoint, subresource: str = "") -> Response:
    """The object as it is now; 201 where a PUT may create."""
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

    kind = endpoint.kind
    created = None
    if kind.allow_create_on_update and not subresource:

        async def create_instead() -> bytes:
            obj = document()
            uid = obj["metadata"].get("uid")
            if uid:
                raise st.conflict(
                    endpoint.plural,
                    endpoint.group,
                    name,
                    f"StorageError: invalid object, Code: 4, Key: {_key(endpoint, request)}, "
                    "ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in "
                    f"precondition: {uid}, UID in object meta: ",
                )
            api.identity.require(api, request.user, request, verb="create")
            return await create_object(subject, obj)

        created = create_instead
    status = subresource == "status"
    data, new = await update_object(
        subject,
        name,
        Update(
            make,
            kind.prepare_status if status else kind.prepare_update,
            kind.validate_status if status else kind.validate_update,
            unconditional=kind.allow_unconditional_update,
            create=created,
        ),
    )
    return object_response(api, request, endpoint, data, 201 if new else 200)


def _key(endpoint: Endpoint, request: Request) -> str:
    parts = ["", "registry"]
    if endpoint.group and "." in endpoint.group:
        parts.append(endpoint.group)
    parts.append(endpoint.plural)
    if endpoint.namespaced:
        parts.append(request.info.namespace)
    parts.append(request.info.name)
    return "/".join(parts)
