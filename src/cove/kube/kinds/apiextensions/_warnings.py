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
    """A schema and all that it is made of, from the outside in."""
    # No generators within generators: large definitions are 20 deep, and this is asked often.
    waiting = [schema]
    while waiting:
        here = waiting.pop()
        if not isinstance(here, Mapping):
            continue
        yield here
        inner: list[Any] = []
        items = here.get("items")
        if isinstance(items, list):
            inner += items
        else:
            inner.append(items)
        for key in ("allOf", "anyOf", "oneOf"):
            inner += here.get(key) or ()
        inner += [here.get(key) for key in ("not", "additionalProperties", "additionalItems")]
        for key in ("properties", "patternProperties", "definitions", "dependencies"):
            inner += (here.get(key) or {}).values()
        inner.reverse()
        waiting += inner


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
