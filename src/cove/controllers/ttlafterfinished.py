"""TTL after finished: Jobs that are done go after the time they were given.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
"""

from __future__ import annotations

from typing import Any

from cove.controllers._conditions import find, seconds_since
from cove.controllers._controller import Context, Controller, split
from cove.controllers._resources import JOBS
from cove.kube.status import StatusError

__all__ = ["TTLAfterFinished"]

Doc = dict[str, Any]


class TTLAfterFinished(Controller):
    """Keys are Jobs."""

    name = "ttl-after-finished-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.informer(JOBS)
        self.watch_own(self.jobs)

    async def sync(self, key: str) -> None:
        """One Job."""
        job = self.jobs.get_key(key)
        if job is None or "deletionTimestamp" in job["metadata"]:
            return
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return
        conditions = job.get("status", {}).get("conditions")
        ended = [
            c
            for c in (find(conditions, "Complete"), find(conditions, "Failed"))
            if c is not None and c.get("status") == "True"
        ]
        if not ended:
            return
        left = ttl - seconds_since(ended[0].get("lastTransitionTime"), self.clock.now())
        if left > 0:
            self.queue.add_after(key, left)
            return
        namespace, name = split(key)
        try:
            await self.client.delete(
                JOBS, name, namespace, propagation="Foreground", uid=job["metadata"]["uid"]
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise
