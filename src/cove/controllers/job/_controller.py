"""The Job controller: which Jobs to look at, and when.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import controller_of
from cove.controllers._controller import Context, Controller
from cove.controllers._expectations import Expectations
from cove.controllers._pods import (
    PodControl,
    by_controller,
)
from cove.controllers._resources import JOBS, PODS
from cove.controllers.job._sync import Sync

__all__ = ["JobController"]

Doc = dict[str, Any]


# spec.managedBy of Jobs that are not somebody else's.
MANAGER = "kubernetes.io/job-controller"


class JobController(Controller):
    """Keys are Jobs."""

    name = "job-controller"
    retry_base = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.informer(JOBS)
        self.pods = self.informer(PODS)
        self.pods.add_index("controller", by_controller)
        self.recorder = context.recorder(self.name)
        self.control = PodControl(self.client, self.recorder)
        self.expectations = Expectations(self.clock)
        self.watch_own(self.jobs)
        self.pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            owner = controller_of(pod)
            if owner is None or owner["kind"] != "Job":
                continue
            key = f"{pod['metadata']['namespace']}/{owner['name']}"
            if pod is new and old is None:
                self.expectations.created(key)
            if new is None or "deletionTimestamp" in new["metadata"]:
                self.expectations.deleted(key, pod["metadata"]["uid"])
            self.queue.add(key)
            if pod is new:
                return

    async def sync(self, key: str) -> None:
        """One Job."""
        job = self.jobs.get_key(key)
        if job is None:
            self.expectations.forget(key)
            return
        if job["spec"].get("managedBy", MANAGER) != MANAGER:
            return  # another controller's
        await Sync(self, key, job).run()
