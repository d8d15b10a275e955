"""Secret.  Source: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types"""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age
from cove.kube.kinds.core._gojsonerror import object_problem
from cove.kube.kinds.core.configmap import LIMIT, immutable_data

__all__ = ["Secret"]

_ACCOUNT = "kubernetes.io/service-account.name"
_JSON = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


class Secret(Kind):
    """Bytes by key, kept from curious eyes."""

    selectable = MappingProxyType({"type": lambda o: o.get("type") or ""})

    def default(self, obj: Obj) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        texts = obj.pop("stringData", None)
        if texts:
            data = obj.get("data") or {}
            data.update({k: b64encode(v.encode()).decode() for k, v in texts.items()})
            obj["data"] = data

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        data = obj.get("data") or {}
        size = 0
        for key, value in data.items():
            errors += [fe.invalid(f"data[{key}]", key, m) for m in names.is_config_map_key(key)]
            size += len(value) * 3 // 4 - value.endswith("=") - value.endswith("==") if value else 0
        if size > LIMIT:
            errors.append(fe.too_long("data", LIMIT))
        kind = obj.get("type") or ""
        if kind == "kubernetes.io/service-account-token":
            if not (obj["metadata"].get("annotations") or {}).get(_ACCOUNT):
                errors.append(fe.required(f"metadata.annotations[{_ACCOUNT}]"))
        elif kind in _JSON:
            key = _JSON[kind]
            if key not in data:
                errors.append(fe.required(f"data[{key}]"))
            elif problem := object_problem(b64decode(data[key] or "")):
                errors.append(fe.invalid(f"data[{key}]", "<secret contents redacted>", problem))
        elif kind == "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                errors += [fe.required("data[username]"), fe.required("data[password]")]
        elif kind == "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                errors.append(fe.required("data[ssh-privatekey]"))
        elif kind == "kubernetes.io/tls":
            errors += [
                fe.required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data
            ]
        return errors

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        # A type, once given, need not be repeated.
        if not obj.get("type") and old.get("type"):
            obj["type"] = old["type"]

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        immutable(errors, "type", obj.get("type"), old.get("type"))
        immutable_data(errors, obj, old, ("data",))
        return errors + self.validate_create(obj)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        if obj.get("type") != "kubernetes.io/tls":
            return []
        from cove.kube.kinds.core._tls import key_pair_problem

        data = obj.get("data") or {}
        problem = key_pair_problem(
            b64decode(data.get("tls.crt") or ""), b64decode(data.get("tls.key") or "")
        )
        return [problem] if problem else []

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [
            obj["metadata"].get("name", ""),
            obj.get("type") or "",
            len(obj.get("data") or ()),
            age(obj, now),
        ]
