"""cel-cpp, made to speak as cel-go does: environments, compilation, errors.

The library is loaded when the first expression is compiled: it takes 20 MB.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from cove.kube.cel._functions import extension
from cove.kube.cel._optionals import with_optionals
from cove.kube.cel._pool import new_pool, type_of
from cove.kube.cel._types import DeclType

__all__ = ["Checker", "Compiled", "EvaluationError", "Program", "program"]

# What stands before a rule that knows oldSelf as an optional.
_OPTIONAL = "cel.bind(oldSelf, optional.of(oldSelf_), "
_OPTIONAL_VALUE = "cel.bind(oldSelf, hasOldSelf_ ? optional.of(oldSelf_) : optional.none(), "


class EvaluationError(Exception):
    """An expression failed; the text is cel-go's."""


class Compiled(NamedTuple):
    """What type checking found: an error text or the kind of the result and the checked form."""

    error: str = ""
    result: str = ""
    serialized: bytes = b""


@cache
def _library() -> Any:
    from cel_expr_python import cel

    return cel


def _extensions(pool: Any, *, typed: bool) -> list[Any]:
    from cel_expr_python.ext import (
        ext_bindings,
        ext_encoders,
        ext_math,
        ext_optional,
        ext_strings,
    )

    return [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
        *extension(_library(), pool, typed=typed),
    ]


class Checker:
    """Type-checks the expressions of one place in a schema."""

    def __init__(self, type: DeclType) -> None:
        cel = _library()
        pool = new_pool()
        try:
            self_type = type_of(pool, type, cel)
        except Exception:
            # A schema that protobuf has no words for: checked at run time only.
            pool = new_pool()
            self_type = cel.Type.DYN
        self.env = cel.NewEnv(
            pool,
            variables={"self": self_type, "oldSelf": self_type, "oldSelf_": self_type},
            extensions=_extensions(pool, typed=True),
        )

    def compile(self, expression: str, *, optional_old_self: bool = False) -> Compiled:
        """Check an expression over ``self`` and ``oldSelf``."""
        source = f"{_OPTIONAL}{expression}\n)" if optional_old_self else expression
        try:
            found = self.env.compile(source)
        except RuntimeError as error:
            shift = len(_OPTIONAL) if optional_old_self else 0
            return Compiled(error=_issues(str(error), expression, shift))
        return Compiled(result=found.return_type().name(), serialized=found.serialize())


@cache
def _evaluation_env() -> Any:
    """The one environment that expressions are evaluated in: they are checked already."""
    cel = _library()
    pool = new_pool()
    t = cel.Type
    return cel.NewEnv(
        pool,
        variables={"self": t.DYN, "oldSelf": t.DYN, "oldSelf_": t.DYN, "hasOldSelf_": t.BOOL},
        extensions=_extensions(pool, typed=False),
    )


class Program:
    """An expression that can be evaluated."""

    __slots__ = ("_expression", "_optional")

    def __init__(self, source: str, *, optional_old_self: bool = False) -> None:
        source = with_optionals(source)
        if optional_old_self:
            source = f"{_OPTIONAL_VALUE}{source}\n)"
        self._optional = optional_old_self
        # Checked when the schema was written; here values have no types.
        self._expression = _evaluation_env().compile(source, disable_check=True)

    def evaluate(self, value: Any, old: Any = None) -> Any:
        """The result; ``old`` None means that there is no old value.

        Raises EvaluationError.
        """
        data: dict[str, Any] = {"self": value}
        if self._optional:
            data["oldSelf_"] = old
            data["hasOldSelf_"] = old is not None
        elif old is not None:
            data["oldSelf"] = old
        try:
            found = self._expression.eval(data=data)
        except RuntimeError as error:
            raise EvaluationError(_runtime(str(error))) from None
        if found.type() == _library().Type.ERROR:
            raise EvaluationError(_runtime(str(found.value())))
        return found.plain_value()


def program(source: str, *, optional_old_self: bool = False) -> Program | str:
    """The program of an expression, or the text of why there is none."""
    try:
        return Program(source, optional_old_self=optional_old_self)
    except RuntimeError as error:
        return _issues(str(error), source, 0)


# -- errors in cel-go's words

_STATUS = re.compile(r"^[A-Z_]+: ")
_ISSUE = re.compile(r"^ERROR: <input>:(\d+):(\d+): (.*)$", re.DOTALL)
_UNDEFINED = re.compile(r"^(undefined field '[^']*') not found in struct '[^']*'$")
_UNDECLARED = re.compile(r"^undeclared reference to '(\w+\.[\w.]+)' (\(in container '.*'\))$")
_OPERAND = re.compile(r"^expression of type '(.*)' cannot be the operand of a select operation$")
_OVERLOAD = re.compile(r"^found no matching overload for '([^']*)' applied to '\((.*)\)'$")


def _issues(text: str, source: str, shift: int) -> str:
    """cel-cpp's compilation errors as cel-go lists them; ``shift`` columns were put before."""
    text = _STATUS.sub("", text).removesuffix(" [INVALID_ARGUMENT]")
    out = []
    lines = source.split("\n")
    for issue in re.split(r"\n(?=ERROR: )", text):
        head, _, _ = issue.partition("\n | ")
        match = _ISSUE.match(head)
        if match is None:
            out.append(issue)
            continue
        line, column = int(match[1]), int(match[2])
        if line == 1:
            column = max(1, column - shift)
        snippet = lines[line - 1] if line <= len(lines) else ""
        told = match[3]
        if undeclared := _UNDECLARED.match(told):
            # cel-go complains of the name, cel-cpp of all that is selected from it.
            name = undeclared[1].partition(".")[0]
            start = snippet.rfind(f"{name}.", 0, column + len(name))
            if start >= 0:
                column = start + 1
                told = f"undeclared reference to '{name}' {undeclared[2]}"
        message = _message(told, snippet, column)
        dots = "." * (column - 1)
        out.append(f"ERROR: <input>:{line}:{column}: {message}\n | {snippet}\n | {dots}^")
    return "\n".join(out)


def _message(text: str, line: str, column: int) -> str:
    if match := _UNDEFINED.match(text):
        return match[1]
    if match := _OPERAND.match(text):
        return f"type '{match[1]}' does not support field selection"
    if match := _OVERLOAD.match(text):
        before = line[: column - 1].rstrip()
        name = match[1]
        if before.endswith(name) and before[: -len(name)].rstrip().endswith("."):
            target, args = _split(match[2])
            return f"found no matching overload for '{name}' applied to '{target}.({args})'"
    return text


def _split(types: str) -> tuple[str, str]:
    """The first of a list of types, and the rest."""
    depth = 0
    for index, char in enumerate(types):
        if char in "(<":
            depth += 1
        elif char in ")>":
            depth -= 1
        elif char == "," and not depth:
            return types[:index], types[index + 1 :].strip()
    return types, ""


_KEY = re.compile(r'^Key not found in map : "?(.*?)"?$')
_CONVERT = re.compile(r"^cannot convert (\w+) to (\w+)$")
_INDEX = re.compile(r"^Index error: index=(-?\d+) size=\d+$")


def _runtime(text: str) -> str:
    text = _STATUS.sub("", text)
    text = re.sub(r" \[[A-Z_]+\]$", "", text)
    if match := _KEY.match(text):
        return f"no such key: {match[1]}"
    if match := _INDEX.match(text):
        return f"index out of bounds: {match[1]}"
    if match := _CONVERT.match(text):
        return f"type conversion error from '{match[1]}' to '{match[2]}'"
    if text == "divide by zero":
        return "division by zero"
    if text.startswith("No matching overloads found"):
        return "no such overload"
    return text
