"""ResourceQuota: what a namespace uses, counted afresh.

Admission charges quotas as objects are made; this controller fills new quotas in and
gives back what deletions free.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from typing import Any

from cove.client import Informer
from cove.client.meta import key_of
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import RESOURCE_QUOTAS
from cove.kube import quota as quotas
from cove.kube.gvk import GVR

__all__ = ["ResourceQuotaController"]

Doc = dict[str, Any]

# Several deletions at once are one recount.
GATHER = 0.05
_WHOLE = frozenset(("pods", "services", "persistentvolumeclaims", "resourceclaims.resource.k8s.io"))


class ResourceQuotaController(Controller):
    """Keys are quotas."""

    name = "resourcequota-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.quotas = self.informer(RESOURCE_QUOTAS)
        self._counted: dict[str, Informer | None] = {}
        self.quotas.add_handler(self._changed)

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            return
        if old is None or old["spec"] != new["spec"] or initial:
            self.queue.add(key_of(new))

    async def sync(self, key: str) -> None:
        """One quota."""
        quota = self.quotas.get_key(key)
        if quota is None:
            return
        hard = quota["spec"].get("hard") or {}
        namespace = quota["metadata"]["namespace"]
        for storage in quotas.resources(hard):
            if storage not in self._counted:
                await self._watch(storage)

        def objects(storage: str) -> list[Doc]:
            informer = self._counted.get(storage)
            return informer.list(namespace) if informer is not None else []

        used = quotas.tally(quota, objects, self.clock.now())
        status = {"hard": hard, "used": used}
        if status == quota.get("status"):
            return
        await self.client.update(RESOURCE_QUOTAS, {**quota, "status": status}, subresource="status")

    async def _watch(self, storage: str) -> None:
        """Follow the objects of a storage key; None is kept for what the server has not."""
        plural, _, group = storage.partition(".")
        found: GVR | None = None
        for resource in await self.client.discovery.preferred():
            if (resource.gvr.resource, resource.gvr.group) == (plural, group):
                found = resource.gvr
        if found is None:
            self._counted[storage] = None
            return
        informer = self.context.informers.informer(found, metadata_only=storage not in _WHOLE)
        self._counted[storage] = informer
        await informer.synced.wait()
        informer.add_handler(self._freed)

    def _freed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """An object is gone, has ended, or uses something else."""
        if initial or old is None:
            return
        if new is not None and old.get("spec") == new.get("spec"):
            before, after = old.get("status", {}), new.get("status", {})
            if before.get("phase") == after.get("phase"):
                return
        for quota in self.quotas.list(old["metadata"].get("namespace", "")):
            self.queue.add_after(key_of(quota), GATHER)
