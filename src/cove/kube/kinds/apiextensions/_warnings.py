"""What a CRD is warned about: formats that mean nothing, sets of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cove.kube.kinds._kind import Obj
from cove.kube.structural import is_known_format

__all__ = ["every_schema", "schemas_of", "warnings"]

Document = Mapping[str, Any]


def schemas_of(spec: Document) -> Iterator[Document]:
    """The distinct root schemas: one if all versions share it."""
    seen: list[Document] = []
    for version in spec.get("versions") or ():
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if isinstance(schema, Mapping) and schema not in seen:
            seen.append(schema)
            yield schema


def every_schema(schema: Any) -> Iterator[Document]:
    """A schema and all that it is made of."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    items = schema.get("items")
    if isinstance(items, list):
        for inner in items:
            yield from every_schema(inner)
    else:
        yield from every_schema(items)
    for key in ("allOf", "anyOf", "oneOf"):
        for inner in schema.get(key) or ():
            yield from every_schema(inner)
    for key in ("not", "additionalProperties", "additionalItems"):
        yield from every_schema(schema.get(key))
    for key in ("properties", "patternProperties", "definitions", "dependencies"):
        for inner in (schema.get(key) or {}).values():
            yield from every_schema(inner)


def _formats(spec: Document) -> list[str]:
    return [
        inner["format"]
        for schema in schemas_of(spec)
        for inner in every_schema(schema)
        if inner.get("format") and not is_known_format(inner["format"], inner.get("type") or "")
    ]


def _sets(spec: Document) -> list[str]:
    found = set()
    for schema in schemas_of(spec):
        for inner in every_schema(schema):
            items = inner.get("items")
            if inner.get("x-kubernetes-list-type") != "set" or not isinstance(items, Mapping):
                continue
            kind = items.get("type")
            if kind in ("object", "array"):
                found.add(
                    f'x-kubernetes-list-type: set for items of type "{kind}" is not supported by '
                    "server-side apply or CEL validation rules"
                )
    return sorted(found)


def warnings(obj: Obj, old: Obj | None) -> list[str]:
    """The warnings of a new CRD, or those that an update adds."""
    spec = obj.get("spec") or {}
    before = {} if old is None else old.get("spec") or {}
    known_formats, known_sets = set(_formats(before)), set(_sets(before))
    out = [
        f"unrecognized format {json.dumps(name, ensure_ascii=False)}"
        for name in _formats(spec)
        if name not in known_formats
    ]
    return out + [text for text in _sets(spec) if text not in known_sets]
