"""What the rows of several kinds share: columns, ages, containers, selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from cove.kube.kinds._data import load
from cove.kube.kinds._kind import Column
from cove.kube.times import human_duration, parse_time

__all__ = ["age", "bool_text", "columns", "containers", "format_labels", "has_columns", "since"]

_NAME = 0
_CREATED = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. "
    "It is not guaranteed to be set in happens-before order across separate operations. Clients "
    "may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the "
    "system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)


def has_columns(group: str, kind: str) -> bool:
    """Whether ``columns.json`` knows the kind."""
    return f"{group}/{kind}" in load("columns.json")["kinds"]


@cache
def columns(group: str, kind: str) -> Sequence[Column]:
    """The columns that ``columns.json`` has for a kind, else Name and Created At."""
    data = load("columns.json")
    texts = data["texts"]
    found = data["kinds"].get(f"{group}/{kind}")
    if found is None:
        name = data["kinds"]["/ConfigMap"][0]
        return (
            Column("Name", "string", "name", texts[name[3]]),
            Column("Created At", "date", "", _CREATED),
        )
    return tuple(Column(n, t, f, texts[d], p) for n, t, f, d, p in found)


def since(time: str | None, now: datetime) -> str:
    """How long ago a time was, as ``kubectl`` tells it; ``<unknown>`` without one."""
    if not time:
        return "<unknown>"
    return human_duration((now - parse_time(time)).total_seconds())


def age(obj: Mapping[str, Any], now: datetime) -> str:
    """The object's age."""
    return since(obj["metadata"].get("creationTimestamp"), now)


def bool_text(value: bool | None) -> str:
    """``True``, ``False`` or ``<unset>``."""
    return "<unset>" if value is None else "True" if value else "False"


def containers(items: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Two cells: the names and the images, each with commas between."""
    items = items or ()
    return [
        ",".join(c.get("name", "") for c in items),
        ",".join(c.get("image", "") for c in items),
    ]


def format_labels(labels: Mapping[str, str] | None) -> str:
    """``a=b,c=d`` sorted by key, or ``<none>``."""
    if not labels:
        return "<none>"
    return ",".join(f"{k}={labels[k]}" for k in sorted(labels))
