"""Tests on clusters of one's own.

What is used is imported when it is first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cove.testing.operators import OperatorWorld, operating, operator_fixture

__all__ = ["OperatorWorld", "operating", "operator_fixture"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cove.testing' has no attribute {name!r}")
    from cove.testing import operators

    value = getattr(operators, name)
    globals()[name] = value
    return value
