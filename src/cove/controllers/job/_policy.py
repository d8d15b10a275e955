"""What a Job's failed pods mean, and which indexes are done.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["INDEX", "failure_action", "format_indexes", "index_of", "parse_indexes"]

Doc = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Doc) -> int:
    """The completion index of a pod, -1 without one."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else -1


def parse_indexes(text: str | None, completions: int) -> set[int]:
    """``1,3-5`` as a set; what is out of range or unreadable is left out."""
    indexes: set[int] = set()
    for part in (text or "").split(","):
        first, dash, last = part.partition("-")
        if first.isdigit() and (not dash or last.isdigit()):
            indexes.update(range(int(first), int(last if dash else first) + 1))
    return {i for i in indexes if i < completions}


def format_indexes(indexes: Iterable[int]) -> str:
    """A set as ``1,3-5``; two in a row are listed, not joined."""
    parts: list[str] = []
    run: list[int] = []

    def close() -> None:
        if len(run) > 2:
            parts.append(f"{run[0]}-{run[-1]}")
        else:
            parts.extend(map(str, run))

    for index in sorted(indexes):
        if run and index != run[-1] + 1:
            close()
            run = []
        run.append(index)
    close()
    return ",".join(parts)


def _exit_code(requirement: Doc, status: Doc) -> bool:
    terminated = (status.get("state") or {}).get("terminated")
    if not terminated or not terminated.get("exitCode"):
        return False
    name = requirement.get("containerName")
    if name and name != status["name"]:
        return False
    code, values = terminated["exitCode"], requirement.get("values") or ()
    return (code in values) is (requirement["operator"] == "In")


def failure_action(job: Doc, pod: Doc) -> tuple[str, str]:
    """(action, message) of the first rule that a failed pod matches, ("Count", "") without."""
    policy = job["spec"].get("podFailurePolicy")
    if not policy:
        return "Count", ""
    metadata, status = pod["metadata"], pod.get("status", {})
    name = f"{metadata['namespace']}/{metadata['name']}"
    for number, rule in enumerate(policy.get("rules") or ()):
        action = rule["action"]
        codes = rule.get("onExitCodes")
        if codes:
            statuses = (
                *(status.get("containerStatuses") or ()),
                *(status.get("initContainerStatuses") or ()),
            )
            for container in statuses:
                if _exit_code(codes, container):
                    code = container["state"]["terminated"]["exitCode"]
                    return action, (
                        f"Container {container['name']} for pod {name} failed with exit code "
                        f"{code} matching {action} rule at index {number}"
                    )
        for pattern in rule.get("onPodConditions") or ():
            for condition in status.get("conditions") or ():
                if condition["type"] == pattern["type"] and condition["status"] == pattern.get(
                    "status", "True"
                ):
                    return action, (
                        f"Pod {name} has condition {condition['type']} matching {action} rule at "
                        f"index {number}"
                    )
    return "Count", ""
