"""Pods as their controllers see them: alive, ready, available; made from a template.

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/controller
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from cove.client import Client, Recorder
from cove.client.recorder import reference
from cove.controllers._conditions import find, seconds_since
from cove.controllers._resources import PODS
from cove.kube.gvk import GVR
from cove.kube.labels import Selector
from cove.kube.names import is_dns1123_subdomain
from cove.kube.status import StatusError

__all__ = [
    "Owner",
    "PodControl",
    "available",
    "by_controller",
    "claim",
    "deletion_rank",
    "is_active",
    "is_ready",
    "template_object",
]

Doc = dict[str, Any]


def is_active(pod: Doc) -> bool:
    """Neither finished nor on its way out."""
    return (
        pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        and "deletionTimestamp" not in pod["metadata"]
    )


def ready_condition(pod: Doc) -> Doc | None:
    """The Ready condition."""
    return find(pod.get("status", {}).get("conditions"), "Ready")


def is_ready(pod: Doc) -> bool:
    """Whether its Ready condition is True."""
    condition = ready_condition(pod)
    return condition is not None and condition.get("status") == "True"


def available(pod: Doc, min_ready_seconds: int, now: datetime) -> bool:
    """Whether it has been ready for at least ``min_ready_seconds``."""
    condition = ready_condition(pod)
    if condition is None or condition.get("status") != "True":
        return False
    if not min_ready_seconds:
        return True
    since = condition.get("lastTransitionTime")
    return bool(since) and seconds_since(since, now) >= min_ready_seconds


def by_controller(obj: Doc) -> Iterable[str]:
    """Index: the controlling owner's uid, ``orphan/NAMESPACE`` for those without."""
    metadata = obj["metadata"]
    for owner in metadata.get("ownerReferences", ()):
        if owner.get("controller"):
            return (owner["uid"],)
    return (f"orphan/{metadata.get('namespace', '')}",)


class Owner:
    """A controlling object: where it is and what its references say."""

    __slots__ = ("api_version", "gvr", "kind", "obj")

    def __init__(self, obj: Doc, gvr: GVR, kind: str) -> None:
        self.obj = obj
        self.gvr = gvr
        self.kind = kind
        self.api_version = gvr.api_version

    @property
    def reference(self) -> Doc:
        """What owned objects carry."""
        metadata = self.obj["metadata"]
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }

    @property
    def involved(self) -> Doc:
        """What events are about."""
        return reference(self.obj, self.api_version, self.kind)


async def claim(
    client: Client,
    gvr: GVR,
    owner: Owner,
    candidates: Iterable[Doc],
    matches: Callable[[Doc], bool],
    *,
    adoptable: Callable[[Doc], bool] = lambda _: True,
) -> list[Doc]:
    """The candidates that belong to ``owner``: adopts matching orphans, releases strays.

    Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/controller#BaseControllerRefManager
    """
    metadata = owner.obj["metadata"]
    uid = metadata["uid"]
    deleting = "deletionTimestamp" in metadata
    claimed: list[Doc] = []
    may_adopt: bool | None = None
    for obj in candidates:
        meta = obj["metadata"]
        controller = next((o for o in meta.get("ownerReferences", ()) if o.get("controller")), None)
        if controller is not None:
            if controller["uid"] != uid:
                continue
            if matches(obj):
                claimed.append(obj)
            elif not deleting:
                await _release(client, gvr, obj, uid)
            continue
        if deleting or "deletionTimestamp" in meta or not matches(obj) or not adoptable(obj):
            continue
        if may_adopt is None:
            # The cache may be behind: adopting for an owner that is gone would be for good.
            may_adopt = await _still_there(client, owner)
        if not may_adopt:
            continue
        adopted = await _adopt(client, gvr, obj, owner)
        if adopted is not None:
            claimed.append(adopted)
    return claimed


async def _still_there(client: Client, owner: Owner) -> bool:
    metadata = owner.obj["metadata"]
    fresh = await client.get(owner.gvr, metadata["name"], metadata.get("namespace"))
    return (
        fresh["metadata"]["uid"] == metadata["uid"] and "deletionTimestamp" not in fresh["metadata"]
    )


async def _adopt(client: Client, gvr: GVR, obj: Doc, owner: Owner) -> Doc | None:
    metadata = obj["metadata"]
    patch = {"metadata": {"ownerReferences": [owner.reference], "uid": metadata["uid"]}}
    try:
        return await client.patch(
            gvr, metadata["name"], patch, metadata.get("namespace"), type="strategic"
        )
    except StatusError as e:
        if e.code == 404:
            return None
        raise


async def _release(client: Client, gvr: GVR, obj: Doc, uid: str) -> None:
    metadata = obj["metadata"]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "ownerReferences": [{"$patch": "delete", "uid": uid}],
        }
    }
    try:
        await client.patch(
            gvr, metadata["name"], patch, metadata.get("namespace"), type="strategic"
        )
    except StatusError as e:
        # 422: the object was made anew under the same name and is not ours to change.
        if e.code not in (404, 422):
            raise


def select(selector: Selector) -> Callable[[Doc], bool]:
    """A predicate on objects' labels."""
    return lambda obj: selector.matches(obj["metadata"].get("labels"))


def template_object(template: Doc, owner: Owner) -> Doc:
    """A pod of a template: labels, annotations, finalizers, spec, and its owner."""
    source = template.get("metadata") or {}
    name = f"{owner.obj['metadata']['name']}-"
    if is_dns1123_subdomain(name[:-1]):
        name = name[:-1]
    metadata: Doc = {"generateName": name, "ownerReferences": [owner.reference]}
    for key in ("labels", "annotations", "finalizers"):
        if source.get(key):
            metadata[key] = source[key]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": template["spec"]}


class PodControl:
    """Makes and removes pods and tells of it as events of their owner."""

    def __init__(self, client: Client, recorder: Recorder) -> None:
        self._client = client
        self._recorder = recorder

    async def create(self, owner: Owner, pod: Doc) -> Doc:
        """The pod as created; a failure is told and raised."""
        namespace = owner.obj["metadata"]["namespace"]
        try:
            created = await self._client.create(PODS, pod, namespace)
        except StatusError as e:
            if not namespace_terminating(e):
                self._recorder.event(
                    owner.involved, "Warning", "FailedCreate", f"Error creating: {e}"
                )
            raise
        self._recorder.event(
            owner.involved,
            "Normal",
            "SuccessfulCreate",
            f"Created pod: {created['metadata']['name']}",
        )
        return created

    async def delete(self, owner: Owner, pod: Doc) -> None:
        """Delete; one that is gone already is fine, another failure is told and raised."""
        metadata = pod["metadata"]
        name = metadata["name"]
        try:
            await self._client.delete(PODS, name, metadata["namespace"], uid=metadata["uid"])
        except StatusError as e:
            if e.code == 404:
                raise
            self._recorder.event(owner.involved, "Warning", "FailedDelete", f"Error deleting: {e}")
            raise
        self._recorder.event(owner.involved, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")


def namespace_terminating(error: StatusError) -> bool:
    """Whether a create was refused because its namespace is going away."""
    causes = (error.details or {}).get("causes") or ()
    return any(c.get("reason") == "NamespaceTerminating" for c in causes)


_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_rank(pod: Doc, together: int) -> tuple[Any, ...]:
    """A key that sorts the pods to remove first to the front.

    ``together`` is how many related pods run on the same node.

    Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    ready = ready_condition(pod)
    is_ready_ = ready is not None and ready.get("status") == "True"
    try:
        cost = int(
            metadata.get("annotations", {}).get("controller.kubernetes.io/pod-deletion-cost", 0)
        )
    except ValueError:
        cost = 0
    restarts = max(
        (c.get("restartCount", 0) for c in status.get("containerStatuses", ())), default=0
    )
    return (
        bool(pod.get("spec", {}).get("nodeName")),
        _PHASES.get(status.get("phase", ""), 0),
        is_ready_,
        cost,
        -together,
        _Newest(ready.get("lastTransitionTime") or "" if is_ready_ and ready else ""),
        -restarts,
        _Newest(metadata.get("creationTimestamp") or ""),
    )


class _Newest(str):
    """RFC 3339 texts of UTC, the latest first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)
