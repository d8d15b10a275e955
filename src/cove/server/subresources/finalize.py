"""namespaces/finalize: the only way to change spec.finalizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.kube.apply import update_managed_fields
from cove.kube.kinds._kind import Obj
from cove.server.body import decode_object
from cove.server.options import write_options
from cove.server.request import Request, Response
from cove.server.verbs._render import object_response
from cove.server.verbs._write import (
    Subject,
    Update,
    anew,
    check_uid,
    managed_context,
    remove,
    update_object,
)
from cove.server.verbs.update import check_name

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["finalize"]


async def finalize(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """PUT of a namespace's spec.finalizers; an ending namespace without any is gone."""
    options = write_options(request, "UpdateOptions")
    subject = Subject(api, request, endpoint, options, "finalize")
    name = request.info.name

    def read() -> Obj:
        obj = decode_object(request, endpoint, options.field_validation)
        check_name(obj, name)
        return obj

    document = anew(read(), read)

    async def make(live: Obj) -> Obj:
        obj = document()
        check_uid(endpoint, obj["metadata"], live)
        update_managed_fields(live, obj, managed_context(subject))
        return obj

    kind: Any = endpoint.kind
    data, _ = await update_object(
        subject, name, Update(make, kind.prepare_finalize, kind.validate_finalize)
    )
    stored = api.store.state.get(endpoint.storage, "", name)
    if stored is not None and not options.dry_run:
        current = endpoint.load(stored.data)
        meta = current["metadata"]
        if (
            "deletionTimestamp" in meta
            and not current["spec"].get("finalizers")
            and not meta.get("finalizers")
        ):
            remove(api, endpoint, current)
    return object_response(api, request, endpoint, data)
