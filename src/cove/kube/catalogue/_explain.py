"""What is wrong with a document, told as Go's decoders tell it.

The slow twin of :mod:`cove.kube.catalogue._compile`, used only when that found a
mismatch, an unknown field or a key that may be there twice.  Two walks, because an API
server has two decoders: :class:`JSONWalk` is sigs.k8s.io/json (request bodies, JSON and
merge patches), :func:`convert` is apimachinery's unstructured converter (strategic merge
patches and server-side apply), whose errors know no paths.

Source: https://github.com/kubernetes-sigs/json and
https://pkg.go.dev/k8s.io/apimachinery/pkg/runtime#UnstructuredConverter
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cove.kube.field_errors import render
from cove.kube.quantity import QuantityError
from cove.kube.quantity import canonical as canonical_quantity
from cove.kube.schema import Node
from cove.kube.times import TimeError, parse_duration, parse_micro_time, parse_time

__all__ = ["JSONWalk", "Pairs", "RejectedError", "base64_error", "convert", "number_text"]

# How many strict errors a server collects before it stops looking.
_MOST = 100
_INT_BITS = {"int32": 31, "int64": 63}
# Named Go types that are lists or maps, and what they are.
_CONTAINERS = {
    "v1.ExtraValue": "[]string",
    "v1.JSONSchemaDefinitions": "map[string]v1.JSONSchemaProps",
    "v1.JSONSchemaDependencies": "map[string]v1.JSONSchemaPropsOrStringArray",
    "v1.ResourceList": "map[v1.ResourceName]resource.Quantity",
    "v1.ValidationRules": "[]v1.ValidationRule",
    "v1.Verbs": "[]string",
}


class RejectedError(Exception):
    """The document does not fit; the text is Go's error."""


class _TypeMismatchError(RejectedError):
    """Go's json.UnmarshalTypeError: outer decoders put their own place into it."""

    def __init__(self, what: str, go_type: str, struct: str, fields: list[str]) -> None:
        self.what = what
        self.go_type = go_type
        place = f"Go struct field {struct}.{'.'.join(fields)}" if struct or fields else "Go value"
        super().__init__(f"json: cannot unmarshal {what} into {place} of type {go_type}")


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys as they were written, repeated ones included."""


class NumberText(float):
    """A JSON number that is no plain integer, with its text."""

    text: str

    def __new__(cls, text: str) -> NumberText:
        self = super().__new__(cls, text)
        self.text = text
        return self


def number_text(value: float) -> str:
    """A number as it was written, or near enough if nobody kept the text."""
    return getattr(value, "text", None) or repr(value)


def _items(value: dict[str, Any] | Pairs) -> Iterable[tuple[str, Any]]:
    return value if isinstance(value, Pairs) else value.items()


def _what(value: Any) -> str:
    """The JSON type's name in Go's errors."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, (dict, Pairs)) else "array"


def _element_type(go_type: str) -> str:
    go_type = _CONTAINERS.get(go_type, go_type)
    if go_type.startswith("[]"):
        return go_type[2:].lstrip("*")
    return go_type.partition("]")[2].lstrip("*")


def base64_error(text: str) -> str | None:
    """The error of Go's base64.StdEncoding for this text; None if it decodes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at, size = 0, len(text)
    while at < size:
        have = 0
        while have < 4:
            if at == size:
                if have == 0:
                    return None
                return f"illegal base64 data at input byte {at - have}"
            char = text[at]
            at += 1
            if char in alphabet:
                have += 1
            elif char in "\r\n":
                continue
            elif char != "=" or have < 2:
                return f"illegal base64 data at input byte {at - 1}"
            else:
                return _padding_error(text, at, have)
    return None


def _padding_error(text: str, at: int, have: int) -> str | None:
    def skip(at: int) -> int:
        while at < len(text) and text[at] in "\r\n":
            at += 1
        return at

    if have == 2:
        at = skip(at)
        if at == len(text):
            return f"illegal base64 data at input byte {at}"
        if text[at] != "=":
            return f"illegal base64 data at input byte {at - 1}"
        at += 1
    at = skip(at)
    return f"illegal base64 data at input byte {at}" if at < len(text) else None


class JSONWalk:
    """One decoding as sigs.k8s.io/json does it, for its errors only.

    After :meth:`run`, ``problems`` holds the strict errors in document order, each
    told once; a document that does not fit raises :class:`RejectedError`.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._saved: RejectedError | None = None
        self._struct = ""
        self._fields: list[str] = []

    def run(self, value: Any, node: Node, go_type: str) -> None:
        """Walk a whole document; ``go_type`` is its type's name: ``v1.Pod``."""
        self._value(value, node, go_type, "")
        if self._saved is not None:
            raise self._saved

    def _mismatch(self, what: str, go_type: str) -> _TypeMismatchError:
        return _TypeMismatchError(what, go_type, self._struct, self._fields)

    def _save(self, error: RejectedError) -> None:
        if self._saved is None:
            self._saved = error

    def _problem(self, text: str) -> None:
        if text not in self.problems and len(self.problems) < _MOST:
            self.problems.append(text)

    def _value(self, value: Any, node: Node, go_type: str, path: str) -> None:
        if value is None:
            return
        kind = node.type
        if kind == "struct":
            self._object(value, node, go_type, path)
        elif kind == "map":
            self._map(value, node, go_type, path)
        elif kind == "list":
            if not isinstance(value, list) or isinstance(value, Pairs):
                self._save(self._mismatch(_what(value), go_type))
                return
            assert node.items is not None
            inner = _element_type(go_type)
            for index, item in enumerate(value):
                self._value(item, node.items, inner, f"{path}[{index}]")
        else:
            self._leaf(value, node, go_type)

    def _object(self, value: Any, node: Node, go_type: str, path: str) -> None:
        if not isinstance(value, (dict, Pairs)):
            self._save(self._mismatch(_what(value), go_type))
            return
        seen: set[str] = set()
        struct, own = self._struct, node.name.rpartition(".")[2]
        for name, item in _items(value):
            place = f"{path}.{name}" if path else name
            field = node.fields.get(name)
            if field is None:
                self._problem(f"unknown field {render(place)}")
                continue
            if name in seen:
                self._problem(f"duplicate field {render(place)}")
            seen.add(name)
            self._fields.append(name)
            self._struct = own
            self._value(item, field.node, field.go_type, place)
            self._fields.pop()
            self._struct = struct

    def _map(self, value: Any, node: Node, go_type: str, path: str) -> None:
        if not isinstance(value, (dict, Pairs)):
            self._save(self._mismatch(_what(value), go_type))
            return
        assert node.items is not None
        seen: set[str] = set()
        inner = _element_type(go_type)
        for name, item in _items(value):
            place = f"{path}.{name}" if path else name
            if name in seen:
                self._problem(f"duplicate field {render(place)}")
            seen.add(name)
            self._value(item, node.items, inner, place)

    def _leaf(self, value: Any, node: Node, go_type: str) -> None:
        kind = node.type
        what = _what(value)
        if kind in ("string", "boolean"):
            if what != ("string" if kind == "string" else "bool"):
                self._save(self._mismatch(what, go_type))
        elif kind == "integer":
            self._integer(value, what, go_type, node.format)
        elif kind == "number":
            if what != "number":
                self._save(self._mismatch(what, go_type))
        elif kind == "bytes":
            if what != "string":
                self._save(self._mismatch(what, go_type))
            elif error := base64_error(value):
                self._save(RejectedError(error))
        elif kind == "int-or-string":
            if what == "string":
                return
            self._integer(value, what, "int32", "int32")
            if self._saved is not None:
                raise self._saved
        else:
            self._custom(value, what, node)

    def _integer(self, value: Any, what: str, go_type: str, format: str) -> None:
        if what != "number":
            self._save(self._mismatch(what, go_type))
            return
        limit = 1 << _INT_BITS.get(format, 63)
        if isinstance(value, float) or not -limit <= value < limit:
            self._save(self._mismatch(f"number {number_text(value)}", go_type))

    def _custom(self, value: Any, what: str, node: Node) -> None:
        """Types that decode themselves: their errors end the decoding."""
        kind = node.type
        if kind == "any":
            if node.items is not None:
                self._schema_or(value, what, node)
            return
        if kind == "quantity":
            _check_quantity(value, what)
            return
        if what != "string":
            raise self._mismatch(what, "string")
        _check_time(value, kind)

    def _schema_or(self, value: Any, what: str, node: Node) -> None:
        assert node.items is not None
        if node.name.endswith("OrBool") and what not in ("object", "bool"):
            raise RejectedError("boolean or JSON schema expected")
        inner = JSONWalk()
        try:
            if what == "object":
                inner.run(value, node.items, "v1.JSONSchemaProps")
            elif what == "array" and not node.name.endswith("OrStringArray"):
                inner.run(value, Node("list", items=node.items), "[]v1.JSONSchemaProps")
            elif what == "array":
                inner.run(value, Node("list", items=Node("string")), "[]string")
        except _TypeMismatchError as error:
            raise self._mismatch(error.what, error.go_type) from None


def _check_quantity(value: Any, what: str) -> None:
    if what == "string":
        text = value.strip()
    elif what == "number":
        text = number_text(value)
    else:
        # Not a digit to be found; upstream hands the raw JSON to the same parser.
        text = "{}"
    try:
        canonical_quantity(text)
    except QuantityError as error:
        raise RejectedError(str(error)) from None


def _check_time(value: str, kind: str) -> None:
    try:
        if kind == "time":
            parse_time(value)
        elif kind == "micro-time":
            parse_micro_time(value)
        else:
            parse_duration(value)
    except TimeError as error:
        raise RejectedError(str(error)) from None


_GO_KINDS = {"string": "string", "boolean": "bool", "number": "float64"}
_SOURCE = {"array": "slice", "object": "map"}


def convert(value: Any, node: Node, go_type: str, path: str, unknown: list[str]) -> Any:
    """The document with whole floats made integers where the type asks for integers.

    Unknown fields are appended to ``unknown`` as strict errors.  Raises :class:`RejectedError`
    in the converter's words, fields being looked at in the order of the Go type.
    """
    if value is None:
        return None
    kind = node.type
    what = _what(value)
    if kind == "struct":
        if what != "object":
            raise RejectedError(f"cannot restore struct from: {_source_kind(value, what)}")
        out = {}
        for name, field in node.fields.items():
            if name in value:
                place = f"{path}.{name}" if path else name
                out[name] = convert(value[name], field.node, field.go_type, place, unknown)
        unknown.extend(
            f"unknown field {render(f'{path}.{name}' if path else name)}"
            for name in value
            if name not in node.fields
        )
        return out
    if kind == "map":
        if what != "object":
            raise RejectedError(f"cannot restore map from {_source_kind(value, what)}")
        assert node.items is not None
        inner = _element_type(go_type)
        return {k: convert(v, node.items, inner, path, unknown) for k, v in value.items()}
    if kind == "list":
        if what != "array":
            raise RejectedError(f"cannot restore slice from {_source_kind(value, what)}")
        assert node.items is not None
        inner = _element_type(go_type)
        return [convert(v, node.items, inner, f"{path}[{i}]", unknown) for i, v in enumerate(value)]
    return _convert_leaf(value, node, go_type, what)


def _source_kind(value: Any, what: str) -> str:
    if what == "number":
        return "float64" if isinstance(value, float) else "int64"
    return _SOURCE.get(what, what)


def _convert_leaf(value: Any, node: Node, go_type: str, what: str) -> Any:
    kind = node.type
    if kind in ("string", "boolean", "number", "integer"):
        source = _source_kind(value, what)
        target = node.format if kind == "integer" else _GO_KINDS[kind]
        if kind == "integer" and what == "number":
            if isinstance(value, float):
                if not value.is_integer():
                    raise RejectedError(f"cannot convert float64 to {go_type}")
                return int(value)
            return value
        if source == target or (kind == "number" and what == "number"):
            return value
        # Go converts numbers among themselves and an integer to a string, which JSON does not.
        if kind == "string" and source == "int64":
            raise RejectedError(f"cannot convert {source} to {go_type}")
        raise RejectedError(f"unrecognized type: {target}")
    if kind == "bytes":
        if what != "string":
            raise RejectedError(f"cannot restore slice from {_source_kind(value, what)}")
        if error := base64_error(value):
            raise RejectedError(f"error decoding from json: {error}")
        return value
    walk = JSONWalk()
    walk.run(value, node, go_type)
    return value
