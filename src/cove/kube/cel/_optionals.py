"""Functions that give an optional, which functions in Python cannot.

They give a list instead, and what is evaluated says in CEL that an empty one is none:
``format.uuid().validate(self)`` becomes ``optional.ofNonZeroValue(format.uuid().validate(self))``.
What is checked and told in errors stays as it was written.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["with_optionals"]

# Strings first: what is in them is nobody's syntax.  Then comments, names and single signs.
_TOKEN = re.compile(
    r"""[rRbB]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\")"""
    r"""|[rR][bB]?(?:'[^'\n]*'|"[^"\n]*")|[bB]?(?:'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")"""
    r"|//[^\n]*|[A-Za-z_]\w*|\d[\w.]*|\s+|.",
    re.DOTALL,
)
_OPENS = {")": "(", "]": "[", "}": "{"}
OPTIONAL = "validate"


class _Token(NamedTuple):
    text: str
    start: int
    end: int


def with_optionals(source: str) -> str:
    """The expression as it is evaluated; itself where nothing in it gives an optional."""
    if f"{OPTIONAL}(" not in source.replace(" ", ""):
        return source
    tokens = [
        _Token(m[0], m.start(), m.end())
        for m in _TOKEN.finditer(source)
        if not m[0].isspace() and not m[0].startswith("//")
    ]
    pairs = _pairs(tokens)
    inserted: list[tuple[int, str]] = []
    for at, token in enumerate(tokens[:-1]):
        if token.text != OPTIONAL or tokens[at + 1].text != "(" or at + 1 not in pairs:
            continue
        if at and tokens[at - 1].text == ".":
            inserted.append(
                (tokens[_receiver(tokens, pairs, at - 1)].start, "optional.ofNonZeroValue(")
            )
            inserted.append((tokens[pairs[at + 1]].end, ")"))
    out, last = [], 0
    for place, text in sorted(inserted, key=lambda i: i[0]):
        out += [source[last:place], text]
        last = place
    return "".join([*out, source[last:]])


def _pairs(tokens: list[_Token]) -> dict[int, int]:
    """Where each bracket's other one is, both ways; none for what does not fit."""
    found: dict[int, int] = {}
    waiting: list[int] = []
    for at, token in enumerate(tokens):
        if token.text in _OPENS.values():
            waiting.append(at)
        elif token.text in _OPENS:
            if not waiting or tokens[waiting[-1]].text != _OPENS[token.text]:
                return {}
            start = waiting.pop()
            found[start], found[at] = at, start
    return found


def _receiver(tokens: list[_Token], pairs: dict[int, int], dot: int) -> int:
    """The first token of what stands before a dot: names, calls and indices, joined by dots."""
    at = dot - 1
    while True:
        while tokens[at].text in (")", "]"):
            at = pairs[at]
            before = tokens[at - 1].text if at else ""
            if not (before.isidentifier() or before in (")", "]")):
                return at
            at -= 1
        if at < 1 or tokens[at - 1].text != ".":
            return at
        at -= 2
