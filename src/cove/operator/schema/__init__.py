"""JSON Schemas as CustomResourceDefinitions want them, made of types, docstrings and markers.

    >>> schema_of(CacheSpec)
    {"type": "object", "properties": {"size": {"type": "integer", "format": "int64", …

What a structural schema cannot express — unions, types that contain themselves, markers that
do not fit — raises :class:`~cove.operator.errors.SchemaError` with the field's path.
"""

from __future__ import annotations

from typing import Any

from cove.operator.markers import Column
from cove.operator.schema._builder import Builder, Found

__all__ = ["Column", "Found", "schema_of"]


def schema_of(hint: Any, path: str = "") -> dict[str, Any]:
    """The schema of a type, as it stands in a CRD; errors start their paths at ``path``."""
    return Builder().schema(hint, path)
