"""Comparisons put on the timeline: those in plain ``assert`` statements, and what pytest is told.

Called by the wrapped values, from their ``__eq__`` and the like, with the frame that compares.
What does not stand in an assertion costs a look into a dict.  A comparison that is only a part
of an assertion (one side of ``or``, a condition inside of ``any()``) and comes out false does not
say that the assertion fails: it is kept aside, and put on the timeline by :func:`settle` if it does.
"""

from __future__ import annotations

import ast
import linecache
import operator as operators
import sys
import threading
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any, Literal
from weakref import WeakKeyDictionary

from cove.testing.timeline import Assertion, Call, Link, Timeline
from cove.testing.values._sites import Site, Statement, short, site_of, statement_at
from cove.testing.words import dotted, of_secret, origin

__all__ = [
    "HIDDEN",
    "add",
    "brief",
    "compared",
    "explain",
    "link_inside",
    "measured",
    "role_at",
    "settle",
    "tested",
    "where_of",
]

HIDDEN = "(of a Secret: not shown)"
LONGEST = 300
ASIDE = 50
_ORDER = {
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
_FLIPPED = {
    "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">",
    "in": "not in", "not in": "in", "contains": "lacks", "lacks": "contains", "true": "false",
}  # fmt: skip
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}

_aside: WeakKeyDictionary[Timeline, tuple[Statement | None, list[Assertion]]] = WeakKeyDictionary()


class _State(threading.local):
    """The comparison before: one that is made in several steps is one.

    ``value`` is held so that no other has its id.  ``busy`` while a container compares what is
    in it.
    """

    at: tuple[int, int] = (0, 0)
    value: Any = None
    assertion: Assertion | None = None
    busy: bool = False


state = _State()


def brief(value: Any) -> str:
    """A representation that is short enough to keep."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def where_of(frame: FrameType) -> tuple[str, str]:
    """``file:line`` of a frame, and that line."""
    file = frame.f_code.co_filename
    line = linecache.getline(file, frame.f_lineno, frame.f_globals).strip()
    return f"{short(file)}:{frame.f_lineno}", line


def add(
    link: Link,
    operator: str,
    expected: str,
    actual: str,
    passed: bool,
    where: str,
    source: str,
    via: Literal["expect", "assert"],
) -> Assertion:
    """Put a comparison on the timeline of what was compared."""
    made = _assertion(link, operator, expected, actual, passed, where, source, via)
    link.timeline.add(made)
    return made


def _assertion(
    link: Link,
    operator: str,
    expected: str,
    actual: str,
    passed: bool,
    where: str,
    source: str,
    via: Literal["expect", "assert"],
) -> Assertion:
    timeline, path = link.timeline, dotted(link.path)
    call = timeline.find(link.call)
    if of_secret(call if isinstance(call, Call) else None, path):
        # The line of the source may hold it as well.
        expected, actual, source = HIDDEN, HIDDEN, ""
    return Assertion(
        timeline.next_id(),
        timeline.now(),
        link.call,
        path,
        operator,
        expected,
        actual,
        passed,
        where,
        source,
        via,
    )


def role_at(frame: FrameType) -> str:
    """What a frame does with a value for an assertion; "" if that is nothing."""
    return "" if state.busy else site_of(frame).role


def compared(
    frame: FrameType, link: Link, value: Any, operator: str, other: Any, result: bool
) -> None:
    """Record that ``value OPERATOR other`` was ``result``, if an assertion wanted to know."""
    if state.busy:
        return
    site = site_of(frame)
    if site.role == "compare":
        _compared(frame, site, link, value, operator, other, result)
    elif site.role == "contains" and operator == "==":
        _sought(frame, site, link, value, result)
    elif site.role == "contains" and operator == "contains":
        negated = "not in" in site.operators
        shown = "lacks" if negated else "contains"
        _record(frame, site, link, shown, brief(other), brief(value), result != negated, site.sense)
    elif site.role == "call" and operator in ("startswith", "endswith"):
        _record(frame, site, link, operator, brief(other), brief(value), result, site.sense)


def measured(frame: FrameType, link: Link, value: Any, length: int) -> None:
    """Record that ``len(value)`` was compared, if an assertion did, with what can be known."""
    if state.busy:
        return
    site = site_of(frame)
    if site.role != "call" or site.length is None:
        return
    operator, side = site.length
    try:
        if isinstance(side, ast.Name):
            scope = frame.f_locals if side.id in frame.f_locals else frame.f_globals
            other = scope[side.id]
        else:
            other = ast.literal_eval(side)
        result = bool(_ORDER[operator](length, other))
    except (KeyError, ValueError, TypeError):
        return
    actual = f"{length}: {brief(value)}"
    _record(frame, site, link, f"len {operator}", brief(other), actual, result, site.sense)


def _compared(
    frame: FrameType,
    site: Site,
    link: Link,
    value: Any,
    operator: str,
    other: Any,
    result: bool,
) -> None:
    said = operator in site.operators or _MIRRORED.get(operator) in site.operators
    sense = site.sense if said else "inner"
    _record(frame, site, link, operator, brief(other), brief(value), result, sense)


def _sought(frame: FrameType, site: Site, link: Link, value: Any, result: bool) -> None:
    """``value in (a, b)`` compares with one after the other; it is one comparison."""
    negated = "not in" in site.operators
    at = (id(frame), frame.f_lasti)
    before = state.assertion
    if before is not None and state.at == at and state.value is value:
        if result:
            before.passed = (not negated) == (site.sense != "no")
            if site.sense == "open" and not negated:
                link.timeline.add(before)
        return
    shown = "not in" if negated else "in"
    made = _record(
        frame, site, link, shown, site.container, brief(value), result != negated, site.sense
    )
    state.at, state.value, state.assertion = at, value, made


def _record(
    frame: FrameType,
    site: Site,
    link: Link,
    operator: str,
    expected: str,
    actual: str,
    result: bool,
    sense: str,
) -> Assertion:
    """``result`` is what the comparison as it is written came out as."""
    passed, aside = result, sense == "inner" or (sense == "open" and not result)
    if sense == "no":
        operator, passed = _FLIPPED.get(operator, f"not {operator}"), not result
    where, source = where_of(_caller(frame)) if site.helper else (site.where, site.source)
    made = _assertion(link, operator, expected, actual, passed, where, source, "assert")
    if not aside:
        link.timeline.add(made)
        return made
    statement, kept = _aside.get(link.timeline, (None, []))
    if statement != site.statement:
        kept = []
        _aside[link.timeline] = (site.statement, kept)
    if len(kept) < ASIDE:
        kept.append(made)
    return made


def _caller(frame: FrameType) -> FrameType:
    """Who called what is written in this frame's file."""
    file, found = frame.f_code.co_filename, frame
    while found.f_back is not None and found.f_code.co_filename == file:
        found = found.f_back
    return found


def tested(frame: FrameType, link: Link, value: Any, result: bool) -> None:
    """Record that a value was taken as true or false, if an assertion asked."""
    site = site_of(frame)
    if site.role != "truth" or site.sense == "inner":
        return
    # Rewritten assertions ask twice.
    at = (id(frame), site.statement[1] if site.statement else 0)
    if state.at != at or state.value is not value:
        wanted = "false" if site.sense == "no" else "true"
        made = _record(frame, site, link, "is", wanted, brief(value), result, site.sense)
        made.operator = "is"
        state.at, state.value, state.assertion = at, value, made


def link_inside(value: Any, depth: int = 3) -> tuple[Link, Any] | None:
    """The first recorded value in a value, with its link; None if there is none."""
    trail = getattr(value, "_cove_trail", None)
    link = trail.link if trail is not None else None
    if link is not None:
        return link, value
    if depth == 0 or trail is not None:
        return None
    inside: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = value
    for each in inside:
        found = link_inside(each, depth - 1)
        if found is not None:
            return found
    return None


def explain(operator: str, left: Any, right: Any) -> list[str]:
    """What pytest is to say of a comparison that failed: lines to add to its own, or none.

    For ``pytest_assertrepr_compare``.  Puts the comparison on the timeline if its values could not
    do it themselves (lists of different length, ``is``).
    """
    lines = []
    if operator in ("is", "is not"):
        for side in (left, right):
            if getattr(side, "_cove_trail", None) is not None:
                lines.append(
                    f"{side!r} is a recorded value, which is never the same object as another: "
                    f"compare with {'==' if operator == 'is' else '!='}, or use .unwrap()"
                )
                break
    mine, other = left, right
    found = link_inside(left)
    if found is None:
        mine, other = right, left
        found = link_inside(right)
    if found is None:
        return lines
    link, value = found
    whence = origin(link.timeline, link.call, dotted(link.path))
    if whence:
        lines.append(f"from {whence}" if value is mine else f"{brief(value)} is from {whence}")
    _known_as_failed(link, operator, mine, other)
    return lines


def _known_as_failed(link: Link, operator: str, value: Any, other: Any) -> None:
    """Put a comparison that failed on the timeline, if it is not there yet."""
    frame = _asserting()
    statement = statement_at(frame, frame.f_lineno) if frame is not None else None
    for made in link.timeline.assertions:
        if made.via == "assert" and not made.passed and statement is not None:
            file, _, line = made.where.rpartition(":")
            if file == short(statement[0]) and statement[1] <= int(line) <= statement[2]:
                return
    where, source = where_of(frame) if frame is not None else ("", "")
    actual = brief(value)
    if operator in ("is", "is not"):
        actual += ", recorded (`is` needs .unwrap())"
    add(link, operator, brief(other), actual, False, where, source, "assert")


def _asserting() -> FrameType | None:
    """The frame of the test whose assertion failed: pytest has rewritten its code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and "@pytest_ar" not in frame.f_code.co_names:
        frame = frame.f_back
    return frame


def settle(timeline: Timeline, error: BaseException) -> None:
    """A test failed by this: what was kept aside of the assertion that did it is put on.

    The plugin calls it once per failure.
    """
    statement, kept = _aside.pop(timeline, (None, []))
    traceback = error.__traceback__ if isinstance(error, AssertionError) else None
    while kept and traceback is not None:
        if statement_at(traceback.tb_frame, traceback.tb_lineno) == statement:
            for assertion in kept:
                timeline.add(assertion)
            return
        traceback = traceback.tb_next
