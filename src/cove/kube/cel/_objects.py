"""Object and JSONPatch initializers of mutating policies, written as maps.

cel-cpp makes messages of known types only; ``Object.spec{replicas: 1}`` has the type of
whatever field it is for.  Each initializer becomes a map that carries its type's name,
which is compared with the place the value has in the object once there is one.

Source: ``k8s.io/apiserver/pkg/cel/mutation``.
"""

from __future__ import annotations

import re
from typing import Any

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
  | (?P<string>[rRbB]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
  | (?P<name>[A-Za-z_]\w*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class TypeMismatchError(ValueError):
    """An Object initializer stands where one of another name belongs."""


def _tokens(source: str) -> list[tuple[str, str]]:
    return [(m.lastgroup or "other", m[0]) for m in _TOKEN.finditer(source)]


def as_maps(source: str) -> str:
    """The expression with its initializers written as maps."""
    if OBJECT not in source and JSON_PATCH not in source:
        return source
    tokens = _tokens(source)
    out: list[str] = []
    # One entry for each open bracket: whether it is an initializer's.
    stack: list[bool] = []
    before = ""
    index = 0
    while index < len(tokens):
        kind, text = tokens[index]
        if kind == "name":
            path, after = _initializer(tokens, index) if before != "." else ("", 0)
            if path:
                empty = _next(tokens, after)[1] == "}"
                out.append(f'{{"{_MARK}": "{path}"' + ("" if empty else ", "))
                stack.append(True)
                before, index = "{", after
                continue
            if (
                stack
                and stack[-1]
                and before in ("{", ",", "?")
                and _next(tokens, index + 1)[1] == ":"
            ):
                text = f'"{unescape(text)}"'
        elif text in ("{", "(", "["):
            stack.append(False)
        elif text in ("}", ")", "]") and stack:
            stack.pop()
        out.append(text)
        if kind != "space":
            before = text
        index += 1
    return "".join(out)


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
