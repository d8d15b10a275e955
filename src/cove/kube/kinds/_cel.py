"""Where validation meets CEL, if there is any.

The server may set :data:`problem` to a function that compiles an expression for a
purpose and says what is wrong with it; without one, expressions are taken as they
are.  Purposes: ``device`` (resource.k8s.io selectors), ``match`` (matchConditions),
``policy`` (validating policies' validations, messages, audit annotations and
variables), ``mutation`` (mutating policies' expressions).
"""

from __future__ import annotations

from collections.abc import Callable

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError

__all__ = ["check_expression", "set_compiler"]

Compiler = Callable[[str, str], str]

_compiler: Compiler | None = None


def set_compiler(compiler: Compiler | None) -> None:
    """Judge expressions with ``compiler(expression, purpose)`` from now on; it returns "" or a fault."""
    global _compiler
    _compiler = compiler


def check_expression(errors: list[FieldError], path: str, expression: str, purpose: str) -> None:
    """Append what the compiler says against an expression."""
    if _compiler is not None:
        problem = _compiler(expression, purpose)
        if problem:
            errors.append(fe.invalid(path, expression, f"compilation failed: {problem}"))
