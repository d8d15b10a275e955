"""Validation of a Job's status.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/#JobStatus
"""

from __future__ import annotations

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import non_negative
from cove.kube.kinds._kind import Obj

__all__ = ["validate_job_status"]

_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")


def _true(status: Obj, kind: str) -> bool:
    return any(
        c.get("type") == kind and c.get("status") == "True" for c in status.get("conditions") or ()
    )


def validate_job_status(obj: Obj, old: Obj) -> list[FieldError]:
    """What is wrong with a new status, given the job before."""
    errors: list[FieldError] = []
    status, before, spec = obj.get("status") or {}, old.get("status") or {}, old.get("spec") or {}
    for key in _COUNTS:
        non_negative(errors, f"status.{key}", status.get(key))
    uncounted = status.get("uncountedTerminatedPods")
    if uncounted is not None:
        seen: set[str] = set()
        for key in ("succeeded", "failed"):
            for i, uid in enumerate(uncounted.get(key) or ()):
                at = f"status.uncountedTerminatedPods.{key}[{i}]"
                if not uid:
                    errors.append(fe.invalid(at, uid, "must not be empty"))
                elif uid in seen:
                    errors.append(fe.duplicate(at, uid))
                seen.add(uid)
    complete, failed = _true(status, "Complete"), _true(status, "Failed")
    finished, was_finished = (
        complete or failed,
        _true(before, "Complete") or _true(before, "Failed"),
    )
    was_complete = _true(before, "Complete")
    if complete and failed:
        errors.append(
            fe.invalid(
                "status.conditions", None, "cannot set Complete=True and Failed=true conditions"
            )
        )
    if complete and _true(status, "FailureTarget"):
        errors.append(
            fe.invalid(
                "status.conditions",
                None,
                "cannot set Complete=True and FailureTarget=true conditions",
            )
        )
    if status.get("completionTime") is not None and not complete:
        errors.append(
            fe.invalid(
                "status.completionTime",
                status["completionTime"],
                "cannot set completionTime when there is no Complete=True condition",
            )
        )
    if complete and status.get("completionTime") is None:
        errors.append(
            fe.required("status.completionTime", "completionTime is required for Complete jobs")
        )
    if finished and not was_finished:
        active = status.get("active") or 0
        if active > 0:
            errors.append(
                fe.invalid("status.active", active, "active>0 is invalid for finished job")
            )
        if status.get("startTime") is None and not _true(status, "Suspended"):
            errors.append(fe.required("status.startTime", "startTime is required for finished job"))
        if complete and not _true(status, "SuccessCriteriaMet"):
            errors.append(
                fe.invalid(
                    "status.conditions",
                    None,
                    "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
                )
            )
        if failed and not _true(status, "FailureTarget"):
            errors.append(
                fe.invalid(
                    "status.conditions",
                    None,
                    "cannot set Failed=True condition without the FailureTarget=true condition",
                )
            )
    errors += [
        fe.invalid("status.conditions", None, f"cannot disable the {kind}=True condition")
        for kind in ("Failed", "Complete", "FailureTarget", "SuccessCriteriaMet")
        if _true(before, kind) and not _true(status, kind)
    ]
    if was_complete and status.get("completionTime") != before.get("completionTime"):
        errors.append(
            fe.invalid("status.completionTime", status.get("completionTime"), "field is immutable")
        )
    if before.get("startTime") is not None and not spec.get("suspend"):
        if status.get("startTime") is None:
            errors.append(
                fe.required("status.startTime", "startTime cannot be removed for unsuspended job")
            )
        elif status["startTime"] != before["startTime"]:
            errors.append(
                fe.required("status.startTime", "startTime cannot be modified for unsuspended job")
            )
    return errors
