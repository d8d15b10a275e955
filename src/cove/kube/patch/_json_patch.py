"""JSON patch, as the library upstream uses understands it.

Source: https://www.rfc-editor.org/rfc/rfc6902.  Where evanphx/json-patch v4 is laxer than
the RFC, so are we: ``replace`` and ``copy`` of a missing key succeed (with the new value,
and with null), negative indexes count from the end, and the text before the first slash
of a path is ignored.
"""

from __future__ import annotations

from typing import Any

from cove.kube.patch._errors import PatchError, malformed, unprocessable

__all__ = ["json_patch"]

_MAX_OPERATIONS = 10000
_KINDS = {
    list: "array",
    dict: "object",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
}


class _FailedError(Exception):
    """An operation does not apply; callers are told nothing more."""


def json_patch(doc: dict[str, Any], ops: Any) -> dict[str, Any]:
    """``doc`` after the operations, all or none.

    Raises PatchError: 400 for what is no list of operations, 413 for more than 10,000,
    422 for an operation that does not apply.
    """
    _check_form(ops)
    root: Any = doc
    try:
        for op in ops:
            root = _apply(root, op)
    except (_FailedError, TypeError):
        raise unprocessable() from None
    if not isinstance(root, dict):
        raise unprocessable()
    return root


def _check_form(ops: Any) -> None:
    prefix = "error decoding patch: json: cannot unmarshal"
    if ops is None:
        return
    if not isinstance(ops, list):
        raise malformed(
            f"{prefix} {_KINDS[type(ops)]} into Go value of type []handlers.jsonPatchOp"
        )
    for op in ops:
        if op is None:
            continue
        if not isinstance(op, dict):
            raise malformed(
                f"{prefix} {_KINDS[type(op)]} into Go value of type handlers.jsonPatchOp"
            )
        for field in ("op", "path", "from"):
            value = op.get(field)
            if value is not None and not isinstance(value, str):
                raise malformed(
                    f"{prefix} {_KINDS[type(value)]} into Go struct field "
                    f"jsonPatchOp.{field} of type string"
                )
    if len(ops) > _MAX_OPERATIONS:
        raise PatchError(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{_MAX_OPERATIONS}, got {len(ops)}",
        )


def _pointer(path: Any) -> list[str]:
    if not isinstance(path, str):
        raise _FailedError
    parts = path.split("/")
    if len(parts) < 2:
        raise _FailedError
    return [p.replace("~1", "/").replace("~0", "~") for p in parts[1:]]


def _index(key: str, size: int, limit: int) -> int:
    """The index ``key`` tells in a list of ``size``; it must be below ``limit``."""
    digits = key[1:] if key[:1] in ("+", "-") else key
    if not (digits.isascii() and digits.isdigit()):
        raise _FailedError
    index = int(key)
    if index < 0:
        index += limit
    if not 0 <= index < limit or limit > size + 1:
        raise _FailedError
    return index


def _child(container: Any, key: str) -> Any:
    """The value at ``key``; an object's missing key is null."""
    if isinstance(container, dict):
        return container.get(key)
    if isinstance(container, list):
        return container[_index(key, len(container), len(container))]
    raise _FailedError


def _find(root: Any, parts: list[str]) -> Any:
    """The container of the last part."""
    for part in parts[:-1]:
        root = _child(root, part)
    if not isinstance(root, (dict, list)):
        raise _FailedError
    return root


def _rebuild(root: Any, parts: list[str], container: Any) -> Any:
    """``root`` with the container of the last part replaced; only the way to it is copied."""
    if len(parts) == 1:
        return container
    below = _rebuild(_child(root, parts[0]), parts[1:], container)
    return _with(root, parts[0], below)


def _with(container: Any, key: str, value: Any) -> Any:
    if isinstance(container, dict):
        return {**container, key: value}
    out = list(container)
    out[_index(key, len(out), len(out))] = value
    return out


def _added(container: Any, key: str, value: Any) -> Any:
    if isinstance(container, dict):
        return {**container, key: value}
    out = list(container)
    if key == "-":
        out.append(value)
    else:
        out.insert(_index(key, len(out), len(out) + 1), value)
    return out


def _removed(container: Any, key: str) -> Any:
    if isinstance(container, dict):
        if key not in container:
            raise _FailedError
        return {k: v for k, v in container.items() if k != key}
    out = list(container)
    del out[_index(key, len(out), len(out))]
    return out


def _equal(a: Any, b: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if isinstance(a, dict):
        return (
            isinstance(b, dict)
            and a.keys() == b.keys()
            and all(_equal(v, b[k]) for k, v in a.items())
        )
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_equal, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def _apply(root: Any, op: Any) -> Any:
    if op is None:
        raise _FailedError
    kind = op.get("op")
    value = op.get("value")
    parts = _pointer(op.get("path"))
    if kind == "add":
        return _rebuild(root, parts, _added(_find(root, parts), parts[-1], value))
    if kind == "replace":
        container = _find(root, parts)
        _child(container, parts[-1])
        return _rebuild(root, parts, _with(container, parts[-1], value))
    if kind == "remove":
        return _rebuild(root, parts, _removed(_find(root, parts), parts[-1]))
    if kind == "test":
        if not _equal(_child(_find(root, parts), parts[-1]), value):
            raise _FailedError
        return root
    if kind in ("move", "copy"):
        source = _pointer(op.get("from"))
        container = _find(root, source)
        moved = _child(container, source[-1])
        if kind == "move":
            root = _rebuild(root, source, _removed(container, source[-1]))
        return _rebuild(root, parts, _added(_find(root, parts), parts[-1], moved))
    raise _FailedError
