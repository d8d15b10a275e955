"""Operations on documents by their type: check, merge, remove what a set names, extract it.

All return new documents and share what they leave alone.

Source: ``sigs.k8s.io/structured-merge-diff/v6/typed`` (validate.go, merge.go, remove.go).
"""

from __future__ import annotations

from typing import Any

from cove.kube.apply._walk import ListKeyError, Walker, walker
from cove.kube.apply.fieldset import LEAF, FieldSet, path_text
from cove.kube.field_errors import render
from cove.kube.patch import go_format
from cove.kube.schema import Node

__all__ = ["extract", "merge", "named_fields", "remove", "type_errors"]

_ANY = Node("any")
_MISSING: Any = object()


def type_errors(value: Any, node: Node) -> str:
    """What does not fit the type, as upstream tells it; "" if all does.

    Unknown fields, values of a wrong kind, list elements without keys or with the
    same ones; fewer than these are allowed in stored documents.
    """
    errors: list[str] = []
    _check(value, node, "", errors)
    if not errors:
        return ""
    if len(errors) == 1:
        return errors[0]
    return "errors:\n" + "\n".join("  " + e for e in errors)


def _tell(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message


def _go_type(value: Any) -> str:
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    return "float64" if isinstance(value, float) else "string"


def _go_syntax(value: Any) -> str:
    """A value as ``%#v`` prints what holds it."""
    if isinstance(value, (dict, list)):
        if isinstance(value, dict):
            inner = ", ".join(f"{render(k)}:{_go_syntax(v)}" for k, v in sorted(value.items()))
        else:
            inner = ", ".join(map(_go_syntax, value))
        return f"{_go_type(value)}{{{inner}}}"
    if value is None:
        return "interface {}(nil)"
    return render(value)


def _check(value: Any, node: Node, path: str, errors: list[str]) -> None:
    if value is None:
        return
    kind = node.type
    if kind in ("struct", "map"):
        if not isinstance(value, dict):
            errors.append(_tell(path, f"expected map, got &{{{go_format(value)}}}"))
            return
        fields, items = node.fields, node.items
        for key, below in value.items():
            field = fields.get(key)
            if field is not None:
                if below.__class__ is str and field.node.type == "string":
                    continue
                _check(below, field.node, f"{path}.{key}", errors)
            elif kind == "map" and items is not None:
                if below.__class__ is str and items.type == "string":
                    continue
                _check(below, items, f"{path}.{key}", errors)
            elif kind == "struct" and not node.preserve:
                errors.append(f"{path}.{key}: field not declared in schema")
                return
    elif kind == "list":
        _check_list(value, node, path, errors)
    elif kind in ("integer", "number"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            errors.append(_tell(path, f"expected numeric (int or float), got {_go_type(value)}"))
    elif kind == "boolean":
        if not isinstance(value, bool):
            errors.append(_tell(path, f"expected boolean, got &{{{go_format(value)}}}"))
    elif kind in ("quantity", "int-or-string"):
        if isinstance(value, (dict, list)):
            errors.append(_tell(path, f"expected any scalar, got &{{{go_format(value)}}}"))
    elif kind != "any" and not isinstance(value, str):
        shown = f"&value.valueUnstructured{{Value:{_go_syntax(value)}}}"
        errors.append(_tell(path, f"expected string, got {shown}"))


def _check_list(value: Any, node: Node, path: str, errors: list[str]) -> None:
    if not isinstance(value, list):
        errors.append(_tell(path, f"expected list, got &{{{go_format(value)}}}"))
        return
    items = node.items or _ANY
    if node.list_type == "atomic":
        for i, below in enumerate(value):
            _check(below, items, f"{path}[{i}]", errors)
        return
    name_of = walker(node).element
    seen: set[str] = set()
    for i, below in enumerate(value):
        fault = _element_fault(below, node)
        name = ""
        if not fault:
            try:
                name = name_of(below)
            except ListKeyError as e:
                fault = str(e)
        if fault:
            errors.append(_tell(path, f"element {i}: {fault}"))
            return
        shown = path_text((name,))
        if name in seen:
            errors.append(_tell(path, f"duplicate entries for key {shown}"))
        seen.add(name)
        _check(below, items, path + shown, errors)


def _element_fault(value: Any, node: Node) -> str:
    if node.keys:
        if value is None:
            return "associative list with keys may not have a null element"
        if not isinstance(value, dict):
            return "associative list with keys may not have non-map elements"
    elif isinstance(value, dict):
        return "associative list without keys has an element that's a map type"
    elif isinstance(value, list):
        return "not supported: associative list with lists as elements"
    elif value is None:
        return "associative list without keys has an element that's an explicit null"
    return ""


def merge(live: Any, config: Any, node: Node) -> Any:
    """``live`` with every leaf that ``config`` has replaced; nothing is removed."""
    if live is config:
        return live
    walk = walker(node)
    if walk.leaf:
        return config
    kind = node.type
    if kind == "any":
        if not isinstance(config, dict):
            return config if config is not None or not isinstance(live, dict) else live or None
        if not isinstance(live, dict):
            return config
    elif not config:
        return live or config
    elif not live:
        return config
    if kind == "list":
        return _merge_lists(live, config, walk)
    if not config:
        return live or config
    out = dict(live)
    for key, value in config.items():
        before = out.get(key, _MISSING)
        if before is _MISSING or value.__class__ is str:
            out[key] = value
        else:
            out[key] = merge(before, value, _below(node, key))
    return out


def _below(node: Node, key: str) -> Node:
    field = node.fields.get(key)
    if field is not None:
        return field.node
    return node.items if node.type == "map" and node.items is not None else _ANY


def _merge_lists(live: list[Any], config: list[Any], walk: Walker) -> list[Any]:
    """Elements of both: in the order of ``config`` where it says, else as they were."""
    items = walk.items or _ANY
    left = [walk.element(v) for v in live]
    right = [walk.element(v) for v in config]
    have: dict[str, Any] = {}
    for name, value in zip(left, live, strict=True):
        # Of what is there twice nothing is kept under a new value.
        have[name] = _MISSING if name in have else value
    want = dict(zip(right, config, strict=True))

    def both(name: str) -> Any:
        before = have.get(name, _MISSING)
        return want[name] if before is _MISSING else merge(before, want[name], items)

    shared = [name for name in right if name in have]
    following = iter(shared)
    expected = next(following, None)
    out: list[Any] = []
    done: set[str] = set()
    i = j = 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            name = left[i]
            if name == right[j]:
                done.add(name)
                out.append(both(name))
                i, j = i + 1, j + 1
                expected = next(following, None)
                continue
            if name in want and expected is not None and expected != name:
                i += 1
                continue
        if i < len(left):
            name = left[i]
            if name not in want:
                out.append(live[i])
                i += 1
                continue
            if name in done:
                i += 1
        if j < len(right):
            name = right[j]
            done.add(name)
            out.append(both(name))
            j += 1
            if expected == name:
                expected = next(following, None)
    return out


def remove(value: Any, items: FieldSet, node: Node) -> Any:
    """``value`` without the fields and elements ``items`` names; None if nothing is left."""
    walk = walker(node)
    if walk.leaf or not items:
        return value if not items or _scalar(value) else None
    if isinstance(value, list):
        if not value or node.type != "list":
            return None
        below = walk.items or _ANY
        kept: list[Any] = []
        for one in value:
            gone = items.get(walk.element(one))
            if gone is None:
                kept.append(one)
            elif gone and "." not in gone:
                kept.append(remove(one, gone, below))
        return kept or None
    if isinstance(value, dict):
        out: dict[str, Any] = {}
        for key, one in value.items():
            gone = items.get("f:" + key)
            if gone is None:
                out[key] = one
            elif gone and "." not in gone:
                out[key] = remove(one, gone, _below(node, key))
        return out or None
    return value


def _scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def extract(value: Any, items: FieldSet, node: Node) -> Any:
    """Only the fields and elements of ``value`` that ``items`` names; None if there are none."""
    walk = walker(node)
    if walk.leaf or not value or not isinstance(value, (dict, list)):
        return value
    if isinstance(value, list):
        if node.type != "list":
            return value
        found = [(one, items.get(walk.element(one))) for one in value]
        below = walk.items or _ANY
        return [
            extract(one, held, below) if any(k != "." for k in held) else one
            for one, held in found
            if held is not None
        ] or None
    out: dict[str, Any] = {}
    for key, one in value.items():
        held = items.get("f:" + key)
        if held is not None:
            whole = not held or "." in held
            out[key] = extract(one, held, _below(node, key)) if held or not whole else one
    return out or None


def named_fields(items: FieldSet, node: Node) -> FieldSet:
    """``items`` with every declared field on the way to a member made a member too."""
    out: FieldSet = {}
    for key, below in items.items():
        if not below:
            out[key] = below
            continue
        declared = key.startswith("f:") and key[2:] in node.fields
        if key.startswith("f:"):
            child = _below(node, key[2:])
        else:
            child = node.items or _ANY
        inner = named_fields(below, child)
        out[key] = {".": LEAF, **inner} if declared and "." not in inner else inner
    return out
