"""StatefulSet: pods with names that stay, made and updated in order.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

import re
from typing import Any

from cove.client.meta import controller_of, key_of
from cove.controllers._controller import Context, Controller
from cove.controllers._history import sync_revision, truncate
from cove.controllers._pods import Owner, available, by_controller, claim, is_ready, select
from cove.controllers._resources import (
    CONTROLLER_REVISIONS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
)
from cove.kube.labels import from_document
from cove.kube.status import StatusError

__all__ = ["StatefulSetController"]

Doc = dict[str, Any]

REVISION = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(pod: Doc, parent: str) -> int:
    """The number in a pod's name, -1 if it is not a member of the set."""
    match = _NAME.fullmatch(pod["metadata"]["name"])
    return int(match[2]) if match is not None and match[1] == parent else -1


class StatefulSetController(Controller):
    """Keys are StatefulSets."""

    name = "statefulset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.informer(STATEFUL_SETS)
        self.pods = self.informer(PODS)
        self.pods.add_index("controller", by_controller)
        self.revisions = self.informer(CONTROLLER_REVISIONS)
        self.revisions.add_index("controller", by_controller)
        self.claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        self.recorder = context.recorder(self.name)
        self.watch_own(self.sets)
        self.watch_owned(self.pods, "StatefulSet")
        self.pods.add_handler(self._orphan_changed)

    def _orphan_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None or controller_of(new) is not None:
            return
        metadata = new["metadata"]
        match = _NAME.fullmatch(metadata["name"])
        if match is not None:
            found = self.sets.get(metadata["namespace"], match[1])
            if found is not None:
                self.queue.add(key_of(found))

    async def sync(self, key: str) -> None:
        """One set."""
        obj = self.sets.get_key(key)
        if obj is None:
            return
        metadata = obj["metadata"]
        owner = Owner(obj, STATEFUL_SETS, "StatefulSet")
        matches = select(from_document(obj["spec"].get("selector")))
        name = metadata["name"]
        pods = await claim(
            self.client,
            PODS,
            owner,
            [
                *self.pods.indexed("controller", metadata["uid"]),
                *self.pods.indexed("controller", f"orphan/{metadata['namespace']}"),
            ],
            lambda p: matches(p) and ordinal_of(p, name) >= 0,
        )
        if "deletionTimestamp" in metadata:
            return
        await _Sync(self, key, obj, owner, pods).run()


class _Sync:
    """One look at one set."""

    def __init__(
        self,
        controller: StatefulSetController,
        key: str,
        obj: Doc,
        owner: Owner,
        pods: list[Doc],
    ) -> None:
        self.c = controller
        self.client = controller.client
        self.key = key
        self.obj = obj
        self.owner = owner
        self.pods = pods
        self.name: str = obj["metadata"]["name"]
        self.namespace: str = obj["metadata"]["namespace"]
        self.spec: Doc = obj["spec"]
        self.start = int((self.spec.get("ordinals") or {}).get("start", 0))
        self.replicas = int(self.spec.get("replicas", 1))
        self.ordered = self.spec.get("podManagementPolicy", "OrderedReady") != "Parallel"
        self.now = controller.clock.now()

    async def run(self) -> None:
        status = self.obj.get("status", {})
        revisions = self.c.revisions.indexed("controller", self.obj["metadata"]["uid"])
        labels = dict((self.spec["template"].get("metadata") or {}).get("labels") or {})
        update, revisions, collisions = await sync_revision(
            self.client, self.owner, revisions, labels, int(status.get("collisionCount") or 0)
        )
        current = next(
            (r for r in revisions if r["metadata"]["name"] == status.get("currentRevision")),
            update,
        )
        self.update_name: str = update["metadata"]["name"]
        self.current_name: str = current["metadata"]["name"]
        self.current_template: Doc = current["data"]["spec"]["template"]
        self.collisions = collisions
        self._count()
        try:
            await self._act()
        finally:
            await self._write()
        live = {self.update_name, self.current_name}
        live |= {_revision(p) for p in self.pods}
        limit = self.spec.get("revisionHistoryLimit", 10)
        await truncate(self.client, revisions, live, limit)

    # -- status

    def _healthy(self, pod: Doc) -> bool:
        return (
            pod.get("status", {}).get("phase") == "Running"
            and is_ready(pod)
            and "deletionTimestamp" not in pod["metadata"]
        )

    def _available(self, pod: Doc) -> bool:
        seconds = self.spec.get("minReadySeconds", 0)
        if not self._healthy(pod):
            return False
        if available(pod, seconds, self.now):
            return True
        self.c.queue.add_after(self.key, float(seconds))
        return False

    def _count(self) -> None:
        self.counts = dict.fromkeys(
            (
                "replicas",
                "readyReplicas",
                "availableReplicas",
                "currentReplicas",
                "updatedReplicas",
            ),
            0,
        )
        for pod in self.pods:
            self.counts["replicas"] += 1
            if pod.get("status", {}).get("phase") == "Running" and is_ready(pod):
                self.counts["readyReplicas"] += 1
                if self._available(pod):
                    self.counts["availableReplicas"] += 1
            if "deletionTimestamp" not in pod["metadata"]:
                self._revise(pod, 1)

    def _revise(self, pod: Doc, by: int) -> None:
        revision = _revision(pod)
        if revision == self.current_name:
            self.counts["currentReplicas"] += by
        if revision == self.update_name:
            self.counts["updatedReplicas"] += by

    async def _write(self) -> None:
        counts = self.counts
        current = self.current_name
        rolling = self.spec.get("updateStrategy", {}).get("type", "RollingUpdate")
        if (
            rolling == "RollingUpdate"
            and counts["updatedReplicas"] == counts["replicas"]
            and counts["readyReplicas"] == counts["replicas"]
            and counts["replicas"] == self.replicas
        ):
            counts["currentReplicas"] = counts["updatedReplicas"]
            current = self.update_name
        status: Doc = {
            "observedGeneration": self.obj["metadata"].get("generation", 0),
            "replicas": counts["replicas"],
            "availableReplicas": counts["availableReplicas"],
        }
        for field in ("readyReplicas", "currentReplicas", "updatedReplicas"):
            if counts[field]:
                status[field] = counts[field]
        status["currentRevision"] = current
        status["updateRevision"] = self.update_name
        status["collisionCount"] = self.collisions
        old = self.obj.get("status", {})
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        if status != old:
            await self.client.update(
                STATEFUL_SETS, {**self.obj, "status": status}, subresource="status"
            )

    # -- pods

    async def _act(self) -> None:
        slots: dict[int, Doc] = {}
        condemned: list[Doc] = []
        end = self.start + self.replicas
        for pod in self.pods:
            ordinal = ordinal_of(pod, self.name)
            if self.start <= ordinal < end:
                slots[ordinal] = pod
            else:
                condemned.append(pod)
        condemned.sort(key=lambda p: -ordinal_of(p, self.name))
        for ordinal in range(self.start, end):
            if not await self._ensure(ordinal, slots.get(ordinal)) and self.ordered:
                return
        unhealthy = [p for p in self.pods if not self._healthy(p)]
        first = min(unhealthy, key=lambda p: ordinal_of(p, self.name), default=None)
        for pod in condemned:
            if "deletionTimestamp" in pod["metadata"]:
                if self.ordered:
                    return
                continue
            if self.ordered and not self._healthy(pod) and pod is not first:
                return
            await self._claims_follow(pod)
            await self._delete(pod)
            if self.ordered:
                return
        await self._update(slots)

    async def _ensure(self, ordinal: int, pod: Doc | None) -> bool:
        """Whether the pod of an ordinal is there and well, so that the next may be looked at."""
        if pod is None:
            await self._create(ordinal)
            return False
        metadata = pod["metadata"]
        if pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            if "deletionTimestamp" not in metadata:
                self.c.recorder.event(
                    self.owner.involved,
                    "Warning",
                    "RecreatingFailedPod",
                    f"StatefulSet {self.namespace}/{self.name} is recreating failed Pod "
                    f"{metadata['name']}",
                )
                await self._delete(pod)
            return False
        if pod.get("status", {}).get("phase") == "Pending":
            await self._create_claims(ordinal)
        if "deletionTimestamp" in metadata:
            return False
        return self._available(pod)

    def _of_current(self, ordinal: int) -> bool:
        """Whether a pod made now is of the revision before the update."""
        strategy = self.spec.get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return False
        rolling = strategy.get("rollingUpdate")
        if rolling is None:
            done = self.obj.get("status", {}).get("currentReplicas", 0)
            return ordinal < self.start + int(done)
        return ordinal < self.start + int(rolling.get("partition") or 0)

    async def _create(self, ordinal: int) -> None:
        current = self._of_current(ordinal)
        template = self.current_template if current else self.spec["template"]
        revision = self.current_name if current else self.update_name
        pod = self._pod(ordinal, template, revision)
        name = pod["metadata"]["name"]
        told = f"Pod {name} in StatefulSet {self.name}"
        try:
            await self._create_claims(ordinal)
            created = await self.client.create(PODS, pod, self.namespace)
        except StatusError as e:
            if e.reason == "AlreadyExists":
                return
            self.c.recorder.event(
                self.owner.involved,
                "Warning",
                "FailedCreate",
                f"create {told} failed error: {e}",
            )
            raise
        self.c.recorder.event(
            self.owner.involved, "Normal", "SuccessfulCreate", f"create {told} successful"
        )
        self.counts["replicas"] += 1
        self._revise(created, 1)

    def _pod(self, ordinal: int, template: Doc, revision: str) -> Doc:
        name = f"{self.name}-{ordinal}"
        source = template.get("metadata") or {}
        labels = {
            **(source.get("labels") or {}),
            POD_NAME: name,
            POD_INDEX: str(ordinal),
            REVISION: revision,
        }
        metadata: Doc = {
            "name": name,
            "generateName": f"{self.name}-",
            "labels": labels,
            "ownerReferences": [self.owner.reference],
        }
        for field in ("annotations", "finalizers"):
            if source.get(field):
                metadata[field] = source[field]
        spec = {**template["spec"], "hostname": name}
        if self.spec.get("serviceName"):
            spec["subdomain"] = self.spec["serviceName"]
        claims = self.spec.get("volumeClaimTemplates") or ()
        if claims:
            names = {c["metadata"]["name"] for c in claims}
            spec["volumes"] = [
                *(
                    {
                        "name": c["metadata"]["name"],
                        "persistentVolumeClaim": {"claimName": self._claim_name(c, ordinal)},
                    }
                    for c in claims
                ),
                *(v for v in spec.get("volumes") or () if v["name"] not in names),
            ]
        return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}

    async def _delete(self, pod: Doc) -> None:
        metadata = pod["metadata"]
        told = f"Pod {metadata['name']} in StatefulSet {self.name}"
        try:
            await self.client.delete(
                PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except StatusError as e:
            if e.code == 404:
                return
            self.c.recorder.event(
                self.owner.involved,
                "Warning",
                "FailedDelete",
                f"delete {told} failed error: {e}",
            )
            raise
        self.c.recorder.event(
            self.owner.involved, "Normal", "SuccessfulDelete", f"delete {told} successful"
        )
        self._revise(pod, -1)

    async def _update(self, slots: dict[int, Doc]) -> None:
        """Replace the last pod that is not of the new revision, once all after it are well."""
        strategy = self.spec.get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        rolling = strategy.get("rollingUpdate") or {}
        least = self.start + int(rolling.get("partition") or 0)
        if rolling.get("maxUnavailable") is not None:
            await self._update_several(slots, least, rolling["maxUnavailable"])
            return
        for ordinal in sorted(slots, reverse=True):
            if ordinal < least:
                return
            pod = slots[ordinal]
            terminating = "deletionTimestamp" in pod["metadata"]
            if _revision(pod) != self.update_name and not terminating:
                await self._delete(pod)
                return
            if not self._available(pod):
                return

    async def _update_several(self, slots: dict[int, Doc], least: int, at_most: int | str) -> None:
        """Replace old pods from the last on while no more than that many are unavailable.

        One that is unavailable already costs nothing: it goes in any case.
        """
        if isinstance(at_most, str):
            at_most = int(at_most.rstrip("%")) * self.replicas // 100
        left = max(at_most, 1)
        left -= sum(1 for pod in slots.values() if not self._available(pod))
        for ordinal in sorted(slots, reverse=True):
            if ordinal < least:
                return
            pod = slots[ordinal]
            if _revision(pod) == self.update_name or "deletionTimestamp" in pod["metadata"]:
                continue
            if self._available(pod):
                if left <= 0:
                    continue
                left -= 1
            await self._delete(pod)

    # -- claims

    def _claim_name(self, template: Doc, ordinal: int) -> str:
        return f"{template['metadata']['name']}-{self.name}-{ordinal}"

    def _retention(self, when: str) -> str:
        policy = self.spec.get("persistentVolumeClaimRetentionPolicy") or {}
        return str(policy.get(when) or "Retain")

    async def _create_claims(self, ordinal: int) -> None:
        for template in self.spec.get("volumeClaimTemplates") or ():
            name = self._claim_name(template, ordinal)
            if self.c.claims.get(self.namespace, name) is not None:
                continue
            source = template["metadata"]
            labels = {
                **(source.get("labels") or {}),
                **(self.spec["selector"].get("matchLabels") or {}),
            }
            metadata: Doc = {"name": name, "namespace": self.namespace, "labels": labels}
            if source.get("annotations"):
                metadata["annotations"] = source["annotations"]
            if self._retention("whenDeleted") == "Delete":
                metadata["ownerReferences"] = [
                    {**self.owner.reference, "blockOwnerDeletion": False, "controller": False}
                ]
            claim_doc = {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "metadata": metadata,
                "spec": template["spec"],
            }
            try:
                await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim_doc)
            except StatusError as e:
                if e.reason != "AlreadyExists":
                    self.c.recorder.event(
                        self.owner.involved,
                        "Warning",
                        "FailedCreate",
                        f"create Claim {name} for Pod {self.name}-{ordinal} in StatefulSet "
                        f"{self.name} failed error: {e}",
                    )
                    raise
            else:
                self.c.recorder.event(
                    self.owner.involved,
                    "Normal",
                    "SuccessfulCreate",
                    f"create Claim {name} Pod {self.name}-{ordinal} in StatefulSet {self.name} "
                    "success",
                )

    async def _claims_follow(self, pod: Doc) -> None:
        """Claims of a pod that is scaled away go with it, if the policy says so."""
        if self._retention("whenScaled") != "Delete":
            return
        metadata = pod["metadata"]
        ordinal = ordinal_of(pod, self.name)
        owner = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        for template in self.spec.get("volumeClaimTemplates") or ():
            try:
                await self.client.patch(
                    PERSISTENT_VOLUME_CLAIMS,
                    self._claim_name(template, ordinal),
                    {"metadata": {"ownerReferences": [owner]}},
                    self.namespace,
                )
            except StatusError as e:
                if e.code != 404:
                    raise


def _revision(pod: Doc) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION, ""))
