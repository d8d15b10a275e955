"""What can be wrong with the types of an operator.

::

    CoveError
    ├── EntityError      a class, or what is asked of it, makes no sense as a Kubernetes kind
    │   └── SchemaError  a type that a CustomResourceDefinition cannot express
    └── DocumentError    a document that does not fit its type
"""

from __future__ import annotations

from cove.kube.status import CoveError

__all__ = ["DocumentError", "EntityError", "SchemaError"]


class EntityError(CoveError):
    """A declaration that cannot be."""


class SchemaError(EntityError):
    """``path`` is the field as documents name it (``spec.image``), ``problem`` what is wrong there."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class DocumentError(CoveError):
    """A document that is not of its type.

    ``path`` is the field (``spec.items[2].name``), ``expected`` what belongs there in words,
    ``got`` what is there, "" where nothing is.  ``name`` is the object's.
    """

    def __init__(self, kind: str, name: str, path: str, expected: str, got: str = "") -> None:
        what = f"{kind} {name}" if name else kind
        found = f", got {got}" if got else ""
        super().__init__(
            f"{what}: {path}: {expected}{found}" if path else f"{what}: {expected}{found}"
        )
        self.kind = kind
        self.name = name
        self.path = path
        self.expected = expected
        self.got = got
