"""PodDisruptionBudget: how many of a group of pods may be taken away right now.

Source: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import controller_of, key_of
from cove.client.recorder import reference
from cove.controllers._conditions import find, seconds_since
from cove.controllers._controller import Context, Controller
from cove.controllers._pods import is_ready
from cove.controllers._resources import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
)
from cove.kube.labels import from_document
from cove.kube.times import format_time

__all__ = ["DisruptionController"]

Doc = dict[str, Any]

# An eviction that was approved but never deleted its pod counts for two minutes.
DELETION_TIMEOUT = 120.0


class DisruptionController(Controller):
    """Keys are budgets."""

    name = "disruption-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.budgets = self.informer(POD_DISRUPTION_BUDGETS)
        self.pods = self.informer(PODS)
        self.owners = {
            "ReplicaSet": self.informer(REPLICA_SETS),
            "ReplicationController": self.informer(REPLICATION_CONTROLLERS),
            "StatefulSet": self.informer(STATEFUL_SETS),
            "Deployment": self.informer(DEPLOYMENTS),
        }
        self.recorder = context.recorder("controllermanager")
        self.watch_own(self.budgets)
        self.pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        pod = new or old
        assert pod is not None
        budgets = self.budgets.list(pod["metadata"]["namespace"])
        for budget in budgets:
            selector = from_document(budget["spec"].get("selector"))
            for one in (old, new):
                if one is not None and selector.matches(one["metadata"].get("labels")):
                    self.queue.add(key_of(budget))
                    break

    async def sync(self, key: str) -> None:
        """One budget."""
        budget = self.budgets.get_key(key)
        if budget is None:
            return
        spec, old = budget["spec"], budget.get("status", {})
        namespace = budget["metadata"]["namespace"]
        selector = from_document(spec.get("selector"))
        pods = [
            p
            for p in self.pods.list(namespace, selector)
            if p.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]
        expected, desired, problem = self._expected(spec, pods)
        if problem:
            await self._fail(budget, problem)
            return
        disrupted, recheck = self._disrupted(budget, pods)
        healthy = sum(
            1
            for p in pods
            if "deletionTimestamp" not in p["metadata"]
            and p["metadata"]["name"] not in disrupted
            and is_ready(p)
        )
        allowed = max(healthy - desired, 0) if expected > 0 else 0
        generation = budget["metadata"].get("generation", 0)
        status: Doc = {
            "observedGeneration": generation,
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": self._conditions(
                old,
                "True" if allowed > 0 else "False",
                "SufficientPods" if allowed > 0 else "InsufficientPods",
                "",
                generation,
            ),
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        if status != old:
            await self._write(budget, status)
        if recheck is not None:
            self.queue.add_after(key, recheck)

    async def _write(self, budget: Doc, status: Doc) -> None:
        await self.client.update(
            POD_DISRUPTION_BUDGETS, {**budget, "status": status}, subresource="status"
        )

    def _conditions(
        self, old: Doc, status: str, reason: str, message: str, generation: int
    ) -> list[Doc]:
        known = find(old.get("conditions"), "DisruptionAllowed")
        since = format_time(self.clock.now())
        if known is not None and known["status"] == status:
            since = known["lastTransitionTime"]
        condition = {
            "type": "DisruptionAllowed",
            "status": status,
            "observedGeneration": generation,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }
        others = [c for c in old.get("conditions", ()) if c["type"] != "DisruptionAllowed"]
        return [condition, *others]

    async def _fail(self, budget: Doc, problem: str) -> None:
        """Safe is to allow nothing."""
        self.recorder.event(
            reference(budget, "policy/v1", "PodDisruptionBudget"),
            "Warning",
            "CalculateExpectedPodCountFailed",
            f"Failed to calculate the number of expected pods: {problem}",
        )
        old = budget.get("status", {})
        generation = budget["metadata"].get("generation", 0)
        status = {
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
            **old,
            "disruptionsAllowed": 0,
            "observedGeneration": generation,
            "conditions": self._conditions(old, "False", "SyncFailed", problem, generation),
        }
        if status != old:
            await self._write(budget, status)

    def _expected(self, spec: Doc, pods: list[Doc]) -> tuple[int, int, str]:
        """(pods there should be, pods that must stay healthy, what is wrong)."""
        limit = spec.get("maxUnavailable")
        least = spec.get("minAvailable")
        if limit is None and not isinstance(least, str):
            return len(pods), int(least or 0), ""
        total, problem = self._scales(pods)
        if problem:
            return 0, 0, problem
        if limit is not None:
            return total, max(total - _resolve(limit, total), 0), ""
        return total, _resolve(least, total), ""

    def _scales(self, pods: list[Doc]) -> tuple[int, str]:
        """How many pods their controllers ask for together."""
        total = 0
        seen: set[str] = set()
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                return 0, f'found no controllers for pod "{pod["metadata"]["name"]}"'
            if owner["uid"] in seen:
                continue
            seen.add(owner["uid"])
            informer = self.owners.get(owner["kind"])
            found = (
                informer.get(pod["metadata"]["namespace"], owner["name"])
                if informer is not None
                else None
            )
            if found is None:
                return 0, f'found no controllers for pod "{pod["metadata"]["name"]}"'
            parent = controller_of(found)
            if parent is not None and parent["kind"] == "Deployment":
                if parent["uid"] in seen:
                    continue
                above = self.owners["Deployment"].get(pod["metadata"]["namespace"], parent["name"])
                if above is not None:
                    seen.add(parent["uid"])
                    found = above
            total += int(found["spec"].get("replicas", 1))
        return total, ""

    def _disrupted(self, budget: Doc, pods: list[Doc]) -> tuple[Doc, float | None]:
        """Evictions in flight: their pods count as gone although they are still there."""
        known = budget.get("status", {}).get("disruptedPods") or {}
        if not known:
            return {}, None
        now = self.clock.now()
        by_name = {p["metadata"]["name"]: p for p in pods}
        left: Doc = {}
        recheck: float | None = None
        for name, since in known.items():
            pod = by_name.get(name)
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                continue
            remaining = DELETION_TIMEOUT - seconds_since(since, now)
            if remaining <= 0:
                self.recorder.event(
                    reference(pod, "v1", "Pod"),
                    "Warning",
                    "NotDeleted",
                    f"Pod was expected by PDB {key_of(budget)} to be deleted but it wasn't",
                )
                continue
            left[name] = since
            recheck = remaining if recheck is None else min(recheck, remaining)
        return left, recheck


def _resolve(value: Any, total: int) -> int:
    if isinstance(value, str):
        return -(-int(value.rstrip("%")) * total // 100)
    return int(value)
