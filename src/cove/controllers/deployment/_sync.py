"""One look at a Deployment: which step it needs now, and taking it.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#strategy
"""

from __future__ import annotations

from typing import Any

from cove.controllers._pods import Owner, claim, select
from cove.controllers._resources import DEPLOYMENTS, REPLICA_SETS
from cove.controllers.deployment import _revisions as rev
from cove.controllers.deployment import _status as st
from cove.controllers.deployment._scaling import Scaling
from cove.kube.labels import from_document
from cove.kube.status import StatusError

__all__ = ["Sync"]

Doc = dict[str, Any]


class Sync(Scaling):
    """The strategies: RollingUpdate and Recreate; pausing and rolling back."""

    async def run(self) -> None:
        d = self.d
        selector = from_document(d["spec"].get("selector"))
        if selector.empty:
            self.c.recorder.event(
                self._involved(),
                "Warning",
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            )
            return
        metadata = d["metadata"]
        candidates = [
            *self.c.sets.indexed("controller", metadata["uid"]),
            *self.c.sets.indexed("controller", f"orphan/{metadata['namespace']}"),
        ]
        owner = Owner(d, DEPLOYMENTS, "Deployment")
        self.sets = await claim(self.client, REPLICA_SETS, owner, candidates, select(selector))
        if "deletionTimestamp" in metadata:
            new, old = await self._all(create=False)
            await self._write(st.calculate(self.d, self._join(new, old), new, self.now))
            return
        await self._pause_conditions()
        if self.d["spec"].get("paused"):
            await self._scale_only()
            return
        if rev.ROLLBACK_TO in metadata.get("annotations", {}):
            await self._roll_back()
            return
        if self._scaling():
            await self._scale_only()
        elif rev.is_rolling(self.d):
            await self._rolling()
        else:
            await self._recreate()

    async def _scale_only(self) -> None:
        new, old = await self._all(create=False)
        await self._scale(new, old)
        if self.d["spec"].get("paused"):
            await self._clean_up(old)
        new = rev.find_new(self.d, self.sets)
        sets = self._join(new, rev.olds(new, self.sets))
        await self._write(st.calculate(self.d, sets, new, self.now))

    # -- strategies

    async def _rolling(self) -> None:
        new, old = await self._all(create=True)
        if new is not None:
            await self._roll_up(new) or await self._roll_down(new, old)
        await self._finish()

    async def _roll_up(self, new: Doc) -> bool:
        size, wanted = rev.replicas(new), rev.replicas(self.d)
        if size == wanted:
            return False
        if size > wanted:
            await self._resize(new, wanted)
            return True
        size = rev.new_replicas(self.d, self.sets, new)
        scaled = size != rev.replicas(new)
        await self._resize(new, size)
        return scaled

    async def _roll_down(self, new: Doc, old: list[Doc]) -> bool:
        """Shrink the old sets as far as availability allows, the unhealthy pods first."""
        if rev.spec_sum(old) == 0:
            return False
        least = rev.replicas(self.d) - rev.max_unavailable(self.d)
        new_unavailable = rev.replicas(new) - status_of(new, "availableReplicas")
        spare = rev.spec_sum(self.sets) - least - new_unavailable
        if spare <= 0:
            return False
        cleaned = await self._remove_unhealthy(old, spare)
        old = rev.olds(new, self.sets)
        available = rev.status_sum(self.sets, "availableReplicas")
        spare = available - least
        removed = 0
        for rs in sorted(rev.active(old), key=rev.by_age):
            if removed >= spare:
                break
            count = min(rev.replicas(rs), spare - removed)
            await self._resize(rs, rev.replicas(rs) - count)
            removed += count
        return cleaned + removed > 0

    async def _remove_unhealthy(self, old: list[Doc], limit: int) -> int:
        removed = 0
        for rs in sorted(old, key=rev.by_age):
            if removed >= limit:
                break
            size = rev.replicas(rs)
            available = status_of(rs, "availableReplicas")
            if size == 0 or size == available:
                continue
            count = min(limit - removed, size - available)
            await self._resize(rs, size - count)
            removed += count
        return removed

    async def _recreate(self) -> None:
        new, old = await self._all(create=False)
        running = rev.active(old)
        if running:
            for rs in running:
                await self._resize(rs, 0)
            await self._finish(clean=False)
            return
        if self._old_pods_running(old):
            await self._finish(clean=False)
            return
        if new is None:
            new, old = await self._all(create=True)
        if new is not None:
            await self._resize(new, rev.replicas(self.d))
        await self._finish()

    def _old_pods_running(self, old: list[Doc]) -> bool:
        return any(
            pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            for rs in old
            for pod in self.c.pods.indexed("controller", rs["metadata"]["uid"])
        )

    async def _finish(self, *, clean: bool = True) -> None:
        new = rev.find_new(self.d, self.sets)
        old = rev.olds(new, self.sets)
        if clean and st.complete(self.d, self.d.get("status", {})):
            await self._clean_up(old)
        await self._write(st.roll_out(self.d, self._join(new, old), new, self.now))

    async def _clean_up(self, old: list[Doc]) -> None:
        """Delete the oldest empty sets beyond the history's limit."""
        limit = self.d["spec"].get("revisionHistoryLimit")
        if limit is None or limit == st.NO_DEADLINE:
            return
        alive = [rs for rs in old if "deletionTimestamp" not in rs["metadata"]]
        surplus = len(alive) - limit
        if surplus <= 0:
            return
        for rs in sorted(alive, key=lambda s: (rev.revision_of(s), rev.by_age(s)))[:surplus]:
            metadata = rs["metadata"]
            if (
                status_of(rs, "replicas")
                or rev.replicas(rs)
                or metadata.get("generation", 0) > status_of(rs, "observedGeneration")
            ):
                continue
            try:
                await self.client.delete(REPLICA_SETS, metadata["name"], metadata["namespace"])
            except StatusError as e:
                if e.code != 404:
                    raise

    async def _roll_back(self) -> None:
        """The annotation that extensions/v1beta1 rollbacks were converted to."""
        metadata = self.d["metadata"]
        annotations = dict(metadata["annotations"])
        text = annotations.pop(rev.ROLLBACK_TO)
        wanted = int(text) if text.lstrip("-").isdigit() else 0
        new, old = await self._all(create=True)
        sets = self._join(new, old)
        if wanted <= 0:
            revisions = sorted({rev.revision_of(rs) for rs in sets}, reverse=True)
            wanted = revisions[1] if len(revisions) > 1 else 0
        target = next((rs for rs in sets if rev.revision_of(rs) == wanted), None)
        spec = self.d["spec"]
        reason, message, kind = (
            "DeploymentRollbackRevisionNotFound",
            "Unable to find the revision to rollback to.",
            "Warning",
        )
        if target is not None:
            template = target["spec"]["template"]
            if rev.same_template(spec["template"], template):
                reason, message = (
                    "DeploymentRollbackTemplateUnchanged",
                    "The rollback revision contains the same template as current deployment "
                    f'"{metadata["name"]}"',
                )
            else:
                labels = {
                    k: v
                    for k, v in (template.get("metadata", {}).get("labels") or {}).items()
                    if k != rev.HASH
                }
                spec = {
                    **spec,
                    "template": {
                        **template,
                        "metadata": {**template["metadata"], "labels": labels},
                    },
                }
                reason, kind = "DeploymentRollback", "Normal"
                message = f'Rolled back deployment "{metadata["name"]}" to revision {wanted}'
        self.c.recorder.event(self._involved(), kind, reason, message)
        await self.client.update(
            DEPLOYMENTS,
            {
                **self.d,
                "metadata": {**self.d["metadata"], "annotations": annotations},
                "spec": spec,
            },
        )


def status_of(obj: Doc, field: str) -> int:
    """A number of a status, 0 if absent."""
    return int(obj.get("status", {}).get(field, 0))
