"""certificatesigningrequests/approval: conditions Approved, Denied and Failed."""

from __future__ import annotations

from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.server.registry import Handler
from cove.server.subresources.pods import part

__all__ = ["approval"]


def approval(kind_validate: object) -> dict[str, Handler]:
    """The handlers; ``kind_validate`` is the kind's validation of an approval."""

    def prepare(new: Obj, old: Obj) -> None:
        # Only the conditions of the status may change here.
        conditions = new["status"].get("conditions")
        new["spec"] = old["spec"]
        new["status"] = dict(old["status"])
        if conditions:
            new["status"]["conditions"] = conditions
        else:
            new["status"].pop("conditions", None)

    def validate(new: Obj, old: Obj) -> list[FieldError]:
        if callable(kind_validate):
            found: list[FieldError] = kind_validate(new, old)
            return found
        return []

    return part("approval", prepare, validate)
