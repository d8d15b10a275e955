"""Field selectors: ``metadata.name=a,status.phase!=Running``.

Which fields a kind has is not known here: the server asks for :attr:`Selector.fields`
and answers 400 for one it does not serve.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from cove.kube.labels import SelectorError

__all__ = ["EVERYTHING", "Selector", "Term", "escape", "parse", "unescape"]


class Term(NamedTuple):
    """One comparison; ``equal`` False is ``!=``."""

    field: str
    equal: bool
    value: str

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.equal else '!='}{escape(self.value)}"


class Selector:
    """Comparisons that must all hold; without any, everything matches."""

    __slots__ = ("terms",)

    def __init__(self, terms: tuple[Term, ...] = ()) -> None:
        self.terms = terms

    @property
    def empty(self) -> bool:
        """True if every object is selected."""
        return not self.terms

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are compared, in the order of the terms."""
        return tuple(t.field for t in self.terms)

    def matches(self, fields: Mapping[str, str] | Callable[[str], str]) -> bool:
        """Whether an object is selected, given its fields or what looks one up; absent is ""."""
        if callable(fields):
            return all((fields(t.field) == t.value) is t.equal for t in self.terms)
        return all((fields.get(t.field, "") == t.value) is t.equal for t in self.terms)

    def exact(self, field: str) -> str | None:
        """The one value ``field`` must have, None if the selector does not say (for indexes)."""
        return next((t.value for t in self.terms if t.field == field and t.equal), None)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))

    def __repr__(self) -> str:
        return f"Selector({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)


EVERYTHING = Selector()


def escape(value: str) -> str:
    r"""A value with ``\``, ``,`` and ``=`` escaped."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def unescape(value: str) -> str:
    """The opposite of :func:`escape`; raises SelectorError for what cannot be one."""
    if not any(c in value for c in "\\,="):
        return value
    out: list[str] = []
    slash = False
    for c in value:
        if slash:
            if c not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{c}")
            out.append(c)
            slash = False
        elif c == "\\":
            slash = True
        elif c in ",=":
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(c)}")
        else:
            out.append(c)
    if slash:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(out)


def _split(text: str) -> list[str]:
    terms: list[str] = []
    start = 0
    slash = False
    for i, c in enumerate(text):
        if slash:
            slash = False
        elif c == "\\":
            slash = True
        elif c == ",":
            terms.append(text[start:i])
            start = i + 1
    terms.append(text[start:])
    return terms


def _term(selector: str, part: str) -> Term:
    for i in range(len(part)):
        for operator in ("!=", "==", "="):
            if part.startswith(operator, i):
                value = unescape(part[i + len(operator) :])
                return Term(part[:i], operator != "!=", value)
    raise SelectorError(f"invalid selector: '{selector}'; can't understand '{part}'")


@lru_cache(maxsize=512)
def parse(text: str) -> Selector:
    """The selector of a query (``fieldSelector=``); "" selects everything.

    Raises SelectorError with upstream's text.
    """
    if not text:
        return EVERYTHING
    return Selector(tuple(_term(text, part) for part in sorted(_split(text)) if part))
