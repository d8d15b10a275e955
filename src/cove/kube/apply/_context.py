"""What field management has to know about one write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube.apply.fieldset import LEAF, FieldSet
from cove.kube.schema import Node

__all__ = ["Context"]

Obj = dict[str, Any]


def _no_schema(_version: str) -> Node | None:
    return None


def _no_conversion(obj: Obj, _version: str) -> Obj:
    return obj


class Context:
    """Of one write: who, through which version and subresource, when.

    ``manager`` is the field manager's name ("" becomes "unknown"); ``now`` an RFC 3339
    text; ``schema`` the type of the kind at ``api_version``.  ``schema_for`` gives it at
    another version that managedFields may tell, None if that is served no more, and
    ``convert`` a document at that version.  ``reset`` names what this endpoint cannot
    write (``{"f:status": {}}`` on the main resource), by version in ``reset_for``.
    ``custom`` is True for custom resources, whose empty object is really empty.
    """

    __slots__ = (
        "api_version",
        "convert",
        "custom",
        "manager",
        "now",
        "reset",
        "reset_for",
        "schema",
        "schema_for",
        "subresource",
    )

    def __init__(
        self,
        *,
        manager: str,
        api_version: str,
        schema: Node,
        now: str,
        subresource: str = "",
        schema_for: Callable[[str], Node | None] = _no_schema,
        convert: Callable[[Obj, str], Obj] = _no_conversion,
        reset: FieldSet = LEAF,
        reset_for: Callable[[str], FieldSet] | None = None,
        custom: bool = False,
    ) -> None:
        self.manager = manager or "unknown"
        self.api_version = api_version
        self.schema = schema
        self.now = now
        self.subresource = subresource
        self.schema_for = schema_for
        self.convert = convert
        self.reset = reset
        self.reset_for = reset_for
        self.custom = custom

    def node(self, version: str) -> Node | None:
        """The type at a version."""
        return self.schema if version == self.api_version else self.schema_for(version)

    def at(self, obj: Obj, version: str) -> Obj:
        """A document at a version."""
        return obj if version == self.api_version else self.convert(obj, version)

    def ignored(self, version: str) -> FieldSet:
        """What is reset at a version."""
        if version == self.api_version or self.reset_for is None:
            return self.reset
        return self.reset_for(version)
