"""Dynamic resource allocation: claims, classes, slices.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._cel import check_expression
from cove.kube.kinds._checks import IMMUTABLE, immutable, name_errors
from cove.kube.kinds._clock import now_text
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Kind, Obj, keep
from cove.kube.kinds._podspec.affinity import node_selector
from cove.kube.kinds._table import age
from cove.kube.metadata import validate_annotations, validate_labels

__all__ = ["DeviceClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice"]

Errors = list[FieldError]


def _subdomain(errors: Errors, path: str, value: str) -> None:
    name_errors(errors, path, value, names.is_dns1123_subdomain)


def _driver(errors: Errors, path: str, value: str) -> None:
    if not value:
        errors.append(fe.required(path))
    if len(value) > 63:
        errors.append(fe.too_long(path, 63))
    if value:
        name_errors(errors, path, value.lower(), names.is_dns1123_subdomain)


def _limited(errors: Errors, path: str, items: list[Any], limit: int) -> bool:
    if len(items) > limit:
        errors.append(fe.too_many(path, len(items), limit))
        return False
    return True


def _selectors(errors: Errors, path: str, selectors: list[Obj]) -> None:
    _limited(errors, path, selectors, 32)
    for i, item in enumerate(selectors):
        cel = item.get("cel")
        at = f"{path}[{i}].cel"
        if cel is None:
            errors.append(fe.required(at))
            continue
        expression = cel.get("expression") or ""
        if len(expression) > 10 * 1024:
            errors.append(fe.too_long(f"{at}.expression", 10 * 1024))
        else:
            check_expression(errors, f"{at}.expression", expression, "device")


def _config(errors: Errors, path: str, item: Obj) -> None:
    opaque = item.get("opaque")
    if opaque is None:
        errors.append(fe.required(f"{path}.opaque"))
        return
    _driver(errors, f"{path}.opaque.driver", opaque.get("driver") or "")
    parameters = opaque.get("parameters")
    at = f"{path}.opaque.parameters"
    if parameters is None:
        errors.append(fe.required(at))
    elif not isinstance(parameters, dict):
        errors.append(fe.invalid(at, "<value omitted>", "must be a valid JSON object"))


def _tolerations(errors: Errors, path: str, tolerations: list[Obj]) -> None:
    _limited(errors, path, tolerations, 16)
    for i, toleration in enumerate(tolerations):
        at = f"{path}[{i}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            name_errors(errors, f"{at}.key", key, names.is_label_key)
        if not operator:
            errors.append(fe.required(f"{at}.operator"))
        elif operator == "Exists":
            if value:
                errors.append(
                    fe.invalid(f"{at}.value", value, "must be empty for operator `Exists`")
                )
        elif operator == "Equal":
            name_errors(errors, f"{at}.value", value, names.is_label_value)
        else:
            errors.append(fe.not_supported(f"{at}.operator", operator, ("Equal", "Exists")))
        if not key and operator != "Exists":
            errors.append(fe.required(f"{at}.key"))
        if effect and effect not in ("NoExecute", "NoSchedule", "None"):
            errors.append(fe.not_supported(f"{at}.effect", effect, ("NoExecute", "NoSchedule")))


def _exact(errors: Errors, path: str, request: Obj) -> None:
    name = request.get("deviceClassName") or ""
    if not name:
        errors.append(fe.required(f"{path}.deviceClassName"))
    else:
        _subdomain(errors, f"{path}.deviceClassName", name)
    _selectors(errors, f"{path}.selectors", request.get("selectors") or [])
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    at = f"{path}.count"
    if mode == "All":
        if count:
            errors.append(
                fe.invalid(at, count, "must not be specified when allocationMode is 'All'")
            )
    elif mode == "ExactCount":
        if count <= 0:
            errors.append(fe.invalid(at, count, "must be greater than zero"))
    else:
        errors.append(fe.not_supported(f"{path}.allocationMode", mode, ("All", "ExactCount")))
    _tolerations(errors, f"{path}.tolerations", request.get("tolerations") or [])


def validate_claim_spec(errors: Errors, path: str, spec: Obj) -> None:
    """A ResourceClaimSpec."""
    devices = spec.get("devices") or {}
    known: set[str] = set()
    path = f"{path}.devices"
    requests = devices.get("requests") or []
    _limited(errors, f"{path}.requests", requests, 32)
    for i, request in enumerate(requests):
        at, name = f"{path}.requests[{i}]", request.get("name") or ""
        if not name:
            errors.append(fe.required(f"{at}.name"))
        else:
            name_errors(errors, f"{at}.name", name, names.is_dns1123_label)
        if name in known:
            errors.append(fe.duplicate(f"{at}.name", name))
        known.add(name)
        exact, available = request.get("exactly"), request.get("firstAvailable")
        given = (exact is not None) + bool(available)
        if not given:
            errors.append(
                fe.required(at, "exactly one of `exactly` or `firstAvailable` is required")
            )
        elif given > 1:
            errors.append(
                fe.invalid(
                    at,
                    None,
                    "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
                )
            )
        if exact is not None:
            _exact(errors, f"{at}.exactly", exact)
        if available:
            _limited(errors, f"{at}.firstAvailable", available, 8)
            for n, sub in enumerate(available):
                place, own = f"{at}.firstAvailable[{n}]", sub.get("name") or ""
                if not own:
                    errors.append(fe.required(f"{place}.name"))
                else:
                    name_errors(errors, f"{place}.name", own, names.is_dns1123_label)
                full = f"{name}/{own}"
                if full in known:
                    errors.append(fe.duplicate(f"{place}.name", own))
                known.add(full)
                _exact(errors, place, sub)
    for key, check in (("constraints", _constraint), ("config", _claim_config)):
        items = devices.get(key) or []
        _limited(errors, f"{path}.{key}", items, 32)
        for i, item in enumerate(items):
            _request_names(errors, f"{path}.{key}[{i}].requests", item.get("requests") or [], known)
            check(errors, f"{path}.{key}[{i}]", item)


def _request_names(errors: Errors, path: str, wanted: list[str], known: set[str]) -> None:
    _limited(errors, path, wanted, 32)
    for i, name in enumerate(wanted):
        if name in wanted[:i]:
            errors.append(fe.duplicate(f"{path}[{i}]", name))
        if name not in known:
            errors.append(
                fe.invalid(
                    f"{path}[{i}]",
                    name,
                    "must be the name of a request in the claim or the name of a request and a "
                    "subrequest separated by '/'",
                )
            )


def _constraint(errors: Errors, path: str, item: Obj) -> None:
    attribute = item.get("matchAttribute")
    if attribute is None:
        errors.append(fe.required(f"{path}.matchAttribute"))
    else:
        _qualified(errors, f"{path}.matchAttribute", attribute, domain_needed=True)


def _claim_config(errors: Errors, path: str, item: Obj) -> None:
    _config(errors, path, item)


def _qualified(errors: Errors, path: str, name: str, *, domain_needed: bool = False) -> None:
    if not name:
        errors.append(fe.required(path, "name required"))
        return
    domain, slash, own = name.rpartition("/")
    if not slash and domain_needed:
        errors.append(fe.invalid(path, name, "must include a domain"))
    if slash:
        if not domain:
            errors.append(fe.required(path, "the domain must not be empty"))
        else:
            _driver(errors, path, domain)
        if not own:
            errors.append(fe.required(path, "the name must not be empty"))
    if own:
        if len(own) > 32:
            errors.append(fe.too_long(path, 32))
        if names.is_c_identifier(own):
            errors += [fe.invalid(path, own, m) for m in names.is_c_identifier(own)]


def _default_requests(spec: Obj) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for item in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if item is None:
                continue
            if not item.get("allocationMode"):
                item["allocationMode"] = "ExactCount"
            if item["allocationMode"] == "ExactCount" and not item.get("count"):
                item["count"] = 1
            for toleration in item.get("tolerations") or ():
                if not toleration.get("operator"):
                    toleration["operator"] = "Equal"


class DeviceClass(Kind):
    """A kind of device that may be asked for."""

    generation = True
    returns_deleted = True

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        _selectors(errors, "spec.selectors", spec.get("selectors") or [])
        config = spec.get("config") or []
        _limited(errors, "spec.config", config, 32)
        for i, item in enumerate(config):
            _config(errors, f"spec.config[{i}]", item)
        extended = spec.get("extendedResourceName")
        if extended is not None:
            name_errors(errors, "spec.extendedResourceName", extended, names.is_qualified_name)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), age(obj, now)]


class ResourceClaim(Kind):
    """A wish for devices."""

    status = True
    empty_status = MappingProxyType({})
    returns_deleted = True

    def default(self, obj: Obj) -> None:
        _default_requests(obj.setdefault("spec", {}))

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        for key in ("labels", "annotations", "ownerReferences", "deletionTimestamp"):
            keep(obj["metadata"], old["metadata"], key)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        validate_claim_spec(errors, "spec", obj.get("spec") or {})
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        immutable(errors, "spec", obj.get("spec"), old.get("spec"), "resource.ResourceClaimSpec")
        return errors + self.validate_create(obj)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        status, before = obj.get("status") or {}, old.get("status") or {}
        reserved, allocation = status.get("reservedFor") or [], status.get("allocation")
        path = "status.reservedFor"
        _limited(errors, path, reserved, 256)
        seen: set[str] = set()
        for i, item in enumerate(reserved):
            at = f"{path}[{i}]"
            for key in ("resource", "name", "uid"):
                if not item.get(key):
                    errors.append(fe.required(f"{at}.{key}"))
            uid = item.get("uid") or ""
            if uid in seen:
                errors.append(fe.duplicate(f"{at}.uid", uid))
            seen.add(uid)
        if reserved:
            if allocation is None:
                errors.append(
                    fe.forbidden(path, "may not be specified when `allocated` is not set")
                )
            elif obj["metadata"].get("deletionTimestamp"):
                known = [r.get("uid") for r in before.get("reservedFor") or ()]
                if any(r.get("uid") not in known for r in reserved):
                    errors.append(
                        fe.forbidden(
                            path,
                            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
                        )
                    )
        old_allocation = before.get("allocation")
        if old_allocation is not None and allocation is not None and allocation != old_allocation:
            errors.append(
                fe.invalid(
                    "status.allocation",
                    internal("resource.AllocationResult", allocation),
                    IMMUTABLE,
                )
            )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        status, deleted = obj.get("status") or {}, obj["metadata"].get("deletionTimestamp")
        states = ["deleted"] if deleted else []
        if status.get("allocation") is None:
            if not deleted:
                states.append("pending")
        else:
            states.append("allocated")
            if status.get("reservedFor"):
                states.append("reserved")
        return [obj["metadata"].get("name", ""), ",".join(states), age(obj, now)]


class ResourceClaimTemplate(Kind):
    """What pods' own claims look like."""

    returns_deleted = True

    def default(self, obj: Obj) -> None:
        _default_requests(obj.setdefault("spec", {}).setdefault("spec", {}))

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        meta = spec.get("metadata") or {}
        errors += validate_annotations(meta.get("annotations") or {}, "spec.metadata.annotations")
        errors += validate_labels(meta.get("labels") or {}, "spec.metadata.labels")
        validate_claim_spec(errors, "spec.spec", spec.get("spec") or {})
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        immutable(
            errors, "spec", obj.get("spec"), old.get("spec"), "resource.ResourceClaimTemplateSpec"
        )
        return errors + self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), age(obj, now)]


def _of_spec(key: str) -> Callable[[Obj], str]:
    return lambda obj: (obj.get("spec") or {}).get(key) or ""


class ResourceSlice(Kind):
    """Devices that a driver offers."""

    generation = True
    returns_deleted = True
    selectable = MappingProxyType(
        {"spec.nodeName": _of_spec("nodeName"), "spec.driver": _of_spec("driver")}
    )

    def default(self, obj: Obj) -> None:

        for device in (obj.get("spec") or {}).get("devices") or ():
            for taint in device.get("taints") or ():
                if taint.get("timeAdded") is None:
                    taint["timeAdded"] = now_text()

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        if spec.get("nodeName") is not None:
            if not spec["nodeName"]:
                errors.append(
                    fe.invalid(
                        "spec.nodeName", "", "must be either unset or set to a non-empty string"
                    )
                )
            else:
                _subdomain(errors, "spec.nodeName", spec["nodeName"])
        if spec.get("nodeSelector") is not None:
            node_selector(errors, "spec.nodeSelector", spec["nodeSelector"])
            if len(spec["nodeSelector"].get("nodeSelectorTerms") or ()) != 1:
                errors.append(
                    fe.invalid(
                        "spec.nodeSelector.nodeSelectorTerms",
                        spec["nodeSelector"].get("nodeSelectorTerms"),
                        "must have exactly one node selector term",
                    )
                )
        _driver(errors, "spec.driver", spec.get("driver") or "")
        pool = spec.get("pool") or {}
        name = pool.get("name") or ""
        if not name:
            errors.append(fe.required("spec.pool.name"))
        else:
            if len(name) > 253:
                errors.append(fe.too_long("spec.pool.name", 253))
            for part in name.split("/"):
                _subdomain(errors, "spec.pool.name", part)
        count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
        if count <= 0:
            errors.append(
                fe.invalid("spec.pool.resourceSliceCount", count, "must be greater than zero")
            )
        if generation < 0:
            errors.append(
                fe.invalid(
                    "spec.pool.generation", generation, "must be greater than or equal to zero"
                )
            )
        fields = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
        given = [k for k in fields if spec.get(k) is not None and spec.get(k) is not False]
        told = ", ".join(f"`{k}`" for k in fields)
        if not given:
            errors.append(fe.required("spec", f"exactly one of {told} is required"))
        elif len(given) > 1:
            errors.append(
                fe.invalid(
                    "spec",
                    "{" + ", ".join(f"`{k}`" for k in given) + "}",
                    f"exactly one of {told} is required, but multiple fields are set",
                )
            )
        self._devices(errors, spec)
        return errors

    def _devices(self, errors: Errors, spec: Obj) -> None:
        devices = spec.get("devices") or []
        _limited(errors, "spec.devices", devices, 128)
        seen: set[str] = set()
        for i, device in enumerate(devices):
            path, name = f"spec.devices[{i}]", device.get("name") or ""
            if not name:
                errors.append(fe.required(f"{path}.name"))
            else:
                name_errors(errors, f"{path}.name", name, names.is_dns1123_label)
            if name in seen:
                errors.append(fe.duplicate(f"{path}.name", name))
            seen.add(name)
            attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
            if len(attributes) + len(capacity) > 32:
                errors.append(
                    fe.invalid(
                        path,
                        len(attributes) + len(capacity),
                        "the total number of attributes and capacities must not exceed 32",
                    )
                )
            for key in sorted(attributes):
                at = f"{path}.attributes[{key}]"
                _qualified(errors, at, key)
                _attribute(errors, at, attributes[key])
            for key in sorted(capacity):
                _qualified(errors, f"{path}.capacity[{key}]", key)

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        pool, old_pool = new.get("pool") or {}, before.get("pool") or {}
        for path, a, b in (
            ("spec.nodeName", new.get("nodeName"), before.get("nodeName")),
            ("spec.driver", new.get("driver"), before.get("driver")),
            ("spec.pool.name", pool.get("name"), old_pool.get("name")),
        ):
            immutable(errors, path, a, b)
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        return [
            obj["metadata"].get("name", ""),
            spec.get("nodeName") or "",
            spec.get("driver") or "",
            (spec.get("pool") or {}).get("name") or "",
            age(obj, now),
        ]


def _attribute(errors: Errors, path: str, attribute: Obj) -> None:
    given = [k for k in ("bool", "int", "string", "version") if attribute.get(k) is not None]
    if not given:
        errors.append(fe.required(path, "exactly one value must be specified"))
    elif len(given) > 1:
        errors.append(
            fe.invalid(
                path,
                internal("resource.DeviceAttribute", attribute),
                "exactly one value must be specified",
            )
        )
    for key in ("string", "version"):
        value = attribute.get(key)
        if value is not None and len(value) > 64:
            errors.append(fe.too_long(f"{path}.{key}", 64))
