"""A changed document taken over as the object of a write."""

from __future__ import annotations

from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.kube.status import StatusError
from cove.server.admission._chain import Attributes
from cove.server.endpoint import Endpoint

__all__ = ["replace"]


def replace(a: Attributes, endpoint: Endpoint, patched: Obj) -> None:
    """Write a changed object over the request's, which others hold on to.

    ``endpoint`` is the version that ``patched`` is in.  It is defaulted, and what its type
    does not know is dropped without a word, as upstream does.  Raises 500 if it does not
    fit the type.
    """
    obj = a.obj
    assert obj is not None
    own = a.endpoint
    if patched.get("kind", own.kind_name) == own.kind_name or endpoint is not own:
        try:
            new, _ = endpoint.decode(patched, "Ignore")
        except StatusError as error:
            raise st.internal_error(str(getattr(error, "cause", error.message))) from None
        endpoint.kind.default(new)
        if endpoint is not own:
            new = endpoint.convert(new, own.api_version)
    else:
        # The document of a subresource.
        new = patched
    meta = obj.get("metadata")
    if meta is not None and "metadata" in new:
        fresh = dict(new["metadata"])
        meta.clear()
        meta.update(fresh)
        new = {**new, "metadata": meta}
    else:
        new = dict(new)
    obj.clear()
    obj.update(new)
