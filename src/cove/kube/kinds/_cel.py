"""Where validation meets CEL.

The library behind it is loaded with the first expression that is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError

__all__ = ["Scope", "check_expression", "set_compiler"]


class Scope:
    """What the expressions of one policy share: whether it has parameters, its variables."""

    __slots__ = ("_checker", "params", "variables")

    def __init__(self, *, params: bool = False) -> None:
        self.params = params
        # Names and expressions, in order; what is checked later may refer to them.
        self.variables: list[tuple[str, str]] = []
        self._checker: Any = None

    def declare(self, name: str, expression: str) -> str:
        """Add a variable; returns what is wrong with its expression, "" if nothing."""
        self.variables.append((name, expression))
        if _compiler is None:
            return ""
        return str(self.checker().declare(name, expression))

    def checker(self) -> Any:
        """What compiles the policy's expressions."""
        if self._checker is None:
            from cove.kube.cel._policy import PolicyChecker

            self._checker = PolicyChecker(params=self.params)
        return self._checker


Compiler = Callable[[str, str, Scope], str]


def _compile(expression: str, purpose: str, scope: Scope) -> str:
    if purpose == "device":
        from cove.kube.cel._policy import check_device

        return check_device(expression)
    return str(scope.checker().check(expression, purpose))


_compiler: Compiler | None = _compile


def set_compiler(compiler: Compiler | None) -> None:
    """Judge expressions with ``compiler(expression, purpose, scope)`` from now on.

    It returns "" or a fault; None lets every expression pass.
    """
    global _compiler
    _compiler = compiler


def check_expression(
    errors: list[FieldError], path: str, expression: str, purpose: str, scope: Scope | None = None
) -> None:
    """Append what the compiler says against an expression.

    Purposes: ``device`` (resource.k8s.io selectors), ``match`` (matchConditions),
    ``validation``, ``message``, ``audit`` (of validating policies), ``apply``, ``patch``
    (mutating policies' expressions).
    """
    if _compiler is not None:
        problem = _compiler(expression, purpose, scope or Scope())
        if problem:
            errors.append(fe.invalid(path, expression, problem))
