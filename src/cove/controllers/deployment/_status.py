"""A Deployment's status: counts, and the conditions Available and Progressing.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cove.controllers._conditions import find, seconds_since
from cove.controllers.deployment._revisions import (
    max_unavailable,
    replicas,
    spec_sum,
    status_sum,
)
from cove.kube.times import format_time

__all__ = ["calculate", "complete", "condition", "has_deadline", "roll_out", "set_condition"]

Doc = dict[str, Any]

AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"
# Without a deadline the field is absent or this.
NO_DEADLINE = 2147483647


def has_deadline(deployment: Doc) -> bool:
    """Whether its progress is timed."""
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return seconds is not None and seconds != NO_DEADLINE


def condition(type: str, status: str, reason: str, message: str, now: datetime) -> Doc:
    """A new condition."""
    stamp = format_time(now)
    return {
        "type": type,
        "status": status,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }


def set_condition(status: Doc, new: Doc) -> None:
    """Put a condition in; one of equal status and reason stays as it is."""
    conditions: list[Doc] = status.get("conditions", [])
    known = find(conditions, new["type"])
    if known is not None:
        if known["status"] == new["status"] and known.get("reason") == new["reason"]:
            return
        if known["status"] == new["status"]:
            new["lastTransitionTime"] = known.get("lastTransitionTime")
    status["conditions"] = [c for c in conditions if c["type"] != new["type"]] + [new]


def remove_condition(status: Doc, type: str) -> None:
    """Take a condition out."""
    status["conditions"] = [c for c in status.get("conditions", ()) if c["type"] != type]


def calculate(deployment: Doc, sets: Sequence[Doc], new: Doc | None, now: datetime) -> Doc:
    """The counts, the old conditions, and Available."""
    old = deployment.get("status", {})
    available = status_sum(sets, "availableReplicas")
    status: Doc = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    counts = {
        "replicas": status_sum(sets, "replicas"),
        "updatedReplicas": status_sum([new] if new else [], "replicas"),
        "readyReplicas": status_sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(spec_sum(sets) - available, 0),
    }
    status.update({k: v for k, v in counts.items() if v})
    if all("terminatingReplicas" in rs.get("status", {}) for rs in sets):
        status["terminatingReplicas"] = status_sum(sets, "terminatingReplicas")
    if old.get("collisionCount") is not None:
        status["collisionCount"] = old["collisionCount"]
    status["conditions"] = list(old.get("conditions", ()))
    if available >= replicas(deployment) - max_unavailable(deployment):
        verdict = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        verdict = (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    set_condition(status, condition("Available", *verdict, now))
    return status


def complete(deployment: Doc, status: Doc) -> bool:
    """Whether every pod is of the new template and available."""
    wanted = replicas(deployment)
    return bool(
        status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )


def _progressing(old: Doc, new: Doc) -> bool:
    def left(status: Doc) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    counts = ("updatedReplicas", "readyReplicas", "availableReplicas")
    grown: bool = any(new.get(k, 0) > old.get(k, 0) for k in counts)
    return bool(grown or left(new) < left(old))


def timed_out(deployment: Doc, status: Doc, now: datetime) -> bool:
    """Whether nothing has progressed for the deadline."""
    progressing = find(status.get("conditions"), "Progressing")
    if progressing is None or progressing.get("reason") == AVAILABLE:
        return False
    if progressing.get("reason") == TIMED_OUT:
        return True
    seconds: int = deployment["spec"]["progressDeadlineSeconds"]
    return bool(seconds_since(progressing.get("lastUpdateTime"), now) > seconds)


def roll_out(deployment: Doc, sets: Sequence[Doc], new: Doc | None, now: datetime) -> Doc:
    """The status with Progressing and ReplicaFailure told."""
    status = calculate(deployment, sets, new, now)
    if not has_deadline(deployment):
        remove_condition(status, "Progressing")
    old = deployment.get("status", {})
    current = find(old.get("conditions"), "Progressing")
    done = (
        current is not None
        and current.get("reason") == AVAILABLE
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
    )
    if has_deadline(deployment) and not done:
        _progress(deployment, status, current, new, now)
    failures = [
        c
        for rs in ([new] if new else sets)
        for c in rs.get("status", {}).get("conditions", ())
        if c["type"] == "ReplicaFailure"
    ]
    if failures:
        known = failures[0]
        set_condition(
            status,
            condition(
                "ReplicaFailure",
                known["status"],
                known.get("reason", ""),
                known.get("message", ""),
                now,
            ),
        )
    else:
        remove_condition(status, "ReplicaFailure")
    return status


def _progress(
    deployment: Doc, status: Doc, current: Doc | None, new: Doc | None, now: datetime
) -> None:
    what = (
        f'ReplicaSet "{new["metadata"]["name"]}"'
        if new is not None
        else f'Deployment "{deployment["metadata"]["name"]}"'
    )
    if complete(deployment, status):
        set_condition(
            status,
            condition(
                "Progressing", "True", AVAILABLE, f"{what} has successfully progressed.", now
            ),
        )
    elif _progressing(deployment.get("status", {}), status):
        fresh = condition(
            "Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.", now
        )
        # Unlike other conditions this one is renewed each time: its lastUpdateTime is
        # what the deadline counts from.
        if current is not None and current["status"] == "True":
            fresh["lastTransitionTime"] = current.get("lastTransitionTime")
        remove_condition(status, "Progressing")
        status["conditions"].append(fresh)
    elif timed_out(deployment, status, now):
        set_condition(
            status,
            condition("Progressing", "False", TIMED_OUT, f"{what} has timed out progressing.", now),
        )
