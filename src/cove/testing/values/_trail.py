"""Trails: from where a value was taken, step by step, and of which type it is there.

A trail is a chain, so that a step costs the same anywhere in a document; the path and the
type are worked out when somebody asks.
"""

from __future__ import annotations

from typing import Any

from cove.kube.catalogue import resource, schema
from cove.kube.schema import Node
from cove.testing.timeline import Call, Link

__all__ = ["Trail"]

_UNKNOWN = Node("any")


class Trail:
    """A place.  ``start`` is the link of the beginning, None where nothing is recorded.

    ``kind`` is what the document that is here says it is: apiVersion and kind.
    """

    __slots__ = ("_node", "_start", "kind", "parent", "step")

    def __init__(
        self, start: Link | None, parent: Trail | None = None, step: str | int = ""
    ) -> None:
        self._start = start
        self.parent = parent
        self.step = step
        self.kind: tuple[Any, Any] | None = None
        self._node: Node | None = None

    def __truediv__(self, step: str | int) -> Trail:
        return Trail(self._start, self, step)

    @property
    def path(self) -> tuple[str | int, ...]:
        """From where it began to here."""
        steps: list[str | int] = []
        trail = self
        while trail.parent is not None:
            steps.append(trail.step)
            trail = trail.parent
        before = self._start.path if self._start is not None else ()
        return (*before, *reversed(steps))

    @property
    def recorded(self) -> bool:
        """Whether it leads to a call."""
        return self._start is not None

    @property
    def link(self) -> Link | None:
        """The call, and the way from there; None where nothing is recorded."""
        return self._start._replace(path=self.path) if self._start is not None else None

    @property
    def node(self) -> Node | None:
        """The type of what is here; None if the catalogue does not know it."""
        if self._node is None:
            self._node = self._find() or _UNKNOWN
        return None if self._node.type == "any" else self._node

    def _find(self) -> Node | None:
        if self.parent is None:
            return self._said() or _answer(self._start)
        above = self.parent.node
        found = None
        if above is not None:
            if isinstance(self.step, str) and self.step in above.fields:
                found = above.fields[self.step].node
            elif above.type in ("map", "list"):
                found = above.items
        return self._said() if found is None or found.type == "any" else found

    def _said(self) -> Node | None:
        version, kind = self.kind or (None, None)
        if not (isinstance(version, str) and isinstance(kind, str)):
            return None
        group, _, version = version.rpartition("/")
        return _schema(group, version, kind)


def _schema(group: str, version: str, kind: str) -> Node | None:
    try:
        return schema(group, version, kind)
    except KeyError:
        return None


def _answer(link: Link | None) -> Node | None:
    """The type of what a call answered: objects in a list do not say their kind."""
    call = link.timeline.find(link.call) if link is not None else None
    if link is None or not isinstance(call, Call) or call.subresource not in ("", "status"):
        return None
    found = resource(call.group, call.version, call.resource)
    if found is None:
        return None
    listed = call.verb in ("list", "deletecollection")
    if listed and len(link.path) == 2 and link.path[0] == "items":
        return _schema(call.group, call.version, found.kind)
    if not link.path and call.verb != "delete":
        return _schema(call.group, call.version, found.kind + ("List" if listed else ""))
    return None
