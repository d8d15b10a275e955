"""Object and JSONPatch initializers of mutating policies, written as maps.

cel-cpp makes messages of known types only; ``Object.spec{replicas: 1}`` has the type of
whatever field it is for.  Each initializer becomes a map that carries its type's name,
which is compared with the place the value has in the object once there is one.

Source: ``k8s.io/apiserver/pkg/cel/mutation``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, NamedTuple

from cove.kube.cel._types import unescape

__all__ = [
    "JSON_PATCH",
    "OBJECT",
    "TypeMismatchError",
    "as_maps",
    "check_names",
    "plain",
    "type_name",
]

OBJECT, JSON_PATCH = "Object", "JSONPatch"
# No field of an object is called so.
_MARK = "@type"
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<raw>(?:[rR][bB]?|[bB][rR])(?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|"[^"\n]*"))
  | (?P<string>[bB]?(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
  | (?P<name>[A-Za-z_]\w*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class TypeMismatchError(ValueError):
    """An Object initializer stands where one of another name belongs."""


def _tokens(source: str) -> list[tuple[str, str]]:
    return [(m.lastgroup or "other", m[0]) for m in _TOKEN.finditer(source)]


class Rewritten(NamedTuple):
    """An expression whose initializers are maps.  ``places``: offsets in it and before, by token."""

    text: str
    places: tuple[tuple[int, int], ...]

    def original(self, line: int, column: int, source: str) -> tuple[int, int]:
        """Where in ``source`` a line and column of the text (both from 1) come from."""
        if not self.places:
            return line, column
        lines = self.text.split("\n")
        offset = sum(len(each) + 1 for each in lines[: line - 1]) + column - 1
        index = max(0, bisect_right(self.places, (offset, len(source))) - 1)
        made, began = self.places[index]
        ends = self.places[index + 1][1] if index + 1 < len(self.places) else len(source)
        place = min(began + offset - made, max(began, ends - 1)) if offset > made else began
        if offset >= len(self.text):
            place = len(source)
        head = source[:place]
        return head.count("\n") + 1, place - (head.rfind("\n") + 1) + 1


def as_maps(source: str) -> Rewritten:
    """The expression with its initializers written as maps."""
    if OBJECT not in source and JSON_PATCH not in source:
        return Rewritten(source, ())
    tokens = _tokens(source)
    out: list[str] = []
    places: list[tuple[int, int]] = []
    made = began = 0
    # One entry for each open bracket: whether it is an initializer's.
    stack: list[bool] = []
    # The last tokens that are no space.
    before, earlier = "", ""
    index = 0
    while index < len(tokens):
        kind, text = tokens[index]
        told, after, shown = text, index + 1, text
        if kind == "name":
            path, end = _initializer(tokens, index) if before != "." else ("", 0)
            if path:
                empty = _next(tokens, end)[1] == "}"
                told = f'{{"{_MARK}": "{path}"' + ("" if empty else ", ")
                stack.append(True)
                shown, after = "{", end
            elif stack and stack[-1] and _next(tokens, after)[1] == ":":
                if (earlier if before == "?" else before) in ("{", ","):
                    told = f'"{unescape(text)}"'
        elif text in ("{", "(", "["):
            stack.append(False)
        elif text in ("}", ")", "]") and stack:
            stack.pop()
        places.append((made, began))
        out.append(told)
        made += len(told)
        began += sum(len(t) for _, t in tokens[index:after])
        if kind != "space":
            before, earlier = shown, before
        index = after
    return Rewritten("".join(out), tuple(places))


def _initializer(tokens: list[tuple[str, str]], start: int) -> tuple[str, int]:
    """The type's name and the index after its brace, if an initializer starts here."""
    name = tokens[start][1]
    if name not in (OBJECT, JSON_PATCH):
        return "", 0
    index, parts = start + 1, [name]
    while True:
        at, text = _next(tokens, index)
        if text == "{":
            return ".".join(parts), at + 1
        if text != "." or name == JSON_PATCH:
            return "", 0
        at, text = _next(tokens, at + 1)
        if at >= len(tokens) or tokens[at][0] != "name":
            return "", 0
        parts.append(unescape(text))
        index = at + 1


def _next(tokens: list[tuple[str, str]], index: int) -> tuple[int, str]:
    while index < len(tokens) and tokens[index][0] == "space":
        index += 1
    return index, tokens[index][1] if index < len(tokens) else ""


def check_names(value: Any, path: str = OBJECT) -> None:
    """Raise TypeMismatchError unless every initializer is named for its place."""
    if isinstance(value, dict):
        name = value.get(_MARK)
        if name is not None and name != path:
            raise TypeMismatchError(
                f'unexpected type name "{name}", expected "{path}", which matches field name path '
                "from root Object type"
            )
        for key, item in value.items():
            check_names(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            check_names(item, path)


def plain(value: Any) -> Any:
    """The value without its types' names."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != _MARK}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def type_name(value: Any) -> str:
    """The name of the initializer a value was made by, "" for another value."""
    return str(value.get(_MARK, "")) if isinstance(value, dict) else ""
