"""What a program changed in a typed object, told of the document it was read from.

A type knows some of a document's fields; writing the typed object back would drop the others.
So the difference between two typed states is carried over into the raw document, and told as a
JSON Patch: of what the type does not know, nothing is touched.

Elements of a list are the same element where their keys say so (:class:`ListMap`), else by
their place among those that have not changed.

Source: https://www.rfc-editor.org/rfc/rfc6902
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from cove.operator.entities._documents import whole_document
from cove.operator.entities._shapes import Shape, shape_of
from cove.operator.entities._struct import Struct

__all__ = ["changes", "difference", "merged"]

Doc = dict[str, Any]
Op = dict[str, Any]


def changes(before: Struct, after: Struct, raw: Doc) -> list[Op]:
    """The JSON Patch that makes of ``raw`` what a program made of ``before``.

    ``before`` is ``raw`` as it was read, ``after`` the same after the program.  An empty list:
    nothing changed.  Fields that the type does not know stay, wherever what they are in stays.
    """
    return difference(raw, merged(before, after, raw))


def merged(before: Struct, after: Struct, raw: Doc) -> Doc:
    """``raw`` with the difference of two typed states; ``raw`` itself is not changed."""
    if type(before) is not type(after):
        raise TypeError(f"{type(before).__name__} and {type(after).__name__} are two types")
    found: Doc = _merged(whole_document(before), whole_document(after), raw, shape_of(type(before)))
    return found


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if one is other:
        return True
    if one.__class__ is not other.__class__:
        return False
    text = msgspec.json.encode
    return text(one, order="sorted") == text(other, order="sorted")


def _merged(before: Any, after: Any, raw: Any, shape: Shape) -> Any:
    if _same(before, after):
        return raw
    if isinstance(before, dict) and isinstance(after, dict) and isinstance(raw, dict):
        return _merged_object(before, after, raw, shape)
    if isinstance(before, list) and isinstance(after, list) and isinstance(raw, list):
        if len(before) == len(raw):
            return _merged_list(before, after, raw, shape)
    return after


def _merged_object(before: Doc, after: Doc, raw: Doc, shape: Shape) -> Doc:
    out = {k: v for k, v in raw.items() if k in after or k not in before}
    for key, value in after.items():
        if key not in before:
            out[key] = value
        elif key in raw:
            out[key] = _merged(before[key], value, raw[key], shape.field(key))
        elif not _same(before[key], value):
            out[key] = value  # it was a default
    return out


def _merged_list(before: list[Any], after: list[Any], raw: list[Any], shape: Shape) -> list[Any]:
    source = _by_keys(before, after, shape.keys) if shape.keys else None
    source = source or _by_place(before, after)
    inner = shape.item
    return [
        value if at is None else _merged(before[at], value, raw[at], inner)
        for value, at in zip(after, map(source, range(len(after))), strict=True)
    ]


Source = Callable[[int], int | None]


def _by_keys(before: list[Any], after: list[Any], keys: tuple[str, ...]) -> Source | None:
    """Where elements come from by their keys; None where these tell nothing apart."""
    old, new = [[_key(e, keys) for e in elements] for elements in (before, after)]
    if len(set(old)) < len(old) or len(set(new)) < len(new) or None in (*old, *new):
        return None
    at = {key: index for index, key in enumerate(old)}
    return lambda index: at.get(new[index])


def _key(element: Any, keys: tuple[str, ...]) -> str | None:
    if not isinstance(element, dict):
        return None
    return msgspec.json.encode([element.get(k) for k in keys]).decode()


def _by_place(before: list[Any], after: list[Any]) -> Source:
    """Where elements come from: unchanged ones by themselves, changed ones by what is around."""
    old, new = [[msgspec.json.encode(e) for e in elements] for elements in (before, after)]
    found: dict[int, int] = {}
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for what, start, end, to, upto in matcher.get_opcodes():
        if what == "equal" or (what == "replace" and end - start == upto - to):
            found.update(zip(range(to, upto), range(start, end), strict=True))
    return found.get


def difference(old: Any, new: Any, path: str = "") -> list[Op]:
    """The JSON Patch from one document to another."""
    if _same(old, new):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        ops: list[Op] = [
            {"op": "remove", "path": f"{path}/{_escaped(k)}"} for k in old if k not in new
        ]
        for key, value in new.items():
            place = f"{path}/{_escaped(key)}"
            if key in old:
                ops += difference(old[key], value, place)
            else:
                ops.append({"op": "add", "path": place, "value": value})
        return ops
    if isinstance(old, list) and isinstance(new, list):
        return _list_difference(old, new, path)
    return [{"op": "replace", "path": path, "value": new}]


def _list_difference(old: list[Any], new: list[Any], path: str) -> list[Op]:
    start = 0
    while start < min(len(old), len(new)) and _same(old[start], new[start]):
        start += 1
    tail = 0
    while tail < min(len(old), len(new)) - start and _same(old[-1 - tail], new[-1 - tail]):
        tail += 1
    gone, come = old[start : len(old) - tail], new[start : len(new) - tail]
    both = min(len(gone), len(come))
    ops: list[Op] = []
    for index in range(both):
        ops += difference(gone[index], come[index], f"{path}/{start + index}")
    # From the end, so that the places of those before stay what they are.
    for index in reversed(range(both, len(gone))):
        ops.append({"op": "remove", "path": f"{path}/{start + index}"})
    for index in range(both, len(come)):
        ops.append({"op": "add", "path": f"{path}/{start + index}", "value": come[index]})
    return ops


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
