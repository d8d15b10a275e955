"""JSON merge patch.

Source: https://www.rfc-editor.org/rfc/rfc7386, with one habit of the library upstream
uses: objects inside a list that replaces a list lose their nulls too.
"""

from __future__ import annotations

from typing import Any

from cove.kube.patch._errors import malformed

__all__ = ["merge_patch"]

_KINDS = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}


def merge_patch(doc: dict[str, Any], patch: Any) -> dict[str, Any]:
    """``doc`` with ``patch`` merged in; a null removes its key.

    Raises PatchError (400) for a patch that is no object.
    """
    if not isinstance(patch, dict):
        if patch is None:
            return doc
        raise malformed(
            f"error decoding patch: json: cannot unmarshal {_KINDS[type(patch)]} "
            "into Go value of type map[string]interface {}"
        )
    return _merge(doc, patch)


def _merge(doc: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    out = dict(doc)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
            continue
        current = out.get(key)
        if isinstance(current, dict):
            out[key] = _merge(current, value) if isinstance(value, dict) else value
        else:
            out[key] = _without_nulls(value)
    return out


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value
