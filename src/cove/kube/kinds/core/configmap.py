"""ConfigMap."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["LIMIT", "ConfigMap", "immutable_data"]

# All values together, in bytes.
LIMIT = 1024 * 1024


def immutable_data(errors: list[FieldError], obj: Obj, old: Obj, keys: tuple[str, ...]) -> None:
    """Data of an object that was declared immutable."""
    if not old.get("immutable"):
        return
    text = "field is immutable when `immutable` is set"
    if not obj.get("immutable"):
        errors.append(fe.forbidden("immutable", text))
    errors += [
        fe.forbidden(key, text) for key in keys if (obj.get(key) or {}) != (old.get(key) or {})
    ]


class ConfigMap(Kind):
    """Texts and bytes by key."""

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        data, binary = obj.get("data"), obj.get("binaryData")
        size = 0
        if data:
            for key, value in data.items():
                errors += [fe.invalid(f"data[{key}]", key, m) for m in names.is_config_map_key(key)]
                if binary and key in binary:
                    errors.append(
                        fe.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
                    )
                size += len(value) if value.isascii() else len(value.encode())
        if binary:
            for key, value in binary.items():
                errors += [
                    fe.invalid(f"binaryData[{key}]", key, m) for m in names.is_config_map_key(key)
                ]
                size += len(b64decode(value or ""))
        if size > LIMIT:
            errors.append(fe.too_long("", LIMIT))
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        immutable_data(errors, obj, old, ("data", "binaryData"))
        return errors + self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
        return [obj["metadata"].get("name", ""), count, age(obj, now)]
