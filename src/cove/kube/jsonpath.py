"""JSONPath as kubectl and printer columns know it.

Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/ and ``k8s.io/client-go/util/jsonpath``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["JSONPathError", "compile_path", "text"]

Step = Callable[[list[Any]], list[Any]]
Find = Callable[[Any], list[Any]]


class JSONPathError(ValueError):
    """A path that does not parse."""


_TOKEN = re.compile(
    r"""
    \.\.(?P<deep>(?:[^.\[\]\\]|\\.)+)
  | \.(?P<star>\*)
  | \.(?P<name>(?:[^.\[\]\\]|\\.)+)
  | \[(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\]
  | \[\?\((?P<filter>.*?)\)\]
  | \[(?P<range>[^\]?]*)\]
  | (?P<dot>\.)$
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=1024)
def compile_path(path: str) -> Find:
    """The values at a path (``.spec.items[*].name``); missing keys give nothing.

    Raises JSONPathError.
    """
    text = path.removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise JSONPathError(f"unterminated array or bad path: {path}")
        steps.append(_step(match))
        at = match.end()

    def find(value: Any) -> list[Any]:
        values = [value]
        for step in steps:
            values = step(values)
            if not values:
                break
        return values

    return find


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _step(match: re.Match[str]) -> Step:
    if match["name"] is not None:
        return _child(_plain(match["name"]))
    if match["quoted"] is not None:
        return _child(_plain(match["quoted"][1:-1]))
    if match["star"] is not None:
        return _all
    if match["deep"] is not None:
        return _deep(_plain(match["deep"]))
    if match["filter"] is not None:
        return _filter(match["filter"])
    if match["dot"] is not None:
        return lambda values: values
    return _range(match["range"])


def _child(name: str) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [v[name] for v in values if isinstance(v, dict) and name in v]

    return step


def _all(values: list[Any]) -> list[Any]:
    out: list[Any] = []
    for value in values:
        if isinstance(value, dict):
            out += value.values()
        elif isinstance(value, list):
            out += value
    return out


def _deep(name: str) -> Step:
    def walk(value: Any, out: list[Any]) -> None:
        if isinstance(value, dict):
            if name in value:
                out.append(value[name])
            for inner in value.values():
                walk(inner, out)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, out)

    def step(values: list[Any]) -> list[Any]:
        out: list[Any] = []
        for value in values:
            walk(value, out)
        return out

    return step


def _range(text: str) -> Step:
    text = text.strip()
    if text == "*":
        return _all
    parts = text.split(",")
    if len(parts) > 1:
        steps = [_range(p) for p in parts]
        return lambda values: [found for s in steps for found in s(values)]
    try:
        numbers = [int(p) if p.strip() else None for p in text.split(":")]
    except ValueError:
        raise JSONPathError(f"invalid array index {text}") from None
    if not text or len(numbers) > 3:
        raise JSONPathError(f"invalid array index {text}")

    def step(values: list[Any]) -> list[Any]:
        out: list[Any] = []
        for value in values:
            if not isinstance(value, list):
                continue
            if len(numbers) > 1:
                out += value[slice(*numbers)]
            else:
                index = numbers[0]
                assert index is not None
                if -len(value) <= index < len(value):
                    out.append(value[index])
        return out

    return step


_COMPARISON = re.compile(
    r"^\s*@(?P<left>.*?)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<right>.*?))?\s*$", re.DOTALL
)


def _filter(text: str) -> Step:
    match = _COMPARISON.match(text)
    if match is None:
        raise JSONPathError(f"unrecognized filter {text}")
    left = compile_path(match["left"])
    operator, right = match["op"], match["right"]
    if operator is None:
        return lambda values: [v for v in _all(values) if left(v)]
    wanted = _literal(right)
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "==": lambda a, b: bool(a == b),
        "!=": lambda a, b: bool(a != b),
        "<": lambda a, b: bool(a < b),
        "<=": lambda a, b: bool(a <= b),
        ">": lambda a, b: bool(a > b),
        ">=": lambda a, b: bool(a >= b),
    }
    test = compare[operator]

    def step(values: list[Any]) -> list[Any]:
        out = []
        for value in _all(values):
            found = left(value)
            try:
                if found and test(found[0], wanted):
                    out.append(value)
            except TypeError:
                continue
        return out

    return step


def _literal(text: str) -> Any:
    text = text.strip()
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return _plain(text[1:-1])
    try:
        return json.loads(text)
    except ValueError:
        raise JSONPathError(f"unrecognized literal {text}") from None


def text(value: Any) -> str:
    """A value as kubectl prints it: containers as JSON, the rest plain."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return str(value)
