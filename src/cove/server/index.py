"""What the store keeps beside an object's bytes, read back from them when it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cove.kube import catalogue, kinds

__all__ = ["built_in", "index_of"]

Index = tuple[str, dict[str, str] | None, Mapping[str, str] | None]


def index_of(resource: str, data: bytes) -> Index:
    """(uid, labels, selectable fields) of a stored object."""
    doc: dict[str, Any] = orjson.loads(data)
    meta = doc["metadata"]
    fields: Mapping[str, str] | None = None
    kind = _kinds().get(resource)
    if kind is not None:
        found = kinds.kind(*kind)
        if found.selectable:
            fields = found.index_fields(doc)
    return meta["uid"], meta.get("labels"), fields


def built_in(resource: str) -> bool:
    """Whether a storage key is that of a built-in resource, not of a custom one."""
    return resource in _kinds()


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
