"""APIService.  Source: https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import name_errors
from cove.kube.kinds._kind import Column, Kind, Obj
from cove.kube.kinds._table import columns, since

__all__ = ["APIService"]


class APIService(Kind):
    """A group and version that another server serves."""

    status = True
    empty_status = MappingProxyType({})
    allow_unconditional_update = False

    @property
    def columns(self) -> tuple[Column, ...]:
        name, _ = columns("", "")
        _, _, age = columns("", "ConfigMap")
        return (
            name,
            Column(
                "Service",
                "string",
                "",
                "The reference to the service that hosts this API endpoint.",
            ),
            Column("Available", "string", "", "Whether this service is available."),
            age,
        )

    def default(self, obj: Obj) -> None:
        service = (obj.get("spec") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443

    def validate_name(self, name: str) -> list[str]:
        return names.is_path_segment_name(name)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
        group, version = spec.get("group") or "", spec.get("version") or ""
        if name and name != f"{version}.{group}":
            errors.append(
                fe.invalid("metadata.name", name, 'must be `spec.version+"."+spec.group`')
            )
        if not group:
            errors.append(fe.required("spec.group"))
        else:
            name_errors(errors, "spec.group", group, names.is_dns1123_subdomain)
        if not version:
            errors.append(fe.required("spec.version"))
        else:
            name_errors(errors, "spec.version", version, names.is_dns1035_label)
        for key, limit in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            value = spec.get(key) or 0
            if not 0 < value <= limit:
                errors.append(
                    fe.invalid(f"spec.{key}", value, f"must be positive and less than {limit}")
                )
        service = spec.get("service")
        if service is None:
            if spec.get("caBundle"):
                errors.append(
                    fe.invalid(
                        "spec.caBundle",
                        f"{len(spec['caBundle'])} bytes",
                        "local APIServices may not have a caBundle",
                    )
                )
            if spec.get("insecureSkipTLSVerify"):
                errors.append(
                    fe.invalid(
                        "spec.insecureSkipTLSVerify",
                        True,
                        "local APIServices may not have insecureSkipTLSVerify",
                    )
                )
            return errors
        errors += [
            fe.required(f"spec.service.{key}")
            for key in ("namespace", "name")
            if not service.get(key)
        ]
        port = service.get("port") or 0
        if not 1 <= port <= 65535:
            errors.append(
                fe.invalid(
                    "spec.service.port",
                    port,
                    "port is not valid: must be between 1 and 65535, inclusive",
                )
            )
        if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
            errors.append(
                fe.invalid(
                    "spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"
                )
            )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        service = spec.get("service")
        where = "Local"
        if service is not None:
            where = f"{service.get('namespace') or ''}/{service.get('name') or ''}"
        available = "Unknown"
        for condition in status.get("conditions") or ():
            if condition.get("type") == "Available":
                available = condition.get("status") or ""
                if available != "True":
                    available = f"{available} ({condition.get('reason') or ''})"
        meta = obj["metadata"]
        return [meta.get("name", ""), where, available, since(meta.get("creationTimestamp"), now)]
