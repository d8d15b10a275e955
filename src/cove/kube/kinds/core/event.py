"""Event, in its two groups: core/v1 stores it, events.k8s.io/v1 shows it with other words.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import since

__all__ = ["Event"]

Errors = list[FieldError]
_NEW = "events.k8s.io/v1"
# core/v1's name of a field → events.k8s.io/v1's.
_RENAMED = {
    "message": "note",
    "involvedObject": "regarding",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_BACK = {new: old for old, new in _RENAMED.items()}


def _is_new(obj: Obj) -> bool:
    return obj.get("apiVersion") == _NEW


def _get(key: str) -> Callable[[Obj], str]:
    renamed = _RENAMED.get(key, key)

    def read(obj: Obj) -> str:
        return str(obj.get(renamed if _is_new(obj) else key) or "")

    return read


def _object(key: str) -> Callable[[Obj], str]:
    def read(obj: Obj) -> str:
        return str(
            (obj.get("regarding" if _is_new(obj) else "involvedObject") or {}).get(key) or ""
        )

    return read


def _source(obj: Obj) -> str:
    source = obj.get("deprecatedSource" if _is_new(obj) else "source") or {}
    return str(source.get("component") or _get("reportingComponent")(obj))


_OBJECT_KEYS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


class Event(Kind):
    """Something that happened to an object."""

    allow_create_on_update = True
    storage_version = "v1"
    told_group = ""

    @property
    def selectable(self) -> dict[str, Callable[[Obj], str]]:  # type: ignore[override]  # by group
        new = self.group == "events.k8s.io"
        holder = "regarding" if new else "involvedObject"
        labels = {f"{holder}.{key}": _object(key) for key in _OBJECT_KEYS}
        labels |= {"reason": _get("reason"), "type": _get("type")}
        if new:
            labels["reportingController"] = _get("reportingComponent")
        else:
            labels |= {"reportingComponent": _get("reportingComponent"), "source": _source}
        return labels

    def index_fields(self, obj: Obj) -> dict[str, str]:
        holders = ("involvedObject", "regarding")
        labels = {f"{h}.{k}": _object(k)(obj) for h in holders for k in _OBJECT_KEYS}
        component = _get("reportingComponent")(obj)
        return labels | {
            "reason": _get("reason")(obj),
            "type": _get("type")(obj),
            "reportingComponent": component,
            "reportingController": component,
            "source": _source(obj),
        }

    def validate_name(self, name: str) -> list[str]:
        if self.group == "events.k8s.io":
            return names.is_dns1123_subdomain(name)
        return names.is_path_segment_name(name)

    def convert(self, obj: Obj, api_version: str) -> Obj:
        if obj.get("apiVersion") == api_version:
            return obj
        renamed = _RENAMED if api_version == _NEW else _BACK
        out = {renamed.get(key, key): value for key, value in obj.items()}
        out["apiVersion"] = api_version
        if api_version == _NEW:
            for key in ("reportingController", "reportingInstance"):
                if out.get(key) == "":
                    del out[key]
        else:
            out.setdefault("involvedObject", {})
            out.setdefault("source", {})
            out.setdefault("firstTimestamp", None)
            out.setdefault("lastTimestamp", None)
            out.setdefault("reportingComponent", "")
            out.setdefault("reportingInstance", "")
        return out

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        new = _is_new(obj)
        core = self.convert(obj, "v1") if new else obj
        _common(errors, core, new=new)
        if not new:
            return errors
        _series(errors, core.get("series"))
        if not core.get("eventTime"):
            errors.append(fe.required("eventTime"))
        kind = core.get("type") or ""
        if kind not in ("Normal", "Warning"):
            errors.append(fe.invalid("type", "", f"has invalid value: {kind}"))
        source = core.get("source") or {}
        for key, value in (
            ("firstTimestamp", core.get("firstTimestamp")),
            ("lastTimestamp", core.get("lastTimestamp")),
            ("count", core.get("count")),
            ("source", source.get("component") or source.get("host")),
        ):
            if value:
                errors.append(fe.invalid(key, "", "needs to be unset"))
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        new = _is_new(obj)
        core = self.convert(obj, "v1") if new else obj
        _common(errors, core, new=new)
        if not new:
            return errors
        before = self.convert(old, "v1")
        if core.get("series") != before.get("series"):
            _series(errors, core.get("series"))
        for key in _FIXED:
            if (core.get(key) or None) != (before.get(key) or None):
                path = "reportingController" if key == "reportingComponent" else key
                errors.append(fe.invalid(path, core.get(key), "field is immutable"))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        core = self.convert(obj, "v1") if _is_new(obj) else obj
        time = core.get("eventTime")
        first = since(core.get("firstTimestamp") or time, now)
        last = since(core["lastTimestamp"], now) if core.get("lastTimestamp") else first
        count = core.get("count") or 0
        series = core.get("series")
        if series is not None:
            last = since(series.get("lastObservedTime"), now)
            count = series.get("count") or 0
        elif not count:
            count = 1
        involved, source = core.get("involvedObject") or {}, core.get("source") or {}
        target = (involved.get("kind") or "").lower()
        if involved.get("name"):
            target += f"/{involved['name']}"
        component = source.get("component") or core.get("reportingComponent") or ""
        instance = source.get("host") or core.get("reportingInstance") or ""
        return [
            last,
            core.get("type") or "",
            core.get("reason") or "",
            target,
            involved.get("fieldPath") or "",
            f"{component}, {instance}" if instance else component,
            (core.get("message") or "").strip(),
            first,
            count,
            core["metadata"].get("name", ""),
        ]


_LIMITS = (("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024))


def _common(errors: Errors, core: Obj, *, new: bool) -> None:
    """What both groups ask for; more where there is an eventTime."""
    namespace = core["metadata"].get("namespace") or ""
    about = (core.get("involvedObject") or {}).get("namespace") or ""
    timed = bool(core.get("eventTime"))
    if about:
        wrong = not timed and about != namespace
    else:
        wrong = namespace not in (("default", "kube-system") if timed else ("default", ""))
    if wrong:
        errors.append(
            fe.invalid("involvedObject.namespace", about, "does not match event.namespace")
        )
    if not timed:
        return
    controller = core.get("reportingComponent") or ""
    path = "reportingController" if new else "reportingComponent"
    if not controller:
        errors.append(fe.required(path))
    errors += [fe.invalid(path, controller, m) for m in names.is_qualified_name(controller)]
    for key, limit in _LIMITS:
        value = core.get(key) or ""
        if not value and key != "message":
            errors.append(fe.required(key))
        if len(value.encode()) > limit:
            errors.append(fe.invalid(key, "", f"can have at most {limit} characters"))


def _series(errors: Errors, series: Obj | None) -> None:
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        errors.append(fe.invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(fe.required("series.lastObservedTime"))


_FIXED = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    # Upstream asks for it twice and tells it twice.
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
)
