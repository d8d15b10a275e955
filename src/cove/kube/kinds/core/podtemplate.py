"""PodTemplate."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube.field_errors import FieldError
from cove.kube.kinds import _podspec
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import containers, format_labels

__all__ = ["PodTemplate"]


class PodTemplate(Kind):
    """A template for pods, kept by itself."""

    generation = True
    returns_deleted = True

    def default(self, obj: Obj) -> None:
        _podspec.default_spec(obj.setdefault("template", {}).setdefault("spec", {}))

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        return bool(obj.get("template") != old.get("template"))

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        _podspec.validate_template(errors, "template", obj.get("template") or {})
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        if old is not None and old.get("template") == obj.get("template"):
            return []
        template = obj.get("template") or {}
        return _podspec.spec_warnings(
            "template", template.get("metadata") or {}, template.get("spec") or {}
        )

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        template = obj.get("template") or {}
        return [
            obj["metadata"].get("name", ""),
            *containers((template.get("spec") or {}).get("containers")),
            format_labels((template.get("metadata") or {}).get("labels")),
        ]
