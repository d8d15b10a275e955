"""The types of batch/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, ObjectMeta, ObjectReference, Part, builtin, field
from cove.operator.kinds import core_v1, meta_v1
from cove.operator.markers import Int32, ListSet, Required

__all__ = [
    "CronJob",
    "CronJobSpec",
    "CronJobStatus",
    "Job",
    "JobCondition",
    "JobSpec",
    "JobStatus",
    "JobTemplateSpec",
    "PodFailurePolicy",
    "PodFailurePolicyOnExitCodesRequirement",
    "PodFailurePolicyOnPodConditionsPattern",
    "PodFailurePolicyRule",
    "SuccessPolicy",
    "SuccessPolicyRule",
    "UncountedTerminatedPods",
]


class PodFailurePolicyOnExitCodesRequirement(Part):
    container_name: str | None = None
    operator: str
    values: Annotated[list[Int32], ListSet(), Required()] = []


class PodFailurePolicyOnPodConditionsPattern(Part):
    type: str
    status: str = ""


class PodFailurePolicyRule(Part):
    action: str
    on_exit_codes: PodFailurePolicyOnExitCodesRequirement | None = None
    on_pod_conditions: list[PodFailurePolicyOnPodConditionsPattern] = []


class PodFailurePolicy(Part):
    rules: Annotated[list[PodFailurePolicyRule], Required()] = []


class SuccessPolicyRule(Part):
    succeeded_indexes: str | None = None
    succeeded_count: Int32 | None = None


class SuccessPolicy(Part):
    rules: Annotated[list[SuccessPolicyRule], Required()] = []


class JobSpec(Part):
    parallelism: Int32 | None = None
    completions: Int32 | None = None
    active_deadline_seconds: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    success_policy: SuccessPolicy | None = None
    backoff_limit: Int32 | None = None
    backoff_limit_per_index: Int32 | None = None
    max_failed_indexes: Int32 | None = None
    selector: meta_v1.LabelSelector | None = None
    manual_selector: bool | None = None
    template: core_v1.PodTemplateSpec
    ttl_seconds_after_finished: Int32 | None = None
    completion_mode: str | None = None
    suspend: bool | None = None
    pod_replacement_policy: str | None = None
    managed_by: str | None = None


class JobTemplateSpec(Part):
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: JobSpec


class CronJobSpec(Part):
    schedule: str
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = ""
    suspend: bool | None = None
    job_template: JobTemplateSpec
    successful_jobs_history_limit: Int32 | None = None
    failed_jobs_history_limit: Int32 | None = None


class CronJobStatus(Part):
    active: list[ObjectReference] = []
    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


@builtin("batch/v1", "cronjobs", short_names=("cj",), categories=("all",))
class CronJob(Kind):
    spec: CronJobSpec
    status: CronJobStatus = field(default_factory=CronJobStatus)


class JobCondition(Part):
    type: str
    status: str
    last_probe_time: datetime | None = None
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class UncountedTerminatedPods(Part):
    succeeded: Annotated[list[str], ListSet()] = []
    failed: Annotated[list[str], ListSet()] = []


class JobStatus(Part):
    conditions: list[JobCondition] = []
    start_time: datetime | None = None
    completion_time: datetime | None = None
    active: Int32 = 0
    succeeded: Int32 = 0
    failed: Int32 = 0
    terminating: Int32 | None = None
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None
    ready: Int32 | None = None


@builtin("batch/v1", "jobs", categories=("all",))
class Job(Kind):
    spec: JobSpec
    status: JobStatus = field(default_factory=JobStatus)
