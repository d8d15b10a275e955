"""CSIDriver, CSINode, CSIStorageCapacity.  Source: https://kubernetes-csi.github.io/docs/"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import IMMUTABLE, name_errors, selector
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.volumes import driver_name
from cove.kube.kinds._table import age
from cove.kube.quantity import parse

__all__ = ["CSIDriver", "CSINode", "CSIStorageCapacity"]

Errors = list[FieldError]
_MOVING = (
    "podInfoOnMount",
    "storageCapacity",
    "fsGroupPolicy",
    "tokenRequests",
    "requiresRepublish",
    "seLinuxMount",
    "nodeAllocatableUpdatePeriodSeconds",
)


class CSIDriver(Kind):
    """A storage driver, and what it wants from Kubernetes."""

    allow_unconditional_update = False
    returns_deleted = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        for key, value in (
            ("attachRequired", True),
            ("podInfoOnMount", False),
            ("storageCapacity", False),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
        ):
            if spec.get(key) is None:
                spec[key] = value
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        new, before = obj["spec"], old["spec"]
        if any(new.get(key) != before.get(key) for key in _MOVING):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        name = obj["metadata"].get("name") or ""
        if name:
            faults: Errors = []
            driver_name(faults, "metadata.name", name)
            errors += [f for f in faults if f.reason == "FieldValueTooLong"]
        self._spec(errors, obj.get("spec") or {})
        return errors

    def _spec(self, errors: Errors, spec: Obj) -> None:
        for key in ("attachRequired", "podInfoOnMount", "storageCapacity"):
            if spec.get(key) is None:
                errors.append(fe.required(f"spec.{key}"))
        policy = spec.get("fsGroupPolicy")
        policies = ("ReadWriteOnceWithFSType", "File", "None")
        if policy is None:
            errors.append(fe.required("spec.fsGroupPolicy"))
        elif policy not in policies:
            errors.append(fe.not_supported("spec.fsGroupPolicy", policy, policies))
        seen: set[str] = set()
        for i, request in enumerate(spec.get("tokenRequests") or ()):
            path, audience = f"spec.tokenRequests[{i}]", request.get("audience") or ""
            if audience in seen:
                errors.append(fe.duplicate(f"{path}.audience", audience))
            seen.add(audience)
            seconds = request.get("expirationSeconds")
            if seconds is None:
                continue
            if seconds < 600:
                errors.append(
                    fe.invalid(
                        f"{path}.expirationSeconds",
                        seconds,
                        "may not specify a duration less than 10 minutes",
                    )
                )
            if seconds > 1 << 32:
                errors.append(
                    fe.invalid(
                        f"{path}.expirationSeconds",
                        seconds,
                        "may not specify a duration larger than 2^32 seconds",
                    )
                )
        modes = ("Persistent", "Ephemeral")
        errors += [
            fe.not_supported("spec.volumeLifecycleModes", mode, modes)
            for mode in spec.get("volumeLifecycleModes") or ()
            if mode not in modes
        ]
        if spec.get("seLinuxMount") is None:
            errors.append(fe.required("spec.seLinuxMount"))
        period = spec.get("nodeAllocatableUpdatePeriodSeconds")
        if period is not None and period < 10:
            errors.append(
                fe.invalid(
                    "spec.nodeAllocatableUpdatePeriodSeconds",
                    period,
                    "must be greater than or equal to 10 seconds",
                )
            )

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        self._spec(errors, new)
        errors += [
            fe.invalid(f"spec.{key}", new.get(key), IMMUTABLE)
            for key in ("attachRequired", "volumeLifecycleModes")
            if new.get(key) != before.get(key)
        ]
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        requests, attach = spec.get("tokenRequests"), spec.get("attachRequired")
        return [
            obj["metadata"].get("name", ""),
            True if attach is None else attach,
            bool(spec.get("podInfoOnMount")),
            bool(spec.get("storageCapacity")),
            "<unset>" if requests is None else ",".join(r.get("audience") or "" for r in requests),
            bool(spec.get("requiresRepublish")),
            ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
            age(obj, now),
        ]


class CSINode(Kind):
    """The storage drivers on a node."""

    allow_unconditional_update = False
    returns_deleted = True

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        seen: set[str] = set()
        for i, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
            path = f"spec.drivers[{i}]"
            driver_name(errors, f"{path}.name", driver.get("name") or "")
            node = driver.get("nodeID") or ""
            if not node:
                errors.append(fe.required(f"{path}.nodeID"))
            elif len(node) > 256:
                errors.append(fe.invalid(f"{path}.nodeID", node, "must be 256 characters or less"))
            count = (driver.get("allocatable") or {}).get("count")
            if count is not None and count < 0:
                errors.append(
                    fe.invalid(
                        f"{path}.allocatable.count", count, "must be greater than or equal to 0"
                    )
                )
            name = driver.get("name") or ""
            if name in seen:
                errors.append(fe.duplicate(f"{path}.name", name))
            seen.add(name)
            keys: set[str] = set()
            for n, key in enumerate(driver.get("topologyKeys") or ()):
                if not key:
                    errors.append(fe.required(f"{path}.topologyKeys[{n}]"))
                if key in keys:
                    errors.append(fe.duplicate(f"{path}.topologyKeys", key))
                keys.add(key)
                name_errors(errors, f"{path}.topologyKeys", key, names.is_qualified_name)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        now = {d.get("name"): d for d in (obj.get("spec") or {}).get("drivers") or ()}
        for driver in (old.get("spec") or {}).get("drivers") or ():
            other = now.get(driver.get("name"))
            if other is None:
                continue
            bare, before = (
                {k: v for k, v in d.items() if k != "allocatable"} for d in (other, driver)
            )
            if bare != before:
                errors.append(
                    fe.invalid(
                        "spec.drivers",
                        internal("storage.CSINodeDriver", other),
                        "field is immutable",
                    )
                )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        drivers = (obj.get("spec") or {}).get("drivers") or ()
        return [obj["metadata"].get("name", ""), len(drivers), age(obj, now)]


class CSIStorageCapacity(Kind):
    """How much a driver can still give somewhere."""

    allow_unconditional_update = False

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        name = obj.get("storageClassName") or ""
        name_errors(errors, "storageClassName", name, names.is_dns1123_subdomain)
        selector(errors, "nodeTopology", obj.get("nodeTopology"))
        for key in ("capacity", "maximumVolumeSize"):
            amount = obj.get(key)
            if amount is not None and parse(amount).nanos < 0:
                errors.append(fe.invalid(key, amount, "must be greater than or equal to 0"))
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        for key in ("nodeTopology", "storageClassName"):
            if obj.get(key) != old.get(key):
                errors.append(fe.invalid(key, obj.get(key), IMMUTABLE))
        return errors
