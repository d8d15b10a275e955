"""Resource: one thing that an application declares, and how it runs.

A declaration holds plain values and can be run many times; everything that lives belongs
to a :class:`Run`, which an application that runs makes anew for every start.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from cove.host.errors import AppError, InvalidNameError
from cove.host.graph import Edge, Need, Node

if TYPE_CHECKING:
    from cove.host.app import App
    from cove.host.run import Run

__all__ = ["Resource", "checked_name"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def checked_name(what: str, name: object) -> str:
    """A name that can be part of a host name, a file and a variable; raises InvalidNameError."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidNameError(f"the name of {what} is blank: give it one, such as web")
    if not _NAME.fullmatch(name):
        raise InvalidNameError(
            f'"{name}" is no name for {what}: use lower-case letters, digits and "-", at most 63, '
            "starting and ending with a letter or digit"
        )
    return name


class Resource(ABC):
    """What all resources have in common.

    ``others`` are resources or their names; a name may be declared later.  Saying the same
    twice changes nothing.  All methods return the resource, so that they can be chained.
    """

    kind: ClassVar[str]
    # Whether it can come to an end by itself, with success.
    completes: ClassVar[bool] = False

    def __init__(
        self, app: App, name: str, *, parent: Resource | None = None, explicit_start: bool = False
    ) -> None:
        self.name = checked_name(f"a {self.kind}", name)
        self.app = app
        self.parent = parent
        self.explicit = explicit_start
        self._needs: dict[tuple[str, Need], None] = {}
        app.declare(self)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} of {self.app.name}>"

    def wait_for(self, *others: Resource | str) -> Self:
        """Start when these are healthy: they run and are well, or have succeeded."""
        return self._need(others, Need.HEALTHY)

    def after(self, *others: Resource | str) -> Self:
        """Start when these have completed with success."""
        return self._need(others, Need.COMPLETED)

    def explicit_start(self) -> Self:
        """Do not start with the application but when told to: ``cove start NAME``."""
        self.explicit = True
        return self

    def _need(self, others: Iterable[Resource | str], need: Need) -> Self:
        for other in others:
            if isinstance(other, Resource) and other.app is not self.app:
                raise AppError(
                    f"{self.name} {need} {other.name}, which belongs to another application, "
                    f'"{other.app.name}"'
                )
            name = other.name if isinstance(other, Resource) else other
            if not name.strip():
                raise InvalidNameError(f"{self.name} {need} something without a name")
            self._needs[(name, need)] = None
        return self

    @property
    def node(self) -> Node:
        """What the graph knows of it."""
        return Node(self.name, self.kind, self.parent.name if self.parent else "", self.completes)

    @property
    def edges(self) -> list[Edge]:
        """What it needs of others."""
        return [Edge(self.name, target, need) for target, need in self._needs]

    @property
    def references(self) -> list[str]:
        """The names of what it refers to, in the order of declaration."""
        return [target for target, need in self._needs if need is Need.REFERENCE]

    @property
    def for_containers(self) -> bool:
        """Whether a container refers to it, and so has to reach it."""
        others = self.app.resources.values()
        return any(o.kind == "container" and self.name in o.references for o in others)

    @property
    def properties(self) -> Mapping[str, str]:
        """What is known of it before it runs, for people."""
        return {}

    @abstractmethod
    async def run(self, run: Run) -> int | None:
        """Do what it does until its end, or until cancelled.

        Tells through ``run`` how it is.  Returns its exit code, None or 0 for success;
        raises CoveError with the reason when it fails, having cleaned up.
        """
