"""What an apply can fail with.

Source: ``k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go``.
"""

from __future__ import annotations

from cove.kube.apply._managed import ManagerId
from cove.kube.apply.fieldset import path_text
from cove.kube.status import StatusError

__all__ = ["ApplyConflictError", "ApplyError"]


class ApplyError(StatusError):
    """A configuration that cannot be applied: 500 without reason, as upstream answers it."""

    def __init__(self, message: str) -> None:
        super().__init__(500, "", message)


class ApplyConflictError(StatusError):
    """409: others own fields that the configuration wants to change.

    ``conflicts`` are (manager, path of elements) pairs.
    """

    def __init__(self, conflicts: list[tuple[ManagerId, tuple[str, ...]]]) -> None:
        self.conflicts = conflicts
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {manager.describe()}",
                "field": path_text(path),
            }
            for manager, path in conflicts
        ]
        super().__init__(409, "Conflict", _conflict_text(conflicts), {"causes": causes})


def _conflict_text(conflicts: list[tuple[ManagerId, tuple[str, ...]]]) -> str:
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        return (
            f"Apply failed with 1 conflict: conflict with {manager.describe()}: {path_text(path)}"
        )
    by_manager: dict[ManagerId, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(manager, []).append(path_text(path))
    lines: list[str] = []
    for manager in sorted(by_manager):
        lines.append(f"conflicts with {manager.describe()}:")
        lines += [f"- {path}" for path in by_manager[manager]]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
