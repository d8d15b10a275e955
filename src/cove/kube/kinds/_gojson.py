"""Values as the API server's own types would print them.

A field error tells a struct as encoding/json writes the server's *internal* Go
type: every field, in declaration order, under its Go name, null for what is
unset; a forbidden change to an immutable spec comes with a unified diff of two
such documents.  ``gotypes.json`` holds the types that occur, as
``[Go name, JSON name of the versioned field, type]``; a type is ``s`` ``i`` ``b``
(string, integer, boolean), ``q`` (quantity), ``I`` (int or string), ``t`` (time),
``j`` (written as it is), ``m`` (object metadata), ``*T`` ``[]T`` ``+[]T`` (never null) ``{}T`` or the
name of another struct.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from cove.kube.kinds._data import load

__all__ = ["diff", "internal", "ordered"]

_ZERO = {"s": "", "i": 0, "b": False, "q": "0", "I": 0, "t": None}
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")


def internal(type_name: str, doc: Any) -> Any:
    """A versioned document as the internal type of that name: ``internal("rbac.RoleRef", ref)``."""
    return _value(type_name, doc)


def _value(type_: str, doc: Any) -> Any:
    if type_[0] == "*":
        return None if doc is None else _value(type_[1:], doc)
    if type_[0] == "+":
        return _value(type_[1:], [] if doc is None else doc)
    if type_.startswith("[]"):
        if doc is None or type_ == "[]b":
            return doc
        return [_value(type_[2:], item) for item in doc]
    if type_.startswith("{}"):
        return None if doc is None else {k: _value(type_[2:], doc[k]) for k in sorted(doc)}
    if type_ in _ZERO:
        return _ZERO[type_] if doc is None else doc
    if type_ == "j":
        return ordered({} if doc is None else doc)
    if type_ == "m":
        return _metadata(doc or {})
    return _struct(type_, doc or {})


_SELECTOR = ("matchLabels", "matchExpressions", "key", "operator", "values")


def ordered(doc: Any) -> Any:
    """Maps by key and LabelSelectors by field, as encoding/json writes them."""
    if isinstance(doc, dict):
        if doc.keys() <= {*_SELECTOR}:
            return {key: ordered(doc[key]) for key in _SELECTOR if key in doc}
        return {key: ordered(doc[key]) for key in sorted(doc)}
    if isinstance(doc, list):
        return [ordered(item) for item in doc]
    return doc


def _metadata(doc: Mapping[str, Any]) -> dict[str, Any]:
    return {k: ordered(v) for k, v in doc.items() if v not in (None, "", {}, [])}


def _struct(name: str, doc: Mapping[str, Any]) -> dict[str, Any]:
    if name == "core.PodSpec":
        # The versioned type keeps these beside the security context, the internal one inside.
        context = dict(doc.get("securityContext") or {})
        context.update({k: doc[k] for k in _HOST_FIELDS if k in doc})
        if context or "securityContext" in doc:
            doc = {**doc, "securityContext": context}
    out: dict[str, Any] = {}
    for go_name, json_name, type_ in load("gotypes.json")[name]:
        if go_name:
            out[go_name] = _value(type_, doc.get(json_name))
        elif type_ == "m":
            out.update(_metadata(doc.get("metadata") or {}))
        else:
            out.update(_value(type_, doc))
    return out


def _lines(tree: Any) -> list[str]:
    text = json.dumps(tree, indent=1, ensure_ascii=False)
    for char, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(char, escape)
    return [line + "\n" for line in text.split("\n")]


def diff(type_name: str, old: Any, new: Any) -> str:
    """The unified diff of two documents of a type, without file names, three lines of context."""
    lines = difflib.unified_diff(
        _lines(internal(type_name, old)), _lines(internal(type_name, new)), n=3
    )
    return "".join(list(lines)[2:])
