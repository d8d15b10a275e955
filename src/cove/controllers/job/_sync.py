"""One look at a Job: count, decide, make and remove pods.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#parallel-jobs
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from cove.controllers._pods import (
    claim,
    deletion_rank,
    is_ready,
    namespace_terminating,
    select,
    template_object,
)
from cove.controllers._resources import PODS
from cove.controllers.job._policy import INDEX, failure_action, index_of
from cove.controllers.job._tally import FAILURES, FINALIZER, IGNORED, has_finalizer, outcome
from cove.controllers.job._verdict import Verdict
from cove.kube.labels import from_document
from cove.kube.status import StatusError

__all__ = ["Sync"]

Doc = dict[str, Any]

# After a failure the next pod waits this long, doubled each time, up to ten minutes.
BACKOFF = 10.0
BACKOFF_LIMIT = 600.0
# At most this many pods are made in one go.
BATCH = 500


class Sync(Verdict):
    """What to do about one Job."""

    async def run(self) -> None:
        metadata = self.job["metadata"]
        uid = metadata["uid"]
        candidates = self.c.pods.indexed("controller", uid)
        if outcome(self.job) or "deletionTimestamp" in metadata:
            await self._let_go(candidates)
            return
        pods = await claim(
            self.client,
            PODS,
            self.owner,
            [*candidates, *self.c.pods.indexed("controller", f"orphan/{metadata['namespace']}")],
            select(from_document(self.spec.get("selector"))),
        )
        self.pods = pods
        self.status: Doc = dict(self.job.get("status", {}))
        self.active = [p for p in pods if self._is_active(p)]
        await self._count()
        self.verdict = self._verdict()
        if self.verdict is not None and self.delayed:
            await self._count(decided=True)
        self._suspension()
        error: StatusError | None = None
        terminating = self._terminating()
        if self.verdict is not None:
            await self._delete_active()
        elif self.c.expectations.satisfied(self.key):
            try:
                await self._manage()
            except StatusError as e:
                error = e
        self._conclude(terminating)
        self.status["ready"] = sum(1 for p in self.active if is_ready(p))
        self.status["terminating"] = terminating
        self._set("active", len(self.active))
        await self._write()
        if outcome({"status": self.status}):
            await self._let_go(pods)
        if error is not None and not namespace_terminating(error):
            raise error

    # -- making and removing pods

    async def _manage(self) -> None:
        active = len(self.active)
        if self.spec.get("suspend"):
            await self._delete(self.active)
            self.active = []
            return
        succeeded = self._total("succeeded")
        if self.completions is None:
            wanted = active if succeeded > 0 else self.parallelism
        else:
            failed = len(self.failed_indexes or ())
            wanted = min(self.completions - succeeded - failed, self.parallelism)
        wanted = max(wanted, 0)
        surplus = self._surplus(active - wanted)
        if surplus:
            await self._delete(surplus)
            gone = {p["metadata"]["uid"] for p in surplus}
            self.active = [p for p in self.active if p["metadata"]["uid"] not in gone]
            return
        missing = wanted - active
        if self.only_failed:
            missing -= self._terminating()
        missing = min(missing, BATCH)
        if missing <= 0:
            return
        delay = self._backoff() if self.failed_indexes is None else 0.0
        if delay > 0:
            self.c.queue.add_after(self.key, delay)
            return
        await self._create(missing)

    def _surplus(self, many: int) -> list[Doc]:
        """The pods to remove: those whose index is another's or out of range, then ``many``."""
        ranked = sorted(self.active, key=lambda p: deletion_rank(p, 0))
        if not self.indexed:
            return ranked[: max(many, 0)]
        surplus: list[Doc] = []
        rest: list[Doc] = []
        taken: set[int] = set()
        for pod in reversed(ranked):  # of several with an index the best one stays
            index = index_of(pod)
            if index in taken or not 0 <= index < (self.completions or 0):
                surplus.append(pod)
            else:
                taken.add(index)
                rest.append(pod)
        return surplus + list(reversed(rest))[: max(many - len(surplus), 0)]

    def _backoff(self) -> float:
        """Seconds until the next pod may be made, given the failures since the last success."""
        ends: list[tuple[datetime, bool]] = []
        for pod in self.pods:
            phase = pod.get("status", {}).get("phase")
            if phase == "Succeeded" or self._has_failed(pod):
                ends.append((self._ended(pod), phase == "Succeeded"))
        ends.sort(key=lambda e: e[0], reverse=True)
        failures, last = 0, None
        for moment, good in ends:
            if good:
                break
            failures += 1
            last = last or moment
        if last is None:
            return 0.0
        delay = min(BACKOFF * 2.0 ** (failures - 1), BACKOFF_LIMIT)
        return delay - (self.now - last).total_seconds()

    def _due(self, indexes: list[int]) -> list[int]:
        """The indexes that need not wait; if all do, the Job is looked at when the first may."""
        waits = {index: self._wait(index) for index in indexes}
        now = [index for index, wait in waits.items() if wait <= 0]
        if waits and not now:
            self.c.queue.add_after(self.key, min(waits.values()))
        return now

    def _wait(self, index: int) -> float:
        pod = self.delayed.get(index)
        if pod is None:
            return 0.0
        failures, moment = self._last(pod)
        return min(BACKOFF * 2.0**failures, BACKOFF_LIMIT) - (self.now - moment).total_seconds()

    async def _create(self, count: int) -> None:
        indexes: list[int | None] = [None] * count
        if self.indexed:
            taken = {index_of(p) for p in self.active} | self.indexes
            taken |= self.failed_indexes or set()
            if self.only_failed:
                taken |= {index_of(p) for p in self.pods if self._is_terminating(p)}
            free = [i for i in range(self.completions or 0) if i not in taken][:count]
            indexes = list(free if self.failed_indexes is None else self._due(free))
        expectations, key = self.c.expectations, self.key
        expectations.expect(key, adds=len(indexes))
        done, batch = 0, 1
        while done < len(indexes):
            part = indexes[done : done + batch]
            results = await asyncio.gather(
                *(self.c.control.create(self.owner, self._pod(i)) for i in part),
                return_exceptions=True,
            )
            done += len(part)
            self.active += [r for r in results if isinstance(r, dict)]
            failures = [r for r in results if isinstance(r, BaseException)]
            if failures:
                expectations.created(key, len(failures) + len(indexes) - done)
                raise failures[0]
            batch *= 2

    def _pod(self, index: int | None) -> Doc:
        pod = template_object(self.spec["template"], self.owner)
        metadata = pod["metadata"]
        metadata["generateName"] = f"{self.job['metadata']['name']}-"
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
        if index is None:
            return pod
        name = self.job["metadata"]["name"]
        metadata["generateName"] = f"{name}-{index}-"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), INDEX: str(index)}
        if self.failed_indexes is not None:
            metadata["annotations"] |= self._failures_of(index)
        metadata["labels"] = {**(metadata.get("labels") or {}), INDEX: str(index)}
        env = {
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}},
        }
        spec = {**pod["spec"], "hostname": f"{name}-{index}"}
        for field in ("initContainers", "containers"):
            if spec.get(field):
                spec[field] = [
                    c
                    if any(e["name"] == env["name"] for e in c.get("env") or ())
                    else {**c, "env": [*(c.get("env") or ()), env]}
                    for c in spec[field]
                ]
        pod["spec"] = spec
        return pod

    def _failures_of(self, index: int) -> dict[str, str]:
        """How often an index has failed, as its next pod is to tell it."""
        pod = self.delayed.get(index)
        if pod is None:
            return {FAILURES: "0"}
        known = pod["metadata"].get("annotations") or {}
        counts = {FAILURES: int(known.get(FAILURES, 0)), IGNORED: int(known.get(IGNORED, 0))}
        counts[IGNORED if failure_action(self.job, pod)[0] == "Ignore" else FAILURES] += 1
        if not counts[IGNORED]:
            del counts[IGNORED]
        return {k: str(v) for k, v in counts.items()}

    async def _delete(self, pods: list[Doc]) -> None:
        """Pods that are not wanted do not count: their finalizer goes before they do."""
        if not pods:
            return
        self.c.expectations.expect(self.key, deletions=[p["metadata"]["uid"] for p in pods])

        async def one(pod: Doc) -> None:
            try:
                if has_finalizer(pod):
                    await self._drop_finalizer(pod)
                await self.c.control.delete(self.owner, pod)
            except StatusError as e:
                self.c.expectations.deleted(self.key, pod["metadata"]["uid"])
                if e.code != 404:
                    raise

        await asyncio.gather(*(one(p) for p in pods))

    async def _delete_active(self) -> None:
        """The Job is decided: what still runs is ended, and counted when it has."""
        for pod in self.active:
            try:
                await self.c.control.delete(self.owner, pod)
            except StatusError as e:
                if e.code != 404:
                    raise
