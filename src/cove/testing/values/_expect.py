"""``expect``: comparisons that fail with where the value came from, and are recorded always."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn

import yaml

from cove.testing.timeline import Link
from cove.testing.values._asserts import HIDDEN, add, brief, link_inside, where_of
from cove.testing.values._containers import unwrap
from cove.testing.values._sites import opcode
from cove.testing.words import dotted, origin

__all__ = ["Expectation", "expect"]

# pytest shows the line of the test, not those of this module.
__tracebackhide__ = True


def expect(value: Any) -> Expectation:
    """What a value is expected to be: ``expect(pod.status.phase) == "Running"``.

    ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` and the methods raise AssertionError at once if
    it is not so, and put on the timeline of the call that the value came from that it was
    compared.  Values that came from no call are compared as well.
    """
    return Expectation(value)


class Expectation:
    """What is said of one value."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"expect({self._value!r})"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} says nothing yet: compare it, or use .to_be_true()")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"expect() has no {name!r}: attributes belong inside, expect(x.{name})"
        )

    def __eq__(self, other: object) -> bool:
        _no_membership(sys._getframe(1))
        return self._said("==", other, lambda a, b: bool(a == b))

    def __ne__(self, other: object) -> bool:
        return self._said("!=", other, lambda a, b: bool(a != b))

    def __lt__(self, other: Any) -> bool:
        return self._said("<", other, lambda a, b: bool(a < b))

    def __le__(self, other: Any) -> bool:
        return self._said("<=", other, lambda a, b: bool(a <= b))

    def __gt__(self, other: Any) -> bool:
        return self._said(">", other, lambda a, b: bool(a > b))

    def __ge__(self, other: Any) -> bool:
        return self._said(">=", other, lambda a, b: bool(a >= b))

    def __contains__(self, item: Any) -> bool:
        return self._said("contains", item, _contains)

    def to_equal(self, other: Any) -> bool:
        """As ``==``."""
        return self._said("==", other, lambda a, b: bool(a == b))

    def to_contain(self, item: Any) -> bool:
        """It has this element, key or part.

        For two documents: it has all that ``item`` has, and may have more (of lists in it: the
        elements of ``item``'s in any place).
        """
        return self._said("contains", item, _contains)

    def to_be_in(self, container: Any) -> bool:
        """It is one of these."""
        return self._said("in", container, lambda a, b: a in b)

    def to_match(self, pattern: str | re.Pattern[str]) -> bool:
        """The regular expression is found in it; ``^…$`` for all of it."""
        shown = pattern if isinstance(pattern, str) else pattern.pattern
        return self._said(
            "matches", shown, lambda a, b: isinstance(a, str) and bool(re.search(pattern, a))
        )

    def to_be_none(self) -> bool:
        """It is null or not set."""
        return self._said("==", None, lambda a, b: a is None)

    def to_be_set(self) -> bool:
        """It is not null."""
        return self._said("!=", None, lambda a, b: a is not None)

    def to_be_true(self) -> bool:
        """It is ``True``, not only something that counts as true."""
        return self._said("==", True, lambda a, b: a is True)

    def to_be_false(self) -> bool:
        """It is ``False``, not only something that counts as false."""
        return self._said("==", False, lambda a, b: a is False)

    def to_have_length(self, length: int) -> bool:
        """So many are in it."""
        return self._said("has length", length, lambda a, b: bool(len(a) == b))

    def _said(self, operator: str, other: Any, ask: Callable[[Any, Any], bool]) -> bool:
        __tracebackhide__ = True
        value, expected = unwrap(self._value), unwrap(other)
        found = link_inside(self._value) or link_inside(other)
        link = found[0] if found is not None else None
        try:
            passed = ask(value, expected)
        except TypeError as e:
            message = f"{e}: {brief(value)} {operator} {brief(expected)}{_from(link)}"
            raise TypeError(message) from e
        if link is not None:
            at = where_of(sys._getframe(2))
            actual = brief(value)
            if operator == "has length":
                actual = f"{len(value)}: {actual}"
            made = add(link, operator, brief(expected), actual, passed, *at, "expect")
            if made.expected == HIDDEN and not passed:
                _fail(f"expected {_what(link, value)} {operator} …, {HIDDEN}{_from(link)}")
        if not passed:
            _fail(_message(link, operator, value, expected))
        return True


def _fail(message: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(message)


def _no_membership(frame: FrameType) -> None:
    if opcode(frame) == "CONTAINS_OP":
        raise TypeError("`expect(x) in …` cannot tell: write expect(x).to_be_in(…)")


def _contains(value: Any, item: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(item, Mapping):
        return all(key in value and _matches(value[key], item[key]) for key in item)
    return item in value


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and _contains(value, wanted)
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return False
        return all(any(_matches(each, one) for each in value) for one in wanted)
    return bool(value == wanted)


def _what(link: Link | None, value: Any) -> str:
    path = dotted(link.path) if link is not None else ""
    return path or "the value"


def _from(link: Link | None) -> str:
    whence = origin(link.timeline, link.call, dotted(link.path)) if link is not None else ""
    return f"\n  from {whence}" if whence else ""


def _message(link: Link | None, operator: str, value: Any, expected: Any) -> str:
    lines = [f"expected {_what(link, value)} {operator} {brief(expected)}"]
    if operator == "has length":
        lines[0] += f", but it is {len(value)}"
    elif operator == "!=":
        pass
    elif not isinstance(value, (dict, list)) and len(repr(value)) < 60:
        lines[0] += f", but it is {value!r}"
    else:
        lines.append(f"  it is {brief(value)}")
    text = "\n".join(lines) + _from(link)
    difference = _difference(value, expected) if operator == "==" else ""
    return f"{text}\n{difference}" if difference else text


def _difference(value: Any, expected: Any) -> str:
    """A diff of documents and of texts of several lines."""
    both = (value, expected)
    if all(isinstance(side, (dict, list)) for side in both):
        texts = [yaml.safe_dump(side, sort_keys=True, allow_unicode=True) for side in both]
    elif all(isinstance(side, str) and "\n" in side for side in both):
        texts = [str(side) for side in both]
    else:
        return ""
    lines = difflib.unified_diff(
        texts[1].splitlines(), texts[0].splitlines(), "expected", "actual", lineterm="", n=2
    )
    return "\n".join(f"  {line}" for line in lines)
