"""States of resources, as plain values: what a resource is doing, and why.

::

    NotStarted → Waiting → Starting → Running ⇄ Unhealthy → Exited | Finished
                     ↘ FailedToStart

``Finished`` is a success (exit code 0, a release deployed), ``Exited`` any other end; every
state but the first and the good ones carries a reason that a person can act on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

__all__ = ["STOPPED", "State", "Status", "Want"]

# What can be waited for.
Want = Literal["healthy", "completed"]
# The reason of what was ended by somebody's wish.
STOPPED = "stopped"


class State(StrEnum):
    """What a resource is doing."""

    NOT_STARTED = "NotStarted"
    WAITING = "Waiting"
    STARTING = "Starting"
    RUNNING = "Running"
    UNHEALTHY = "Unhealthy"
    FAILED_TO_START = "FailedToStart"
    EXITED = "Exited"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One resource at one moment.

    ``parent`` is the resource it belongs to, "" for none.  ``url`` is "" until it is
    known.  ``exit_code`` None: it has not ended, or has none.  ``waiting_for`` names what
    it waits for while it is Waiting.  ``because_of`` names the resource whose failure ended
    this one.  ``since`` is when it came into this state, seconds of the epoch.
    """

    name: str
    kind: str
    state: State = State.NOT_STARTED
    reason: str = ""
    parent: str = ""
    url: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    waiting_for: tuple[str, ...] = ()
    because_of: str = ""
    since: float = 0.0

    @property
    def healthy(self) -> bool:
        """Whether who waits for it may start: it runs and is well, or has succeeded."""
        return self.state in (State.RUNNING, State.FINISHED)

    @property
    def completed(self) -> bool:
        """Whether it ended with success."""
        return self.state is State.FINISHED

    @property
    def failed(self) -> bool:
        """Whether it ended, and not with success."""
        return self.state in (State.FAILED_TO_START, State.EXITED)

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more, or ever did."""
        return self.failed or self.state in (State.FINISHED, State.NOT_STARTED)

    def meets(self, want: Want) -> bool:
        """Whether this is what somebody waits for."""
        return self.completed if want == "completed" else self.healthy

    def __str__(self) -> str:
        said = f"{self.name} is {self.state}"
        return f"{said}: {self.reason}" if self.reason else said

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with every key always there."""
        return {
            "name": self.name,
            "kind": self.kind,
            "state": str(self.state),
            "reason": self.reason,
            "parent": self.parent,
            "url": self.url,
            "properties": dict(self.properties),
            "exitCode": self.exit_code,
            "waitingFor": list(self.waiting_for),
            "becauseOf": self.because_of,
            "since": self.since,
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Status:
        """What :meth:`to_dict` made."""
        return cls(
            name=doc["name"],
            kind=doc["kind"],
            state=State(doc["state"]),
            reason=doc["reason"],
            parent=doc["parent"],
            url=doc["url"],
            properties=dict(doc["properties"]),
            exit_code=doc["exitCode"],
            waiting_for=tuple(doc["waitingFor"]),
            because_of=doc["becauseOf"],
            since=doc["since"],
        )
