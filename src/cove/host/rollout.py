"""Rollout: whether workloads have what they were declared to have, and what is missing.

:func:`unready` judges one object; :class:`Rollout` follows those of a release or of
manifests through watches, with the pods behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from cove.client import Client, Clock, Informer, Tasks
from cove.kube import labels
from cove.kube.gvk import GVR

__all__ = ["PODS", "Rollout", "Target", "Unready", "failed", "pod_reason", "targets", "unready"]

Doc = Mapping[str, Any]

PODS = GVR("", "v1", "pods")
WORKLOADS = {
    ("apps/v1", "DaemonSet"): GVR("apps", "v1", "daemonsets"),
    ("apps/v1", "Deployment"): GVR("apps", "v1", "deployments"),
    ("apps/v1", "StatefulSet"): GVR("apps", "v1", "statefulsets"),
    ("batch/v1", "Job"): GVR("batch", "v1", "jobs"),
    ("v1", "Pod"): PODS,
}


class Target(NamedTuple):
    """A workload to wait for: ``deployment/web`` of a namespace."""

    gvr: GVR
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


class Unready(NamedTuple):
    """A workload that is not ready, and why; ``final``: it never will be, ``absent``: not there."""

    target: Target
    reason: str
    final: bool = False
    absent: bool = False

    def __str__(self) -> str:
        return f"{self.target}: {self.reason}"


def targets(documents: Iterable[Doc], namespace: str) -> list[Target]:
    """The workloads among documents; ``namespace`` is of those that name none."""
    found: dict[Target, None] = {}
    for doc in documents:
        kind = str(doc.get("kind", ""))
        gvr = WORKLOADS.get((str(doc.get("apiVersion", "")), kind))
        metadata = doc.get("metadata") or {}
        if gvr is not None and metadata.get("name"):
            place = str(metadata.get("namespace") or namespace)
            found[Target(gvr, kind, place, str(metadata["name"]))] = None
    return list(found)


def unready(obj: Doc) -> str:
    """What a workload lacks, "" if nothing."""
    judge = _JUDGES.get(str(obj.get("kind", "")))
    return judge(obj.get("spec") or {}, obj.get("status") or {}, _behind(obj)) if judge else ""


def failed(obj: Doc) -> str:
    """Why a Job or Pod has failed for good, "" while it has not."""
    status = obj.get("status") or {}
    if obj.get("kind") == "Job":
        condition = _condition(status, "Failed")
        if condition is not None:
            return _reason(condition, "the job failed")
    if obj.get("kind") == "Pod" and status.get("phase") == "Failed":
        return _reason(status, "the pod failed")
    return ""


def _behind(obj: Doc) -> bool:
    """Whether its controller has yet to see what was declared last."""
    seen = (obj.get("status") or {}).get("observedGeneration")
    generation = (obj.get("metadata") or {}).get("generation", 0)
    return bool((seen or 0) < generation)


def _condition(status: Doc, type: str) -> Doc | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == type and condition.get("status") == "True":
            return condition  # type: ignore[no-any-return]
    return None


def _reason(told: Doc, otherwise: str) -> str:
    texts = [str(told[key]) for key in ("reason", "message") if told.get(key)]
    return ": ".join(texts) or otherwise


def _deployment(spec: Doc, status: Doc, behind: bool) -> str:
    if behind:
        return "its controller has not seen it yet"
    wanted = spec.get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return f"{updated} of {wanted} replicas are new"
    if status.get("replicas", 0) > updated:
        return f"old replicas that have yet to end: {status['replicas'] - updated}"
    if available < updated:
        return f"{available} of {wanted} replicas are available"
    return ""


def _stateful_set(spec: Doc, status: Doc, behind: bool) -> str:
    if behind:
        return "its controller has not seen it yet"
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    if ready < wanted:
        return f"{ready} of {wanted} replicas are ready"
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return ""
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    updated = status.get("updatedReplicas", 0)
    if status.get("updateRevision") != status.get("currentRevision") and (
        updated < wanted - partition
    ):
        return f"{updated} of {wanted - partition} replicas are new"
    return ""


def _daemon_set(spec: Doc, status: Doc, behind: bool) -> str:
    if behind:
        return "its controller has not seen it yet"
    wanted = status.get("desiredNumberScheduled", 0)
    updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return f"{updated} of {wanted} nodes have the new pod"
    if available < wanted:
        return f"available on {available} of {wanted} nodes"
    return ""


def _job(spec: Doc, status: Doc, behind: bool) -> str:
    if _condition(status, "Complete") is not None or spec.get("suspend"):
        return ""
    wanted = spec.get("completions") or 1
    return f"{status.get('succeeded', 0)} of {wanted} completions"


def _pod(spec: Doc, status: Doc, behind: bool) -> str:
    if status.get("phase") == "Succeeded" or _condition(status, "Ready") is not None:
        return ""
    return pod_reason({"spec": spec, "status": status}) or "not ready"


_JUDGES = {
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "Job": _job,
    "Pod": _pod,
    "StatefulSet": _stateful_set,
}


def pod_reason(pod: Doc) -> str:
    """Why a pod is not ready: what its containers wait for or ended with, "" if it is."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded" or _condition(status, "Ready") is not None:
        return ""
    reasons: list[str] = []
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    for container in statuses:
        state = container.get("state") or {}
        told = state.get("waiting") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
        texts = []
        if told.get("reason") not in (None, "", "ContainerCreating", "PodInitializing"):
            texts.append(_reason(told, ""))
        if ended and ended.get("exitCode"):
            why = _reason(ended, "ended")
            texts.append(f"{why} (exit code {ended['exitCode']})")
        if texts:
            reasons.append(f"container {container.get('name')}: {'; '.join(texts)}")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            reasons.append(_reason(condition, "not scheduled"))
    if not reasons and status.get("reason"):
        reasons.append(_reason(status, ""))
    if not reasons and statuses:
        waiting = [str(c.get("name")) for c in statuses if not c.get("ready")]
        reasons.append(f"containers that are not ready: {', '.join(waiting)}")
    return "; ".join(reasons) or str(status.get("phase") or "Pending")


class Rollout:
    """Workloads and their pods, followed by watches while the context is entered."""

    def __init__(
        self, client: Client, wanted: Iterable[Target], *, clock: Clock | None = None
    ) -> None:
        self._targets = list(wanted)
        self._changed = asyncio.Event()
        self._tasks = Tasks()
        places = {(t.gvr, t.namespace) for t in self._targets}
        places |= {(PODS, t.namespace) for t in self._targets}
        self._informers = {
            (gvr, namespace): Informer(client, gvr, namespace=namespace, clock=clock)
            for gvr, namespace in places
        }

    async def __aenter__(self) -> Self:
        for informer in self._informers.values():
            informer.add_handler(self._tell)
            informer.start(self._tasks)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()

    def _tell(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._changed.set()

    async def synced(self) -> None:
        """Return when everything was listed once."""
        for informer in self._informers.values():
            await informer.synced.wait()

    async def changed(self) -> None:
        """Return when something has changed since this was last asked."""
        await self._changed.wait()
        self._changed.clear()

    def missing(self) -> list[Unready]:
        """The workloads that are not ready now, each with its reason."""
        return [found for found in map(self._judge, self._targets) if found is not None]

    def _judge(self, target: Target) -> Unready | None:
        obj = self._informers[(target.gvr, target.namespace)].get(target.namespace, target.name)
        if obj is None:
            return Unready(target, "is not there yet", absent=True)
        # Objects of a list do not say what they are.
        obj = {**obj, "kind": target.kind}
        final = failed(obj)
        if final:
            return Unready(target, final, final=True)
        reason = unready(obj)
        if not reason:
            return None
        if target.kind != "Pod":
            pod = self._worst(target.namespace, obj)
            reason += f" ({pod})" if pod else ""
        return Unready(target, reason)

    def _worst(self, namespace: str, obj: Doc) -> str:
        """The first of a workload's pods that has something to tell."""
        selector = (obj.get("spec") or {}).get("selector")
        if not selector:
            return ""
        pods = self._informers[(PODS, namespace)].list(namespace, labels.from_document(selector))
        for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])):
            reason = pod_reason(pod)
            if reason:
                return f"pod {pod['metadata']['name']}: {reason}"
        return ""
