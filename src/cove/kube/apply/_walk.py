"""Documents to field sets, by their type: what a document holds, and how two differ.

Every :class:`~cove.kube.schema.Node` gets a walker once (kept on the node); walkers call
each other directly and build FieldsV1 tries as they go, without paths.  Values are
expected to fit the type, as the codec leaves them; what may not fit is an applied
configuration, which ``_typed`` checks first.

Source: ``sigs.k8s.io/structured-merge-diff/v6/typed`` (compare.go, tofieldset.go).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from cove.kube.apply.fieldset import LEAF, FieldSet
from cove.kube.schema import Field, Node

__all__ = ["ListKeyError", "Walker", "empty_object", "set_element", "walker"]

Pair = tuple[FieldSet | None, FieldSet | None]

_ATOMS = frozenset(
    (
        "string",
        "integer",
        "number",
        "boolean",
        "quantity",
        "int-or-string",
        "time",
        "micro-time",
        "bytes",
        "duration",
    )
)


class ListKeyError(ValueError):
    """A list element without any of the keys its list goes by."""


def set_element(value: Any) -> str:
    """The path element of a set's member."""
    return "v:" + _json(value)


def _json(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # a lone surrogate, a number beyond 64 bits
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Go's encoder keeps HTML apart.
    if "<" in text or ">" in text or "&" in text:
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text


class Walker:
    """How one type is walked.

    ``leaf``: the value is owned as a whole.  ``full(value)`` is the set of a value that
    appears or disappears, itself included; ``own(value)`` is what applying it claims
    (None: nothing); ``compare(old, new)`` of two different values that are both there is
    (changed or added, removed), None for nothing.  ``element`` names a list's element.
    """

    __slots__ = ("compare", "element", "fields", "full", "items", "leaf", "node", "own")

    leaf: bool
    node: Node
    full: Callable[[Any], FieldSet]
    own: Callable[[Any], FieldSet | None]
    compare: Callable[[Any, Any], Pair]
    fields: _Fields
    items: Node | None
    element: Callable[[Any], str]

    def __init__(self, node: Node) -> None:
        self.node = node
        self.leaf = False
        self.items = None
        # What a built-in kind leaves open (RawExtension, JSON) has a name and is owned whole;
        # what a custom resource leaves open is granular.
        if node.type == "any" and not node.atomic and not node.name:
            self.full, self.own, self.compare = _any_full, _any_own, _any_compare
        elif node.type in _ATOMS or node.type == "any" or node.atomic or _is_atomic_list(node):
            self.leaf = True
            self.full, self.own, self.compare = _leaf, _leaf, _leaf_compare
        elif node.type == "list":
            self.items = node.items
            self.element = _element_namer(node)
            _compile_list(self)
        else:
            self.fields = _Fields(node)
            _compile_map(self)


def _is_atomic_list(node: Node) -> bool:
    return node.type == "list" and node.list_type == "atomic"


def walker(node: Node) -> Walker:
    """The walker of a type, made at first use."""
    found: Walker | None = node.cache.get("apply")
    if found is None:
        found = node.cache["apply"] = Walker(node)
    return found


def _leaf(_value: Any) -> FieldSet:
    return LEAF


def _leaf_compare(_old: Any, _new: Any) -> Pair:
    return LEAF, None


class _Fields(dict[str, tuple[str, bool, Walker]]):
    """Key of a document → (path element, declared in the type, walker of the value)."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def __missing__(self, key: str) -> tuple[str, bool, Walker]:
        node = self.node
        field = node.fields.get(key)
        if field is not None:
            entry = self[key] = ("f:" + key, True, walker(field.node))
            return entry
        if node.type == "map" and node.items is not None:
            below = walker(node.items)
        else:
            below = _ANY
        entry = ("f:" + key, False, below)
        # Keys of maps are the clients': a few recur (app, name), most do not.
        if len(self) < 512:
            self[key] = entry
        return entry


def _children(fields: _Fields, value: dict[str, Any]) -> FieldSet:
    out: FieldSet = {}
    for key, below in value.items():
        name, _, walk = fields[key]
        out[name] = LEAF if walk.leaf else walk.full(below)
    return out


def _compile_map(self: Walker) -> None:
    fields = self.fields

    def full(value: Any) -> FieldSet:
        if not value:
            return LEAF
        out: FieldSet = {".": LEAF}
        for key, below in value.items():
            name, _, walk = fields[key]
            out[name] = LEAF if walk.leaf else walk.full(below)
        return out

    def own(value: Any) -> FieldSet | None:
        if not value:
            return LEAF
        out: FieldSet = {}
        for key, below in value.items():
            name, declared, walk = fields[key]
            if walk.leaf or below is None:
                out[name] = LEAF
                continue
            held = walk.own(below)
            if declared:
                if held is not None:
                    out[name] = held
            elif held:
                out[name] = {".": LEAF, **held}
            else:
                out[name] = LEAF
        return out or None

    def compare(old: Any, new: Any) -> Pair:
        if not new:
            return (None, _children(fields, old)) if old else (LEAF, None)
        if not old:
            return _children(fields, new), None
        changed: FieldSet = {}
        removed: FieldSet = {}
        common = 0
        for key, after in new.items():
            if key in old:
                common += 1
                before = old[key]
                if after is before or after == before:
                    continue
                name, _, walk = fields[key]
                if walk.leaf:
                    changed[name] = LEAF
                    continue
                c, r = walk.compare(before, after)
                if c is not None:
                    changed[name] = c
                if r is not None:
                    removed[name] = r
            else:
                name, _, walk = fields[key]
                changed[name] = LEAF if walk.leaf else walk.full(after)
        if common != len(old):
            for key, before in old.items():
                if key not in new:
                    name, _, walk = fields[key]
                    removed[name] = LEAF if walk.leaf else walk.full(before)
        return changed or None, removed or None

    self.full, self.own, self.compare = full, own, compare


def _element_namer(node: Node) -> Callable[[Any], str]:
    if node.list_type == "set" or not node.keys:
        return set_element
    keys = tuple(sorted(node.keys))
    defaults = tuple(node.key_defaults.get(k) for k in keys)
    declared = " ".join(_json(k) for k in node.keys)
    cache: dict[Any, str] = {}

    def build(item: dict[str, Any]) -> str:
        parts = []
        for key, default in zip(keys, defaults, strict=True):
            if key in item:
                parts.append(f"{_json(key)}:{_json(item[key])}")
            elif default is not None:
                parts.append(f"{_json(key)}:{_json(default)}")
        if not parts:
            raise ListKeyError(
                "associative list with keys has an element that omits all key fields "
                f"[{declared}] (and doesn't have default values for any key fields)"
            )
        return "k:{" + ",".join(parts) + "}"

    if len(keys) == 1:
        key = keys[0]

        def name_one(item: dict[str, Any]) -> str:
            value = item.get(key)
            if value.__class__ is not str:
                return build(item)
            found = cache.get(value)
            if found is None:
                found = build(item)
                if len(cache) < 1024:
                    cache[value] = found
            return found

        return name_one

    def name_many(item: dict[str, Any]) -> str:
        values = tuple([item.get(key) for key in keys])
        for value in values:
            # True is 1 to a dict, and a key that is left out has a default.
            if value.__class__ is not str and value.__class__ is not int:
                return build(item)
        found = cache.get(values)
        if found is None:
            found = build(item)
            if len(cache) < 1024:
                cache[values] = found
        return found

    return name_many


def _compile_list(self: Walker) -> None:
    element = self.element
    items = walker(self.items) if self.items is not None else _ANY
    leaf = items.leaf

    def below(values: Any) -> FieldSet:
        out: FieldSet = {}
        for item in values:
            name = element(item)
            # What is there twice is owned as a whole.
            out[name] = LEAF if leaf or name in out else items.full(item)
        return out

    def full(value: Any) -> FieldSet:
        return {".": LEAF, **below(value)} if value else LEAF

    def own(value: Any) -> FieldSet | None:
        if not value:
            return None
        out: FieldSet = {}
        for item in value:
            name = element(item)
            if leaf or name in out:
                out[name] = LEAF
                continue
            held = items.own(item)
            out[name] = {".": LEAF, **held} if held else LEAF
        return out

    def compare(old: Any, new: Any) -> Pair:
        if not new:
            return (None, below(old)) if old else (LEAF, None)
        if not old:
            return below(new), None
        before, after = _index(old, element), _index(new, element)
        changed: FieldSet = {}
        removed: FieldSet = {}
        for name, item in after.items():
            one = before.get(name)
            if one is None:
                changed[name] = items.full(item[0]) if len(item) == 1 else LEAF
            elif len(one) == 1 == len(item):
                if leaf or one[0] == item[0]:
                    continue
                c, r = items.compare(one[0], item[0])
                if c is not None:
                    changed[name] = c
                if r is not None:
                    removed[name] = r
            elif len(one) > 1 and len(item) > 1:
                if one != item:
                    changed[name] = LEAF
            elif len(one) > 1:
                changed[name] = items.full(item[0])
                removed[name] = LEAF
            else:
                removed[name] = items.full(one[0])
                changed[name] = LEAF
        for name, one in before.items():
            if name not in after:
                removed[name] = items.full(one[0]) if len(one) == 1 else LEAF
        return changed or None, removed or None

    self.full, self.own, self.compare = full, own, compare


def _index(values: list[Any], element: Callable[[Any], str]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for item in values:
        out.setdefault(element(item), []).append(item)
    return out


# Values without a type: maps are granular, lists and scalars are leaves.


def _any_full(value: Any) -> FieldSet:
    if not value or not isinstance(value, dict):
        return LEAF
    return {".": LEAF, **{"f:" + k: _any_full(v) for k, v in value.items()}}


def _any_own(value: Any) -> FieldSet | None:
    if not value or not isinstance(value, dict):
        return LEAF
    out: FieldSet = {}
    for key, below in value.items():
        held = _any_own(below)
        out["f:" + key] = {".": LEAF, **held} if held else LEAF
    return out


def _any_compare(old: Any, new: Any) -> Pair:
    old_map, new_map = isinstance(old, dict), isinstance(new, dict)
    if not (old_map or old is None) or not (new_map or new is None):
        changed: FieldSet = LEAF
        if new_map and new:
            changed = _any_full(new)
        removed = {k: v for k, v in _any_full(old).items() if k != "."} if old_map else None
        return changed, removed or None
    if not old and not new:
        return LEAF, None
    changed, gone = {}, {}
    old, new = old or {}, new or {}
    for key, after in new.items():
        if key not in old:
            changed["f:" + key] = _any_full(after)
        elif old[key] != after:
            c, r = _any_compare(old[key], after)
            if c is not None:
                changed["f:" + key] = c
            if r is not None:
                gone["f:" + key] = r
    for key, before in old.items():
        if key not in new:
            gone["f:" + key] = _any_full(before)
    return changed or None, gone or None


_ANY = Walker(Node("any"))


def empty_object(node: Node) -> dict[str, Any]:
    """The document of a Go value nobody set: what creates are compared with.

    Struct fields that are always written make the difference between owning
    ``f:spec`` and owning what is below it.
    """
    found: dict[str, Any] | None = node.cache.get("apply-empty")
    if found is None:
        found = node.cache["apply-empty"] = _zero_struct(node)
    return found


def _zero_struct(node: Node) -> dict[str, Any]:
    return {f.name: _zero(f) for f in node.fields.values() if f.emit in ("always", "struct")}


def _zero(field: Field) -> Any:
    kind = field.node.type
    if field.emit == "struct" and kind == "struct":
        return _zero_struct(field.node)
    if kind in ("string", "duration"):
        return ""
    if kind in ("integer", "number"):
        return 0
    if kind == "boolean":
        return False
    if kind == "quantity":
        return "0"
    return None
