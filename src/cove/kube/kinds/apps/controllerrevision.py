"""ControllerRevision."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import non_negative
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["ControllerRevision"]


class ControllerRevision(Kind):
    """What a DaemonSet or StatefulSet looked like once."""

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        if obj.get("data") is None:
            errors.append(fe.required("data", "data is mandatory"))
        non_negative(errors, "revision", obj.get("revision"))
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        if obj.get("data") != old.get("data"):
            errors.append(fe.invalid("data", obj.get("data"), "field is immutable"))
        return errors

    def validate_patch(self, obj: Obj, old: Obj) -> list[FieldError]:
        # Upstream compares the decoded data with the bytes of a patch: they never are equal.
        errors = self.validate_create(obj)
        errors.append(fe.invalid("data", obj.get("data"), "field is immutable"))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        meta = obj["metadata"]
        owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
        controller = "<none>"
        if owner is not None:
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner.get("kind", "") + (f".{group}" if group else "")
            controller = f"{kind.lower()}/{owner.get('name', '')}"
        return [meta.get("name", ""), controller, obj.get("revision") or 0, age(obj, now)]
