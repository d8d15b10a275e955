"""Writing the server's own objects: no request and no admission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.kube.apply import Context, update_managed_fields
from cove.kube.kinds._kind import Obj
from cove.server.uids import new_uid

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.store import Stored

__all__ = ["seed"]


def seed(api: Api, group: str, version: str, plural: str, doc: dict[str, Any]) -> Stored:
    """Store an object that the server itself makes, decoded and defaulted like any other.

    The document needs no kind; an object of that name is written over.
    """
    from cove.server.verbs._write import store_object

    endpoint = api.registry.builtin(group, version, plural)
    if endpoint is None:
        raise KeyError(f"no resource {plural} in {group}/{version}")
    obj: Obj = {"kind": endpoint.kind_name, "apiVersion": endpoint.api_version, **doc}
    obj, _ = endpoint.decode(obj, "Ignore")
    kind = endpoint.kind
    kind.default(obj)
    kind.prepare_create(obj)
    status = doc.get("status")
    if status:
        obj["status"] = status
    context = Context(
        manager="kube-apiserver",
        api_version=endpoint.api_version,
        schema=endpoint.schema,
        now=api.timestamp(),
    )
    update_managed_fields(None, obj, context)
    meta = obj["metadata"]
    meta["uid"] = new_uid()
    meta["creationTimestamp"] = api.timestamp()
    if kind.generation:
        meta["generation"] = 1
    return store_object(api, endpoint, obj)
