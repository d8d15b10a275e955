"""Namespaces that go away: everything in them goes first.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from cove.client import Resource
from cove.controllers._controller import Context, Controller, Retry
from cove.controllers._resources import NAMESPACES, PODS
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["NamespaceController"]

Doc = dict[str, Any]

FINALIZER = "kubernetes"
# Deleted with their owners' help or not at all.
_SKIPPED = frozenset((("", "bindings"), ("", "events"), ("events.k8s.io", "events")))


class NamespaceController(Controller):
    """Keys are namespaces; those with a deletionTimestamp are emptied and let go."""

    name = "namespace-controller"
    # Content that others hold on to is looked at again this soon, later each time.
    retry_base = 0.05
    retry_limit = 5.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.informer(NAMESPACES)
        self.namespaces.add_handler(self._changed)

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None and "deletionTimestamp" in new["metadata"]:
            self.queue.add(new["metadata"]["name"])

    async def sync(self, key: str) -> None:
        """One namespace."""
        namespace = self.namespaces.get_key(key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        if FINALIZER not in namespace.get("spec", {}).get("finalizers", ()):
            return
        remaining, finalizers, failures = await self._empty(key)
        await self._tell(namespace, remaining, finalizers, failures)
        if remaining or failures:
            raise Retry
        await self._finalize(key)

    async def _resources(self) -> list[Resource]:
        """What namespaces can hold, as the server serves it now: CRDs come and go."""
        return [
            r
            for r in await self.client.discovery.preferred(fresh=True)
            if r.namespaced
            and {"list", "delete"} <= r.verbs
            and (r.gvr.group, r.gvr.resource) not in _SKIPPED
        ]

    async def _empty(self, key: str) -> tuple[Counter[str], Counter[str], list[str]]:
        """Delete the content; what remains by resource, its finalizers, what went wrong."""
        remaining: Counter[str] = Counter()
        finalizers: Counter[str] = Counter()
        failures: list[str] = []
        resources = await self._resources()
        # Pods end first: what they use should still be there.
        resources.sort(key=lambda r: r.gvr != PODS)
        for resource in resources:
            try:
                left = await self._empty_one(resource, key)
            except StatusError as e:
                if e.code not in (404, 405):
                    failures.append(f"{resource.gvr.resource}: {e}")
                continue
            if left:
                gvr = resource.gvr
                remaining[f"{gvr.resource}.{gvr.group}"] = len(left)
                for obj in left:
                    finalizers.update(obj["metadata"].get("finalizers", ()))
        for gvr in (GVR("", "v1", "events"),):
            try:
                await self.client.delete_collection(gvr, key)
            except StatusError as e:
                failures.append(f"{gvr.resource}: {e}")
        return remaining, finalizers, failures

    async def _empty_one(self, resource: Resource, key: str) -> list[Doc]:
        gvr = resource.gvr
        found = (await self.client.list(gvr, key, metadata_only=True)).items
        if not found:
            return []
        if any("deletionTimestamp" not in o["metadata"] for o in found):
            if "deletecollection" in resource.verbs:
                await self.client.delete_collection(gvr, key, propagation="Background")
            else:
                for obj in found:
                    await self._delete(gvr, obj)
            found = (await self.client.list(gvr, key, metadata_only=True)).items
        return found

    async def _delete(self, gvr: GVR, obj: Doc) -> None:
        metadata = obj["metadata"]
        try:
            await self.client.delete(
                gvr, metadata["name"], metadata["namespace"], propagation="Background"
            )
        except StatusError as e:
            if e.code != 404:
                raise

    async def _tell(
        self,
        namespace: Doc,
        remaining: Counter[str],
        finalizers: Counter[str],
        failures: list[str],
    ) -> None:
        wanted = [
            (
                "NamespaceDeletionDiscoveryFailure",
                "False",
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                "False",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            (
                "NamespaceDeletionContentFailure",
                "True" if failures else "False",
                "ContentDeletionFailed" if failures else "ContentDeleted",
                f"Failed to delete all resource types, {len(failures)} remaining: "
                + ", ".join(sorted(failures))
                if failures
                else "All content successfully deleted, may be waiting on finalization",
            ),
            (
                "NamespaceContentRemaining",
                "True" if remaining else "False",
                "SomeResourcesRemain" if remaining else "ContentRemoved",
                "Some resources are remaining: "
                + ", ".join(f"{k} has {n} resource instances" for k, n in sorted(remaining.items()))
                if remaining
                else "All content successfully removed",
            ),
            (
                "NamespaceFinalizersRemaining",
                "True" if finalizers else "False",
                "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
                "Some content in the namespace has finalizers remaining: "
                + ", ".join(f"{k} in {n} resource instances" for k, n in sorted(finalizers.items()))
                if finalizers
                else "All content-preserving finalizers finished",
            ),
        ]
        old = {c["type"]: c for c in namespace.get("status", {}).get("conditions", ())}
        if not old and not (remaining or failures):
            return  # it is gone with the next request
        now = format_time(self.clock.now())
        conditions = []
        for type, status, reason, message in wanted:
            known = old.get(type, {})
            same = known.get("status") == status
            conditions.append(
                {
                    "type": type,
                    "status": status,
                    "lastTransitionTime": known.get("lastTransitionTime") if same else now,
                    "reason": reason,
                    "message": message,
                }
            )
        others = [c for t, c in old.items() if t not in {w[0] for w in wanted}]
        if [*conditions, *others] == list(old.values()):
            return
        await self.client.patch(
            NAMESPACES,
            namespace["metadata"]["name"],
            {"status": {"conditions": [*conditions, *others]}},
            subresource="status",
        )

    async def _finalize(self, key: str) -> None:
        fresh = await self.client.get(NAMESPACES, key)
        left = [f for f in fresh.get("spec", {}).get("finalizers", ()) if f != FINALIZER]
        await self.client.update(
            NAMESPACES,
            {**fresh, "spec": {**fresh.get("spec", {}), "finalizers": left}},
            subresource="finalize",
        )
