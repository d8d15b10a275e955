"""Sites: what stands in the source where a value is used.

A comparison cannot see by whom its answer is used; the source can.  From the caller's
frame an instruction's place in its file is known to the column, and from the file's
syntax tree what is there: whether it is part of an ``assert``, and how that needs it to
come out; whether it is an operand of ``is``.  A file is parsed once, a site worked out
once: afterwards it costs a look into a dict.

pytest rewrites assertions and keeps their places, which is why this works in its tests.
"""

from __future__ import annotations

import ast
import dis
import linecache
import os
from dataclasses import dataclass, field
from itertools import islice
from types import CodeType, FrameType
from typing import Literal

__all__ = ["Sense", "Site", "Statement", "is_operand", "opcode", "short", "site_of", "statement_at"]

# How an assertion needs a comparison to come out: `yes` true, `no` false; `open`: it may be
# either (one side of `or`, inside of any()); `inner`: it is no part of the outcome by itself.
Sense = Literal["yes", "no", "open", "inner"]
Place = tuple[int, int, int, int]
# An assertion: its file, its first and its last line.
Statement = tuple[str, int, int]
_COMPARE = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}


@dataclass(frozen=True, slots=True)
class Site:
    """One instruction.  ``role`` is what it does with a value: "" is nothing of interest.

    ``container`` is, for ``in``, the source of what it is looked for in; ``length``, where it is
    ``len(x)`` that is compared, the operator and the other side.  ``helper``: it is in unittest,
    and the assertion is where that was called.
    """

    code: CodeType
    role: Literal["", "compare", "contains", "truth", "call"] = ""
    sense: Sense = "inner"
    where: str = ""
    source: str = ""
    operators: frozenset[str] = frozenset()
    container: str = ""
    length: tuple[str, ast.expr] | None = None
    helper: bool = False
    statement: Statement | None = None


# The code object is kept with the site, so that its id is nobody else's.
_known: dict[tuple[int, int], Site] = {}
_operands: dict[tuple[int, int], tuple[CodeType, bool]] = {}
_files: dict[str, _File | None] = {}


def site_of(frame: FrameType) -> Site:
    """The site at which a frame is; ``role`` is "" unless it belongs to an ``assert``."""
    key = (id(frame.f_code), frame.f_lasti)
    found = _known.get(key)
    if found is None:
        found = _known[key] = _site(frame)
    return found


def is_operand(frame: FrameType) -> bool:
    """Whether what a frame is about to have is an operand of ``is`` or ``is not``."""
    key = (id(frame.f_code), frame.f_lasti)
    found = _operands.get(key)
    if found is None:
        found = _operands[key] = (frame.f_code, _operand(frame))
    return found[1]


@dataclass(slots=True)
class _Statement:
    first: int
    last: int
    test: ast.expr
    # By place: the comparison or the tested expression there, and how it is to come out.
    parts: dict[Place, tuple[ast.expr, Sense]] = field(default_factory=dict)
    indexed: bool = False


@dataclass(slots=True)
class _File:
    statements: list[_Statement]
    helper: bool
    identities: set[Place]
    lines: list[str]

    def around(self, line: int) -> _Statement | None:
        """The innermost assertion that a line is part of."""
        inside = [s for s in self.statements if s.first <= line <= s.last]
        return max(inside, key=lambda s: s.first) if inside else None


def _file(frame: FrameType) -> _File | None:
    name = frame.f_code.co_filename
    if name not in _files:
        lines = linecache.getlines(name, frame.f_globals)
        _files[name] = _parse(lines, helper=frame.f_globals.get("__name__") == "unittest.case")
    return _files[name]


def _parse(lines: list[str], *, helper: bool) -> _File | None:
    if not lines:
        return None
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return None
    statements, identities = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            statements.append(_Statement(node.lineno, node.end_lineno or node.lineno, node.test))
        elif isinstance(node, ast.If) and helper:
            # unittest's methods are made of `if …: fail`.
            wanted = ast.UnaryOp(ast.Not(), node.test)
            end = node.test.end_lineno or node.lineno
            statements.append(_Statement(node.lineno, end, ast.copy_location(wanted, node.test)))
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for i, operator in enumerate(node.ops):
                if isinstance(operator, (ast.Is, ast.IsNot)):
                    identities |= {_place(_inside(side)) for side in sides[i : i + 2]}
    return _File(statements, helper, identities, lines)


def _inside(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.NamedExpr) else node


def _place(node: ast.expr) -> Place:
    end, last = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return (node.lineno, end, node.col_offset, last)


def _place_of(frame: FrameType, before: int = 0) -> Place | None:
    """Where an instruction is, the current one or one ``before``; None if it is not known."""
    unit = max(frame.f_lasti // 2 - before, 0)
    found = next(islice(frame.f_code.co_positions(), unit, None), None)
    if found is None or None in found:
        return None
    return found  # type: ignore[return-value]


def _operand(frame: FrameType) -> bool:
    file, place = _file(frame), _place_of(frame)
    return file is not None and place is not None and place in file.identities


def opcode(frame: FrameType) -> str:
    """The name of the instruction that a frame is at."""
    code, at = frame.f_code.co_code, frame.f_lasti
    # Calls of Python functions leave it at the caches behind.
    while at > 0 and dis.opname[code[at]] == "CACHE":
        at -= 2
    return dis.opname[code[at]]


def _role(frame: FrameType) -> Literal["", "compare", "contains", "truth", "call"]:
    name = opcode(frame)
    if name == "COMPARE_OP":
        return "compare"
    if name == "CONTAINS_OP":
        return "contains"
    if name in ("UNARY_NOT", "TO_BOOL") or "JUMP" in name:
        return "truth"
    return "call" if "CALL" in name else ""


def _site(frame: FrameType) -> Site:
    code = frame.f_code
    role = _role(frame)
    file = _file(frame) if role else None
    if file is None:
        return Site(code)
    place = _place_of(frame)
    line = place[0] if place else frame.f_lineno
    statement = file.around(line)
    if statement is None:
        return Site(code)
    node, sense = _part(statement, place, role)
    if role == "truth" and sense == "inner":
        # A jump may have the place of its statement: what was loaded before has its own.
        node, sense = _part(statement, _place_of(frame, before=1), role)
    operators: set[str] = set()
    container = ""
    if isinstance(node, ast.Compare):
        operators = {_COMPARE[type(operator)] for operator in node.ops}
        if role == "contains":
            container = ast.unparse(node.comparators[-1])
    source = " ".join(text.strip() for text in file.lines[statement.first - 1 : statement.last])
    where = f"{short(code.co_filename)}:{line}"
    at = (code.co_filename, statement.first, statement.last)
    length = _length(node) if role == "call" else None
    return Site(
        code, role, sense, where, source, frozenset(operators), container, length, file.helper, at
    )


def _length(node: ast.expr | None) -> tuple[str, ast.expr] | None:
    match node:
        case ast.Compare(left=ast.Call(func=ast.Name(id="len")), ops=[op], comparators=[other]):
            return _COMPARE[type(op)], other
    return None


def statement_at(frame: FrameType, line: int) -> Statement | None:
    """The assertion that a line of a frame's file is part of; None if it is of none."""
    file = _file(frame)
    found = file.around(line) if file is not None else None
    return (frame.f_code.co_filename, found.first, found.last) if found is not None else None


def _part(statement: _Statement, place: Place | None, role: str) -> tuple[ast.expr | None, Sense]:
    if not statement.indexed:
        statement.indexed = True
        _index(statement.test, "yes", statement.parts)
    if place is None:
        # Without columns: right if there is nothing but this in the assertion.
        test = statement.test
        only = len([s for _, s in statement.parts.values() if s != "inner"]) == 1
        return (test, "yes") if only and isinstance(test, ast.Compare) else (None, "inner")
    found = statement.parts.get(place)
    if found is None:
        return None, "inner"
    node, sense = found
    if role == "call" or isinstance(node, ast.Compare) == (role != "truth"):
        return node, sense
    return None, "inner"


def _index(node: ast.expr, sense: Sense, parts: dict[Place, tuple[ast.expr, Sense]]) -> None:
    """Note for all that a test is made of how it is to come out."""
    if isinstance(node, ast.NamedExpr):
        _index(node.value, sense, parts)
        return
    if isinstance(node, ast.BoolOp):
        through = "yes" if isinstance(node.op, ast.And) else "no"
        for value in node.values:
            _index(value, sense if sense in (through, "inner") else "open", parts)
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        flipped: dict[Sense, Sense] = {"yes": "no", "no": "yes"}
        inverted = flipped.get(sense, sense)
        parts.setdefault(_place(node), (_inside(node.operand), inverted))
        _index(node.operand, inverted, parts)
        return
    parts.setdefault(_place(node), (node, sense))
    if isinstance(node, ast.Compare) and len(node.ops) > 1 and sense == "no":
        parts[_place(node)] = (node, "open")
    if _length(node) is not None and isinstance(node, ast.Compare):
        parts.setdefault(_place(node.left), (node, sense))
    quantified = _quantified(node, sense)
    for child in ast.walk(node):
        if isinstance(child, ast.expr) and child is not node:
            if quantified is not None and child is quantified[0]:
                _index(child, quantified[1], parts)
            else:
                parts.setdefault(_place(child), (child, "inner"))


def _quantified(node: ast.expr, sense: Sense) -> tuple[ast.expr, Sense] | None:
    """What is said of each in ``all(…for…)`` and ``any(…for…)``, and how it is to come out."""
    match node:
        case ast.Call(
            func=ast.Name(id="all" | "any" as name),
            args=[ast.GeneratorExp(elt=said) | ast.ListComp(elt=said)],
        ):
            if sense == ("yes" if name == "all" else "no"):
                return said, sense
            return said, "inner" if sense == "inner" else "open"
    return None


def short(file: str) -> str:
    """A file as it is told: relative to where the tests run, if it is below that."""
    try:
        relative = os.path.relpath(file)
    except (ValueError, OSError):
        return file
    return file if relative.startswith("..") else relative
