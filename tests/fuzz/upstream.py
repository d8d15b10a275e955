"""The 500s that upstream answers, too: of patches that its libraries cannot apply."""

from __future__ import annotations

__all__ = ["UPSTREAM"]

# Words of their messages.
UPSTREAM = (
    "failed to create typed patch object",
    "failed to create typed live object",
    "list element types are not identical",
    "does not contain declared merge key",
    "strconv.",
    "unknown patch type",
    "expected a []interface {}, but received a",
    "no elements in any of the given slices",
    # Of a number: its storage says so, and nobody makes a better answer of it.
    "resourceVersion should not be set on objects to be created",
)
