"""Conditions of a status: finding and setting them as upstream's helpers do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cove.kube.times import parse_time

__all__ = ["find", "is_true", "parsed", "seconds_since"]

Doc = dict[str, Any]


def find(conditions: Iterable[Doc] | None, type: str) -> Doc | None:
    """The condition of a type, or None."""
    for condition in conditions or ():
        if condition.get("type") == type:
            return condition
    return None


def is_true(obj: Doc, type: str) -> bool:
    """Whether a condition of an object's status is True."""
    condition = find(obj.get("status", {}).get("conditions"), type)
    return condition is not None and condition.get("status") == "True"


def parsed(text: str | None) -> datetime | None:
    """An RFC 3339 time, None for none."""
    return parse_time(text) if text else None


def seconds_since(text: str | None, now: datetime) -> float:
    """Seconds from a time to ``now``, 0 without a time."""
    return (now - parse_time(text)).total_seconds() if text else 0.0
