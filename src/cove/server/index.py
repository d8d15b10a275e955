"""What the store keeps beside an object's bytes, read back from them when it is opened."""

from __future__ import annotations

from typing import Any

import orjson

from cove.kube import catalogue, kinds

__all__ = ["index_of"]

Index = tuple[str, dict[str, str] | None, dict[str, str] | None]


def index_of(resource: str, data: bytes) -> Index:
    """(uid, labels, selectable fields) of a stored object."""
    doc: dict[str, Any] = orjson.loads(data)
    meta = doc["metadata"]
    fields = None
    kind = _kinds().get(resource)
    if kind is not None:
        selectable = kinds.kind(*kind).selectable
        if selectable:
            fields = {label: value(doc) for label, value in selectable.items()}
    return meta["uid"], meta.get("labels"), fields


def _kinds() -> dict[str, tuple[str, str]]:
    """Storage key → (group, kind) of the built-in resources."""
    global _cache
    if _cache is None:
        _cache = {}
        for resource in catalogue.resources():
            if resource.persisted:
                group, _, kind = resource.stored_as
                key = f"{resource.plural}.{group}" if group else resource.plural
                _cache[key] = (group, kind)
    return _cache


_cache: dict[str, tuple[str, str]] | None = None
