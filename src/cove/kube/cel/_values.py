"""Custom resources as CEL values: numbers, times and bytes as the schema says, names escaped.

Most values pass as they are; what has to change is copied on the way.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from cove.kube.cel._types import DeclType, unescape

__all__ = ["converter"]

Convert = Callable[[Any], Any]


def converter(type: DeclType) -> Convert | None:
    """The conversion of values of a type, None where they pass as they are."""
    return _SCALARS.get(type.kind) or _container(type)


def _container(type: DeclType) -> Convert | None:
    if type.kind == "list":
        assert type.items is not None
        inner = converter(type.items)
        if inner is None:
            return None
        one = inner
        return lambda value: [one(v) for v in value] if value.__class__ is list else value
    if type.kind == "map":
        assert type.items is not None
        inner = converter(type.items)
        if inner is None:
            return None
        each = inner
        return lambda value: (
            {k: each(v) for k, v in value.items()} if value.__class__ is dict else value
        )
    if type.kind == "object":
        return _object(type)
    return None


def _object(type: DeclType) -> Convert | None:
    steps: dict[str, tuple[str, Convert | None]] = {}
    for escaped, inner in type.fields.items():
        name = unescape(escaped)
        step = converter(inner)
        if step is not None or name != escaped:
            steps[name] = (escaped, step)
    if not steps:
        return None

    def convert(value: Any) -> Any:
        if value.__class__ is not dict:
            return value
        out = {}
        for name, item in value.items():
            found = steps.get(name)
            if found is None:
                out[name] = item
            else:
                escaped, step = found
                out[escaped] = item if step is None else step(item)
        return out

    return convert


def _double(value: Any) -> Any:
    return float(value) if value.__class__ is int else value


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value


def _duration(value: Any) -> Any:
    from google.protobuf.duration_pb2 import Duration

    from cove.kube.times import TimeError, parse_duration

    if not isinstance(value, str):
        return value
    try:
        nanos = parse_duration(value)
    except TimeError:
        return value
    found = Duration()
    found.FromNanoseconds(nanos)
    return found


def _timestamp(value: Any) -> Any:
    from google.protobuf.timestamp_pb2 import Timestamp

    if not isinstance(value, str):
        return value
    found = Timestamp()
    try:
        # A date stands for its midnight.
        found.FromJsonString(value if len(value) > 10 else f"{value}T00:00:00Z")
    except ValueError:
        return value
    return found


_SCALARS: dict[str, Convert] = {
    "double": _double,
    "bytes": _bytes,
    "duration": _duration,
    "timestamp": _timestamp,
}
