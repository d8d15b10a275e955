"""Strategic merge patch: a merge patch that knows lists by their keys.

Source: https://github.com/kubernetes/community/blob/main/contributors/devel/sig-api-machinery/strategic-merge-patch.md
(``$patch``, ``$deleteFromPrimitiveList/…``, ``$setElementOrder/…``, ``$retainKeys``) and
``k8s.io/apimachinery/pkg/util/strategicpatch``.
"""

from __future__ import annotations

from typing import Any

from cove.kube.patch._errors import go_format, malformed, unprocessable, unsupported
from cove.kube.schema import Field, Node

__all__ = ["strategic_merge_patch"]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"

_ANY = Node("any")
_BAD_ORDER = "invalid patch format of setElementOrder list"
_BAD_RETAIN = "invalid patch format of retainKeys"

_KINDS = {
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
}

Obj = dict[str, Any]


def strategic_merge_patch(doc: Obj, patch: Any, node: Node) -> Obj:
    """``doc`` with ``patch`` merged in as ``node``, the type of the document, says.

    Raises PatchError: 400 or 422 for malformed directives, 500 where upstream leaves
    the fault unclassified (missing merge key, unknown ``$patch``, inconsistent order).
    """
    if patch is None:
        return doc
    if not isinstance(patch, dict):
        raise malformed(
            f"json: cannot unmarshal {_KINDS[type(patch)]} into Go value of type map[string]interface {{}}"
        )
    return _merge_map(doc, patch, node)


def _type_name(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    return "float64" if isinstance(value, float) else "string"


def _bad_type(expected: str, value: Any) -> Exception:
    return unsupported(f"expected a {expected}, but received a {_type_name(value)}")


def _no_key(element: Obj, key: str) -> Exception:
    return unsupported(f"map: {go_format(element)} does not contain declared merge key: {key}")


def _place(node: Node, key: str) -> tuple[Node, str, str]:
    """(type of the value, merge key, strategy) at ``key``; strategy is "", "merge" or "replace"."""
    if node.type == "map":
        return node.items or _ANY, "", ""
    field: Field | None = node.fields.get(key)
    if field is None:
        if node.type == "struct" and not node.preserve:
            name = node.name.rsplit(".", 1)[-1]
            raise unsupported(
                f'unable to find api field in struct {name} for the json field "{key}"'
            )
        return _ANY, "", ""
    strategies = field.strategies
    strategy = "merge" if "merge" in strategies else "replace" if "replace" in strategies else ""
    return field.node, field.merge_key or "", strategy


def _merge_map(original: Obj, patch: Obj, node: Node) -> Obj:
    if _PATCH in patch:
        directive = patch[_PATCH]
        if directive == "replace":
            return {k: v for k, v in patch.items() if k != _PATCH}
        if directive == "delete":
            return {}
        raise unsupported(f"unknown patch type: {go_format(directive)} in map: {go_format(patch)}")
    out = dict(original)
    done: set[str] = set()
    if _RETAIN in patch:
        _retain_keys(out, patch)
        done.add(_RETAIN)
    for key, value in patch.items():
        if key.startswith(_ORDER):
            done.add(key)
            _set_order(out, patch, key, value, node, done)
    for key, value in patch.items():
        if key in done:
            continue
        if key.startswith(_DELETE):
            _delete_primitives(out, key, value, node)
        elif value is None:
            out.pop(key, None)
        else:
            _merge_value(out, key, value, node)
    return out


def _merge_value(out: Obj, key: str, value: Any, node: Node) -> None:
    current = out.get(key)
    if isinstance(current, dict) and isinstance(value, dict):
        child, _, strategy = _place(node, key)
        out[key] = value if strategy == "replace" else _merge_map(current, value, child)
    elif isinstance(current, list) and isinstance(value, list):
        child, merge_key, strategy = _place(node, key)
        if strategy == "merge":
            out[key] = _merge_list(current, value, child.items or _ANY, merge_key)
        else:
            out[key] = value
    else:
        kept, keep = _without_directives(_without_nulls(value))
        if keep:
            out[key] = kept
        else:
            out.pop(key, None)


def _retain_keys(out: Obj, patch: Obj) -> None:
    keys = patch[_RETAIN]
    if not isinstance(keys, list):
        raise malformed(_BAD_RETAIN)
    retained = {k for k in keys if isinstance(k, str)}
    for key, value in patch.items():
        if value is None or key == _RETAIN or key.startswith((_DELETE, _ORDER)):
            continue
        if key not in retained:
            raise malformed(_BAD_RETAIN)
    for key in [k for k in out if k not in retained]:
        del out[key]


def _field_of(key: str, prefix: str, message: str) -> str:
    head, slash, name = key.partition("/")
    if not slash or head != prefix:
        raise malformed(message)
    return name


def _delete_primitives(out: Obj, key: str, value: Any, node: Node) -> None:
    name = _field_of(key, _DELETE, "invalid patch format of primitive list")
    if value is None:
        out.pop(name, None)
        return
    current = out.get(name)
    if not isinstance(current, list) or not isinstance(value, list):
        return
    child, merge_key, _ = _place(node, name)
    if _element_kind(current, value) == "map":
        out[name] = _merge_list(current, value, child.items or _ANY, merge_key)
    else:
        out[name] = [v for v in current if not _contains(value, v)]


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _contains(values: list[Any], value: Any) -> bool:
    return any(_same(v, value) for v in values)


def _element_kind(*lists: list[Any]) -> str:
    """ "map" or "scalar"; all elements must be alike and no lists."""
    names: list[str] = []
    for values in lists:
        for value in values:
            if isinstance(value, list):
                raise unprocessable()
            names.append(_type_name(value))
    if not names:
        raise unsupported("no elements in any of the given slices")
    if any(n != names[0] for n in names):
        raise unsupported(f"list element types are not identical: {go_format(list(lists))}")
    return "map" if names[0].startswith("map") else "scalar"


def _merge_list(original: list[Any], patch: list[Any], element: Node, key: str) -> list[Any]:
    if not original and not patch:
        return original
    if _element_kind(original, patch) == "scalar":
        merged = _distinct([*original, *patch])
        return _ordered(merged, patch, original, "")
    if not key:
        name = element.name.rsplit(".", 1)[-1]
        raise unsupported(f"cannot merge lists without merge key for {name}")
    original, patch = _special_elements(original, patch, key)
    return _ordered(_merge_elements(original, patch, element, key), patch, original, key)


def _distinct(values: list[Any]) -> list[Any]:
    out: list[Any] = []
    for value in values:
        if not _contains(out, value):
            out.append(value)
    return out


def _special_elements(
    original: list[Any], patch: list[Any], key: str
) -> tuple[list[Any], list[Any]]:
    """Both lists after the ``$patch`` elements of ``patch`` did their work."""
    plain: list[Any] = []
    replace = False
    for element in patch:
        if _PATCH not in element:
            plain.append(element)
            continue
        directive = element[_PATCH]
        if directive == "delete":
            if key not in element:
                raise _no_key(element, key)
            value = element[key]
            original = [e for e in original if not _same(_key_of(e, key), value)]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise unsupported("merging lists cannot yet be specified in the patch")
        else:
            raise unsupported(
                f"unknown patch type: {go_format(directive)} in map: {go_format(element)}"
            )
    return (plain, []) if replace else (original, plain)


def _key_of(element: Any, key: str) -> Any:
    """The merge key of an element; a unique object where it has none, equal to nothing."""
    if not isinstance(element, dict):
        raise _bad_type("map[string]interface {}", element)
    return element.get(key, _MISSING)


_MISSING = object()


def _index_of(values: list[Any], key: str, value: Any) -> int:
    for i, element in enumerate(values):
        if _same(_key_of(element, key), value):
            return i
    return -1


def _merge_elements(original: list[Any], patch: list[Any], element: Node, key: str) -> list[Any]:
    out = list(original)
    for item in patch:
        if key not in item:
            raise _no_key(item, key)
        at = _index_of(out, key, item[key])
        if at >= 0:
            out[at] = _merge_map(out[at], item, element)
        else:
            out.append(item)
    return out


def _position(order: list[Any], value: Any, key: str) -> int:
    if key:
        return _index_of(order, key, value.get(key, _MISSING))
    return next((i for i, v in enumerate(order) if _same(v, value)), -1)


def _ordered(merged: list[Any], order: list[Any], live: list[Any], key: str) -> list[Any]:
    """``merged``: what ``order`` names in that order, the rest between as in ``live``."""
    named: list[tuple[int, Any]] = []
    others: list[tuple[int, Any]] = []
    for value in merged:
        if key and key not in value:
            raise _no_key(value, key)
        at = _position(order, value, key)
        if at >= 0:
            named.append((at, value))
        else:
            others.append((_position(live, value, key), value))
    named.sort(key=lambda pair: pair[0])
    others.sort(key=lambda pair: pair[0])
    out: list[Any] = []
    i = j = 0
    while i < len(others) and j < len(named):
        left, right = others[i], named[j]
        at = _position(live, right[1], key)
        if 0 <= left[0] < at:
            out.append(left[1])
            i += 1
        else:
            out.append(right[1])
            j += 1
    out += [v for _, v in named[j:]]
    out += [v for _, v in others[i:]]
    return out


def _set_order(
    out: Obj, patch: Obj, directive: str, order: Any, node: Node, done: set[str]
) -> None:
    """Merge the list that a ``$setElementOrder`` is about, and put it in that order."""
    if not isinstance(order, list):
        raise _bad_type("[]interface {}", order)
    name = _field_of(directive, _ORDER, _BAD_ORDER)
    current, change = out.get(name), patch.get(name)
    for value, there in ((current, name in out), (change, name in patch)):
        if there and not isinstance(value, list):
            raise _bad_type("[]interface {}", value)
    child, key, strategy = _place(node, name)
    _check_order(change or [], order, key)
    live: list[Any] = current or []
    if current is None and change is None:
        return
    if change is None:
        merged = live
    elif current is None:
        merged = _without_directives(change)[0]
    elif strategy == "merge":
        merged = _merge_list(live, change, child.items or _ANY, key)
    else:
        merged = change
    _element_kind(live, change or [])
    out[name] = _ordered(merged, order, live, key)
    done.add(name)


def _check_order(change: list[Any], order: list[Any], key: str) -> None:
    """The elements of the patch must come in the order that is to be set."""
    if not change or not order:
        return
    # Elements to delete need no place.
    rest = [e for e in change if not (isinstance(e, dict) and e.get(_PATCH) == "delete")]
    at = i = 0
    while i < len(rest) and at < len(order):
        if isinstance(rest[i], dict) and _PATCH in rest[i]:
            i += 1
            continue
        if _matches(rest[i], order[at], key):
            i += 1
        at += 1
    if i < len(rest):
        raise unsupported(
            f"The order in patch list:\n{go_format(change)}\n doesn't match {_ORDER} list:\n"
            f"{go_format(order)}\n"
        )


def _matches(left: Any, right: Any, key: str) -> bool:
    if not key:
        return _same(left, right)
    for element in (left, right):
        if not isinstance(element, dict):
            raise _bad_type("map[string]interface {}", element)
        if key not in element:
            raise _no_key(element, key)
    return _same(left[key], right[key])


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _without_directives(value: Any) -> tuple[Any, bool]:
    """What a new value is without its directives, and whether anything of it is kept."""
    if isinstance(value, dict):
        if _PATCH in value:
            return None, False
        out: Obj = {}
        for key, item in value.items():
            kept, keep = _without_directives(item)
            if keep:
                out[key] = kept
        return out, True
    if isinstance(value, list):
        pairs = [_without_directives(v) for v in value]
        return [v for v, keep in pairs if keep], True
    return value, True
