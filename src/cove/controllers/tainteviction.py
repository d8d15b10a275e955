"""Taint eviction: pods leave nodes with NoExecute taints that they do not (longer) tolerate.

The time that a pod may stay counts from when its eviction was first seen to be due, not
from when the taint came: a pod may be bound to a node that was tainted long ago.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import key_of
from cove.controllers._controller import Context, Controller, split
from cove.controllers._resources import NODES, PODS
from cove.controllers.nodelifecycle import by_node
from cove.controllers.scheduler._filters import tolerates
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["TaintEviction"]

Doc = dict[str, Any]


class TaintEviction(Controller):
    """Keys are pods, and ``/NAME`` for nodes."""

    name = "taint-eviction-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.informer(NODES)
        self.pods = self.informer(PODS)
        self.pods.add_index("node", by_node)
        self.recorder = context.recorder(self.name)
        # Pod → when it is to go, by the monotonic clock.
        self._due: dict[str, float] = {}
        self.nodes.add_handler(self._node_changed)
        self.pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None and _evicting(old) != _evicting(new):
            self.queue.add(f"/{new['metadata']['name']}")

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        pod = new or old or {}
        if new is not None and old is not None:
            before, after = old["spec"], new["spec"]
            if all(before.get(k) == after.get(k) for k in ("nodeName", "tolerations")):
                return
        elif not pod["spec"].get("nodeName"):
            # It is nowhere, or was nowhere: no taint was ever of interest to it.
            return
        self.queue.add(key_of(pod))

    async def sync(self, key: str) -> None:
        """One pod, or the pods of one node."""
        namespace, name = split(key)
        if not namespace:
            for on_it in self.pods.indexed("node", name):
                self.queue.add(key_of(on_it))
            return
        pod = self.pods.get_key(key)
        node = self.nodes.get(None, pod["spec"].get("nodeName") or "") if pod else None
        stay = _stay(pod, _evicting(node)) if pod else None
        if stay is None:
            self._cancel(key)
            return
        assert pod is not None
        if "deletionTimestamp" in pod["metadata"]:
            self._due.pop(key, None)
            return
        now = self.clock.monotonic()
        if stay > 0:
            due = self._due.setdefault(key, now + stay)
            if due > now:
                self.queue.add_after(key, due - now)
                return
            del self._due[key]
        else:
            # It goes at once, not when it was to go.
            self._cancel(key)
        await self._evict(pod, key)

    def _tell(self, key: str, what: str) -> None:
        namespace, name = split(key)
        self.recorder.event(
            {"kind": "Pod", "apiVersion": "v1", "name": name, "namespace": namespace},
            "Normal",
            "TaintManagerEviction",
            f"{what} Pod {key}",
        )

    def _cancel(self, key: str) -> None:
        if self._due.pop(key, None) is not None:
            self._tell(key, "Cancelling deletion of")

    async def _evict(self, pod: Doc, key: str) -> None:
        metadata = pod["metadata"]
        self._tell(key, "Marking for deletion")
        condition: Doc = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": format_time(self.clock.now()),
        }
        if metadata.get("generation"):
            condition["observedGeneration"] = metadata["generation"]
        try:
            await self.client.patch(
                PODS,
                metadata["name"],
                {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}},
                metadata["namespace"],
                type="strategic",
                subresource="status",
            )
            await self.client.delete(
                PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise


def _evicting(node: Doc | None) -> list[Doc]:
    taints = (node or {}).get("spec", {}).get("taints") or ()
    return [t for t in taints if t.get("effect") == "NoExecute"]


def _stay(pod: Doc, taints: list[Doc]) -> float | None:
    """Seconds that a pod may stay with taints, None for ever.

    Of several tolerations of a taint the first one counts.
    """
    least: float | None = None
    for taint in taints:
        first = next((t for t in pod["spec"].get("tolerations", ()) if tolerates([t], taint)), None)
        if first is None:
            return 0.0
        seconds = first.get("tolerationSeconds")
        if seconds is not None:
            least = max(float(seconds), 0.0) if least is None else min(least, float(seconds))
    return None if least is None else max(least, 0.0)
