"""Taking objects over from another cluster, as they were there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.server.uids import new_uid

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.store import Stored

__all__ = ["take_over"]


def take_over(api: Api, group: str, version: str, plural: str, doc: Mapping[str, Any]) -> Stored:
    """Store an object of another cluster: with its uid, its times, its status, its managed fields.

    Nothing is admitted or validated, and an object of that name is written over; only the
    resource version is this cluster's.  Definitions of kinds are served when this returns.
    Raises StatusError: 404 for a resource that is not there, 400 for a document that
    does not fit its type.
    """
    from cove.server.verbs._write import store_object

    endpoint = api.registry.get(api, group, version, plural)
    if endpoint is None:
        raise st.not_found_generic()
    told = {**copy.deepcopy(dict(doc)), "kind": endpoint.kind_name}
    told["apiVersion"] = endpoint.api_version
    obj: Obj
    obj, _ = endpoint.decode(told, "Ignore")
    endpoint.kind.default(obj)
    meta = obj["metadata"]
    if not endpoint.namespaced:
        meta.pop("namespace", None)
    meta.setdefault("uid", new_uid())
    meta.setdefault("creationTimestamp", api.timestamp())
    return store_object(api, endpoint, obj)
