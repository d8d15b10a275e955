"""What a worker knows of one container, and how its status tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cove.client import Clock, Tasks
from cove.kube.times import format_time, parse_time
from cove.node.driver import ContainerState
from cove.node.pods.backoff import BackOff

__all__ = ["Container", "Exit", "Kind", "exit_of"]

Doc = Mapping[str, Any]
Kind = Literal["init", "sidecar", "main", "ephemeral"]

RUNTIME = "docker://"
# What a container that nobody can find is said to have ended with.
LOST = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended; ``at`` is the clock's monotonic time of it."""

    code: int
    reason: str
    id: str
    started: str
    finished: str
    at: float
    message: str = ""

    def state(self) -> dict[str, Any]:
        """A ContainerState document."""
        doc: dict[str, Any] = {
            "exitCode": self.code,
            "reason": self.reason,
            "startedAt": self.started,
            "finishedAt": self.finished,
        }
        if self.id:
            doc["containerID"] = RUNTIME + self.id
        if self.message:
            doc["message"] = self.message
        return {"terminated": doc}


def when(text: str | None) -> str | None:
    """An engine's time as statuses write it; None for its zero."""
    if not text or text.startswith("0001-"):
        return None
    return format_time(parse_time(text))


def exit_of(inspected: Doc, clock: Clock, message: str = "") -> Exit:
    """How an inspected container ended."""
    state = inspected["State"]
    code = int(state.get("ExitCode") or 0)
    if state.get("OOMKilled"):
        reason = "OOMKilled"
    else:
        reason = "Completed" if code == 0 else "Error"
    now = format_time(clock.now())
    return Exit(
        code=code,
        reason=reason,
        id=str(inspected["Id"]),
        started=when(state.get("StartedAt")) or now,
        finished=when(state.get("FinishedAt")) or now,
        at=clock.monotonic(),
        message=message or str(state.get("Error") or ""),
    )


@dataclass(slots=True, eq=False)
class Container:
    """One container of a pod, over all its attempts."""

    name: str
    kind: Kind
    backoff: BackOff
    # That of the attempt that is current, "" before the first.
    id: str = ""
    attempt: int = -1
    running: str = ""
    exit: Exit | None = None
    last: Exit | None = None
    waiting: tuple[str, str] = ("ContainerCreating", "")
    image: str = ""
    image_id: str = ""
    ready: bool = False
    started: bool | None = None
    # The resources that it runs with; None: nobody has looked.
    resources: Mapping[str, Any] | None = None
    # The attempt before, kept for its log.
    previous: str = ""
    changed: bool = False
    # Problems of images have a back-off of their own: (since, seconds), monotonic.
    image_backoff: BackOff | None = None
    image_failed: float = 0.0
    probes: Tasks = field(default_factory=Tasks)

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(self.attempt, 0)

    def up(self) -> bool:
        """Whether it runs and whoever waits for it may go on."""
        return bool(self.running) and self.started is not False

    def state(self) -> ContainerState:
        """For the pod's status."""
        if self.running:
            state: dict[str, Any] = {"running": {"startedAt": self.running}}
        elif self.exit is not None and not self.waiting[0]:
            state = self.exit.state()
        else:
            reason, message = self.waiting
            state = {"waiting": {"reason": reason or "ContainerCreating"}}
            if message:
                state["waiting"]["message"] = message
        last = self.last
        if "waiting" in state and self.exit is not None:
            last = self.exit
        done = self.kind == "init" and self.exit is not None and self.exit.code == 0
        return ContainerState(
            state,
            ready=self.ready or done,
            restarts=self.restarts,
            id=RUNTIME + self.id if self.id else "",
            image_id=self.image_id,
            last=last.state() if last is not None else {},
            image=self.image,
            started=self.started if self.running else None,
            resources=self.resources,
        )
