"""How a Job stands: whether it is decided, suspended, over.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#success-policy
"""

from __future__ import annotations

from typing import Any

from cove.controllers._conditions import find, seconds_since
from cove.controllers.job._policy import failure_action, parse_indexes
from cove.controllers.job._tally import Tally

__all__ = ["Verdict"]

Doc = dict[str, Any]


class Verdict(Tally):
    """The conditions a Job is to have."""

    # (condition, reason, message) that the Job is to end with, None while it goes on.
    verdict: tuple[str, str, str] | None = None

    def _verdict(self) -> tuple[str, str, str] | None:
        """(condition, reason, message) that the Job is to end with, None while it goes on."""
        conditions = self.status.get("conditions")
        for type in ("FailureTarget", "SuccessCriteriaMet"):
            known = find(conditions, type)
            if known is not None and known.get("status") == "True":
                return type, known.get("reason", ""), known.get("message", "")
        if self.fail_message:
            return "FailureTarget", "PodFailurePolicy", self.fail_message
        limit = self.spec.get("backoffLimit", 6)
        failed = self._total("failed") + self._delayed_failures()
        if failed > limit or self._restarts_exceed(limit):
            return (
                "FailureTarget",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            )
        if self._past_deadline():
            return (
                "FailureTarget",
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
            )
        if self.failed_indexes:
            most = self.spec.get("maxFailedIndexes")
            if most is not None and len(self.failed_indexes) > most:
                return (
                    "FailureTarget",
                    "MaxFailedIndexesExceeded",
                    "Job has exceeded the specified maximal number of failed indexes",
                )
            done = len(self.failed_indexes | self.indexes)
            if self.completions is not None and done >= self.completions:
                return "FailureTarget", "FailedIndexes", "Job has failed indexes"
        met = self._success_policy()
        if met is not None:
            return met
        succeeded = self._total("succeeded")
        if self.completions is None:
            complete = succeeded > 0 and not self.active
        else:
            complete = succeeded >= self.completions
        if complete and not (self.completions == 0 and self.active):
            return (
                "SuccessCriteriaMet",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            )
        return None

    def _delayed_failures(self) -> int:
        pods = self.delayed.values()
        return sum(failure_action(self.job, p)[0] != "Ignore" for p in pods)

    def _success_policy(self) -> tuple[str, str, str] | None:
        policy = self.spec.get("successPolicy")
        if not policy or not self.indexed:
            return None
        for number, rule in enumerate(policy.get("rules") or ()):
            done = self.indexes
            if rule.get("succeededIndexes"):
                wanted = parse_indexes(rule["succeededIndexes"], self.completions or 0)
                done = done & wanted
                enough = len(done) >= rule.get("succeededCount", len(wanted))
            else:
                enough = len(done) >= rule.get("succeededCount", self.completions or 0)
            if enough:
                return "SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {number}"
        return None

    def _restarts_exceed(self, limit: int) -> bool:
        if self.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
            return False
        restarts = 0
        for pod in self.pods:
            status = pod.get("status", {})
            if status.get("phase") in ("Running", "Pending"):
                for field in ("initContainerStatuses", "containerStatuses"):
                    restarts += sum(c.get("restartCount", 0) for c in status.get(field) or ())
        return restarts > 0 if limit == 0 else restarts >= limit

    def _past_deadline(self) -> bool:
        seconds = self.spec.get("activeDeadlineSeconds")
        started = self.status.get("startTime")
        if seconds is None or started is None or self.spec.get("suspend"):
            return False
        left = seconds - seconds_since(started, self.now)
        if left <= 0:
            return True
        self.c.queue.add_after(self.key, left)
        return False

    def _suspension(self) -> None:
        """The Suspended condition, and the start that begins anew with each resumption."""
        suspended = bool(self.spec.get("suspend"))
        known = find(self.status.get("conditions"), "Suspended")
        is_told = known is not None and known.get("status") == "True"
        if self.verdict is None:
            if suspended and not is_told:
                self._condition("Suspended", "True", "JobSuspended", "Job suspended")
                self.status.pop("startTime", None)
                self._event("Normal", "Suspended", "Job suspended")
            elif not suspended and is_told:
                self._condition("Suspended", "False", "JobResumed", "Job resumed")
                self.status["startTime"] = self.stamp
                self._event("Normal", "Resumed", "Job resumed")
        if not suspended and not self.status.get("startTime"):
            self.status["startTime"] = self.stamp
            if self.spec.get("activeDeadlineSeconds") is not None:
                self.c.queue.add_after(self.key, float(self.spec["activeDeadlineSeconds"]))

    def _conclude(self, terminating: int) -> None:
        """Tell the verdict at once, and the end when the last pod has ended."""
        if self.verdict is None:
            return
        type, reason, message = self.verdict
        self._condition(type, "True", reason, message)
        if self.active or terminating or self.uncounted:
            return
        if type == "SuccessCriteriaMet":
            self._condition("Complete", "True", reason, message)
            self.status["completionTime"] = self.stamp
            self._event("Normal", "Completed", "Job completed")
        else:
            self._condition("Failed", "True", reason, message)
            self._event("Warning", reason, message)
