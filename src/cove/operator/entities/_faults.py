"""What msgspec says of a document that does not fit, in the words of a document's author."""

from __future__ import annotations

import enum
import re
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from cove.operator.entities._hints import hints, strip
from cove.operator.entities._values import decode_value
from cove.operator.errors import DocumentError

__all__ = ["Fault", "render_path", "without"]

Key = str | int
_TEXT = re.compile(r"(?s)(?P<what>.*?)(?: - at (?P<key>key in )?`\$?(?P<path>.*)`)?")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_ENUM = re.compile(r"Invalid enum value (.*)")
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "object": "an object",
    "array": "a list",
    "null": "null",
    "datetime": "a time like 2026-01-02T03:04:05Z",
    "date": "a date like 2026-01-02",
    "bytes": "a base64 string",
}


def render_path(keys: tuple[Key, ...]) -> str:
    """``spec.items[2].name``; a key that is no plain word stands in brackets."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif re.fullmatch(r"[\w-]+", key):
            text += f".{key}" if text else key
        else:
            text += f"[{key}]"
    return text


def without(doc: Any, keys: tuple[Key, ...]) -> Any:
    """A document without one of its fields; only the way to it is copied."""
    first, *rest = keys
    if not rest:
        return {k: v for k, v in doc.items() if k != first}
    return _with(doc, first, without(doc[first], tuple(rest)))


def _with(container: Any, key: Key, value: Any) -> Any:
    if isinstance(container, Mapping):
        return {**container, key: value}
    copied = list(container)
    copied[int(key)] = value
    return copied


class Fault:
    """Where a document does not fit, and why."""

    def __init__(self, keys: tuple[Key, ...], expected: str, got: str) -> None:
        self.keys = keys
        self.expected = expected
        self.got = got
        self.is_null = got == "null" and bool(keys) and isinstance(keys[-1], str)

    @classmethod
    def of(cls, type: type, doc: Any, error: msgspec.ValidationError) -> Fault:
        """What an error says; where msgspec does not tell a map's key, it is searched for."""
        match = _TEXT.fullmatch(str(error))
        assert match is not None  # it matches everything
        what = match["what"]
        keys = _keys(type, doc, match["path"] or "", str(error))
        cause = error.__cause__
        if cause is not None and hasattr(cause, "errors"):
            first = cause.errors()[0]  # pydantic's
            return cls((*keys, *first["loc"]), first["msg"], "")
        if found := _EXPECTED.fullmatch(what):
            return cls(keys, f"expected {_words(found[1])}", _words(found[2]))
        if found := _MISSING.fullmatch(what):
            return cls((*keys, found[1]), "is required", "")
        if found := _ENUM.fullmatch(what):
            allowed = _allowed(_hint(type, keys))
            return cls(
                keys, f"expected one of {allowed}" if allowed else "is not allowed", found[1]
            )
        return cls(keys, what[:1].lower() + what[1:], "")

    def as_error(self, type: type, doc: Any) -> DocumentError:
        """The error for those who have the document."""
        metadata = doc.get("metadata") if isinstance(doc, Mapping) else None
        known = metadata if isinstance(metadata, Mapping) else {}
        parts = [str(known[k]) for k in ("namespace", "name") if known.get(k)]
        kind = str(getattr(type, "kind", "") or type.__name__)
        return DocumentError(kind, "/".join(parts), render_path(self.keys), self.expected, self.got)


def _words(names: str) -> str:
    parts = [_WORDS.get(n.strip(), n.strip()) for n in names.split("|")]
    return " or ".join(p for p in parts if p != "null") or "null"


def _keys(type: type, doc: Any, path: str, message: str) -> tuple[Key, ...]:
    keys: list[Key] = []
    here = doc
    for match in _STEP.finditer(path):
        key: Key
        if match[1] is not None:
            key = match[1]
        elif match[2] != "...":
            key = int(match[2])
        else:
            key = _guilty(type, doc, tuple(keys), here, message)
        keys.append(key)
        try:
            here = here[key]
        except (KeyError, IndexError, TypeError):
            here = None
    return tuple(keys)


def _guilty(type: type, doc: Any, keys: tuple[Key, ...], container: Any, message: str) -> str:
    """Which key of a map it is: the one that alone makes the same error."""
    for key in container if isinstance(container, Mapping) else ():
        alone = _replaced(doc, keys, {key: container[key]})
        try:
            msgspec.convert(alone, type, dec_hook=decode_value)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return str(key)
    return "..."


def _replaced(doc: Any, keys: tuple[Key, ...], value: Any) -> Any:
    if not keys:
        return value
    return _with(doc, keys[0], _replaced(doc[keys[0]], keys[1:], value))


def _hint(type: Any, keys: tuple[Key, ...]) -> Any:
    """The type of the place that keys lead to; Any where that is not known."""
    hint: Any = type
    for key in keys:
        hint = strip(hint)[0]
        if isinstance(hint, msgspec.StructMeta):
            names = dict(zip(hint.__struct_encode_fields__, hint.__struct_fields__, strict=True))
            hint = hints(hint).get(names.get(str(key), ""), Any)
        else:
            arguments = [a for a in typing.get_args(hint) if a is not ...]
            hint = arguments[-1] if arguments else Any
    return strip(hint)[0]


def _allowed(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(map(str, typing.get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(str(member.value) for member in hint)
    return ""
