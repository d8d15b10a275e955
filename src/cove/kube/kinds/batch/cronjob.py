"""CronJob.  Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/"""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds import _podspec
from cove.kube.kinds._checks import non_negative
from cove.kube.kinds._gojson import ordered
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age, bool_text, containers, since
from cove.kube.kinds.batch._cron import schedule_problem
from cove.kube.kinds.batch.job import default_rules, validate_job_spec
from cove.kube.labels import format_document

__all__ = ["CronJob"]


@lru_cache(64)
def _zone_problem(zone: str) -> str:
    if not zone:
        return "timeZone must be nil or non-empty string"
    if zone.lower() == "local":
        return (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
    if ".." in zone or zone.startswith(("/", "\\")) or "\\" in zone:
        return "time: invalid location name"
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"unknown time zone {zone}"
    return ""


class CronJob(Kind):
    """Jobs at times."""

    generation = True
    status = True
    empty_status = MappingProxyType({})

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
        _podspec.default_spec(job.setdefault("template", {}).setdefault("spec", {}))
        default_rules(job)
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        for key, value in (
            ("suspend", False),
            ("successfulJobsHistoryLimit", 3),
            ("failedJobsHistoryLimit", 1),
        ):
            if spec.get(key) is None:
                spec[key] = value

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        name = obj["metadata"].get("name") or ""
        self._validate(errors, obj["spec"], None)
        if len(name) > 52:
            errors.append(fe.invalid("metadata.name", name, "must be no more than 52 characters"))
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        self._validate(errors, obj["spec"], old["spec"])
        return errors

    def _validate(self, errors: list[FieldError], spec: Obj, old: Obj | None) -> None:
        schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
        if not schedule:
            errors.append(fe.required("spec.schedule"))
        else:
            self._schedule(errors, schedule, zone, old)
        non_negative(errors, "spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
        if zone is not None and (old is None or old.get("timeZone") != zone):
            problem = _zone_problem(zone)
            if problem:
                errors.append(fe.invalid("spec.timeZone", zone, problem))
        policy = spec.get("concurrencyPolicy") or ""
        if not policy:
            errors.append(fe.required("spec.concurrencyPolicy"))
        elif policy not in ("Allow", "Forbid", "Replace"):
            errors.append(
                fe.not_supported("spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace"))
            )
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        path = "spec.jobTemplate.spec"
        validate_job_spec(errors, path, job)
        if job.get("selector") is not None:
            errors.append(
                fe.invalid(
                    f"{path}.selector",
                    ordered(job["selector"]),
                    "`selector` will be auto-generated",
                )
            )
        if job.get("manualSelector"):
            errors.append(fe.not_supported(f"{path}.manualSelector", True, ("nil", "false")))
        for key in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            non_negative(errors, f"spec.{key}", spec.get(key))

    def _schedule(
        self, errors: list[FieldError], schedule: str, zone: str | None, old: Obj | None
    ) -> None:
        path = "spec.schedule"
        if schedule.startswith(("TZ=", "CRON_TZ=")) or "TZ" in schedule.split(" ")[0]:
            if zone is not None:
                errors.append(
                    fe.invalid(
                        path,
                        schedule,
                        "cannot use both timeZone field and TZ or CRON_TZ in schedule",
                    )
                )
            elif old is None or old.get("schedule") != schedule:
                errors.append(
                    fe.invalid(
                        path,
                        schedule,
                        "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                    )
                )
            return
        problem = schedule_problem(schedule)
        if problem:
            errors.append(fe.invalid(path, schedule, problem))

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        if old is None:
            faults = names.is_dns1123_label(obj["metadata"].get("name") or "")
            if faults:
                out = _podspec.name_warnings(obj["metadata"]["name"])
        spec = obj["spec"]
        if "TZ" in (spec.get("schedule") or ""):
            out.append(
                "CRON_TZ or TZ used in spec.schedule is not officially supported, see "
                "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            )
        template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
        if old is None or (old["spec"].get("jobTemplate") != spec.get("jobTemplate")):
            out += _podspec.spec_warnings(
                "spec.jobTemplate.spec.template",
                template.get("metadata") or {},
                template.get("spec") or {},
            )
        return out

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        last = status.get("lastScheduleTime")
        zone = spec.get("timeZone")
        return [
            obj["metadata"].get("name", ""),
            spec.get("schedule") or "",
            "<none>" if zone is None else zone,
            bool_text(spec.get("suspend")),
            len(status.get("active") or ()),
            since(last, now) if last else "<none>",
            age(obj, now),
            *containers(((job.get("template") or {}).get("spec") or {}).get("containers")),
            format_document(job.get("selector")),
        ]
