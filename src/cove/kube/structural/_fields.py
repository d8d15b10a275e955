"""JSON paths that name one field of a schema: ``.spec.replicas``, ``.spec.map['a']``."""

from __future__ import annotations

import re

from cove.kube.structural._schema import Schema

__all__ = ["FieldPathError", "find_field"]


class FieldPathError(ValueError):
    """A path that leads nowhere; the text is upstream's."""


_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "'": "'",
    "\\": "\\",
}
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]']+|'.*", re.DOTALL)


def _unescape(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        found = _ESCAPES.get(match[0][1])
        if found is None:
            raise FieldPathError(f"invalid string literal: invalid escape char {match[0]}")
        return found

    return re.sub(r"\\.", replace, text)


def find_field(
    schema: Schema, path: str, *, allow_brackets: bool = True
) -> tuple[str, Schema | None]:
    """The normal form of a path (``spec.map[a]``) and the schema it leads to.

    Raises FieldPathError.
    """
    tokens = iter(_TOKEN.findall(path))
    out = ""
    here: Schema | None = schema

    def following() -> str:
        found = next(tokens, None)
        if found is None:
            raise FieldPathError("unexpected end of JSON path")
        return str(found)

    def step(name: str) -> None:
        nonlocal out, here
        assert here is not None
        if here.properties:
            out = f"{out}.{name}" if out else name
            here = here.properties.get(name)
            if here is None:
                raise FieldPathError("does not refer to a valid field")
        elif here.additional is not None:
            out = f"{out}[{name}]"
            here = here.values
        else:
            raise FieldPathError("does not refer to a valid field")

    for token in tokens:
        if here is None:
            raise FieldPathError("does not refer to a valid field")
        if token == "[":
            if not allow_brackets:
                raise FieldPathError("array notation is not allowed")
            quoted = following()
            if len(quoted) < 2 or quoted[0] != "'" or quoted[-1] != "'":
                raise FieldPathError(f"expected single quoted string but got {quoted}")
            step(_unescape(quoted[1:-1]))
            closing = following()
            if closing != "]":
                raise FieldPathError(f"expected ] but got {closing}")
        elif token == ".":
            step(following())
        else:
            raise FieldPathError(f"expected [ or . but got: {token}")
    return out, here
