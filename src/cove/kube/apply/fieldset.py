"""Sets of field paths, kept as the FieldsV1 documents they are written as.

A set is a dict from path element to the set below it::

    {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:data": {}}

An element is a member itself if what is below it is empty or holds ``"."``.  Elements
are ``f:NAME``, ``k:{KEYS}`` (a list's element by its keys), ``v:VALUE`` and ``i:INDEX``.
Sets are never changed once made, so they share their parts freely.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
and ``sigs.k8s.io/structured-merge-diff/v6/fieldpath``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = [
    "LEAF",
    "FieldSet",
    "FieldSetError",
    "decode",
    "difference",
    "element",
    "from_paths",
    "has",
    "intersection",
    "iterate",
    "leaves",
    "ordered",
    "path_text",
    "recursive_difference",
    "size",
    "union",
]

FieldSet = dict[str, Any]

# A member with nothing below it; shared, never changed.
LEAF: FieldSet = {}


class FieldSetError(ValueError):
    """A FieldsV1 document that is none."""


def element(name: str) -> str:
    """The path element of a field."""
    return "f:" + name


def from_paths(*paths: tuple[str, ...]) -> FieldSet:
    """The set of these paths of field names."""
    out: FieldSet = {}
    for path in paths:
        one: FieldSet = LEAF
        for name in reversed(path):
            one = {"f:" + name: one}
        out = union(out, one)
    return out


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in ``a`` or ``b``."""
    if not a or a is b:
        return b
    if not b:
        return a
    out = dict(a)
    for key, below in b.items():
        have = out.get(key)
        if have is None:
            out[key] = below
        elif have is not below and key != ".":
            if not have:
                out[key] = _member(below)
            elif not below:
                out[key] = _member(have)
            else:
                out[key] = union(have, below)
    return out


def _member(below: FieldSet) -> FieldSet:
    return below if not below or "." in below else {".": LEAF, **below}


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in both."""
    out: FieldSet = {}
    if len(b) < len(a):
        a, b = b, a
    for key, left in a.items():
        right = b.get(key)
        if right is None or key == ".":
            continue
        member = (not left or "." in left) and (not right or "." in right)
        below = intersection(left, right) if left and right else LEAF
        if below:
            out[key] = {".": LEAF, **below} if member else below
        elif member:
            out[key] = LEAF
    return out


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in ``a`` and not in ``b``; taking away a parent leaves its children."""
    if not b or not a:
        return a
    out: FieldSet = {}
    for key, left in a.items():
        if key == ".":
            continue
        right = b.get(key)
        if right is None:
            out[key] = left
            continue
        member = (not left or "." in left) and right and "." not in right
        below = difference(left, right) if left and right else left
        if "." in below:
            below = {k: v for k, v in below.items() if k != "."}
        if below:
            out[key] = {".": LEAF, **below} if member else below
        elif member:
            out[key] = LEAF
    return out


def recursive_difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """What is in ``a`` and neither in ``b`` nor below a member of it."""
    if not b or not a:
        return a
    out: FieldSet = {}
    for key, left in a.items():
        right = b.get(key)
        if right is None or key == ".":
            out[key] = left
            continue
        if not right or "." in right:
            continue
        if not left:
            out[key] = LEAF
            continue
        below = recursive_difference(left, right)
        if len(below) == 1 and "." in below:
            below = LEAF
            out[key] = below
        elif below:
            out[key] = below
    return out


def leaves(a: FieldSet) -> FieldSet:
    """The members with nothing below them, and the way to them."""
    return {k: leaves(v) if v else LEAF for k, v in a.items() if k != "."}


def has(a: FieldSet, path: tuple[str, ...]) -> bool:
    """Whether the path (of elements) is a member."""
    below: FieldSet | None = a
    for key in path:
        below = below.get(key) if below else None
        if below is None:
            return False
    return bool(path) and (not below or "." in below)


def size(a: FieldSet) -> int:
    """How many members there are."""
    return sum(1 if key == "." or not below else size(below) for key, below in a.items())


def iterate(a: FieldSet, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every member's path, in upstream's order: at each level members first, then what is below."""
    keys = sorted((k for k in a if k != "."), key=_rank)
    for key in keys:
        below = a[key]
        if not below or "." in below:
            yield (*prefix, key)
    for key in keys:
        if a[key]:
            yield from iterate(a[key], (*prefix, key))


_RANKS = {"f": 0, "k": 1, "v": 2, "i": 3}


def _rank(key: str) -> tuple[int, Any]:
    kind = key[:1]
    if kind == "f":
        return 0, key
    if kind == "i":
        return 3, int(key[2:])
    value = json.loads(key[2:])
    if kind == "k":
        return 1, [(name, _value_rank(value[name])) for name in sorted(value)]
    return 2, _value_rank(value)


def _value_rank(value: Any) -> tuple[int, Any]:
    """An order of JSON scalars: numbers, strings, booleans, null."""
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, (int, float)):
        return 0, value
    return (1, value) if isinstance(value, str) else (3, 0)


def ordered(a: FieldSet) -> FieldSet:
    """The same set with its elements in order, as it is written into a document."""
    if len(a) == 1:
        for key, below in a.items():
            return {key: ordered(below)} if below else a
    out: FieldSet = {}
    for key in sorted(a):
        below = a[key]
        out[key] = ordered(below) if below else LEAF
    return out


def decode(document: Any) -> FieldSet:
    """The set of a FieldsV1 document that a client may have written.

    Unknown kinds of elements are dropped.  Raises FieldSetError for anything else that
    upstream does not read either.
    """
    if document is None:
        return LEAF
    if not isinstance(document, dict):
        raise FieldSetError("expected an object")
    out: FieldSet = {}
    for key, below in document.items():
        if key == ".":
            out[key] = LEAF
            continue
        if len(key) < 2:
            raise FieldSetError("key must be 2 characters long:")
        if key[1] != ":":
            raise FieldSetError(f"missing colon: {key}")
        kind = key[0]
        if kind not in _RANKS:
            continue
        try:
            if kind == "k":
                if not isinstance(json.loads(key[2:]), dict):
                    raise FieldSetError("expected an object")
            elif kind == "v":
                json.loads(key[2:])
            elif kind == "i":
                int(key[2:])
        except ValueError as e:
            raise FieldSetError(str(e)) from None
        out[key] = decode(below) if below else LEAF
        if len(out[key]) == 1 and "." in out[key]:
            out[key] = LEAF
    return out


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def path_text(path: tuple[str, ...]) -> str:
    """A path as people read it: ``.spec.containers[name="c"].image``."""
    out: list[str] = []
    for key in path:
        kind, rest = key[0], key[2:]
        if kind == "f":
            out.append("." + rest)
        elif kind == "k":
            keys = json.loads(rest)
            out.append("[" + ",".join(f"{k}={_quoted(keys[k])}" for k in sorted(keys)) + "]")
        elif kind == "v":
            out.append(f"[={_quoted(json.loads(rest))}]")
        else:
            out.append(f"[{rest}]")
    return "".join(out)
