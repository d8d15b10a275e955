"""Node lifecycle: nodes that stop beating are unreachable.

Conditions become taints; what taints do to pods is the taint eviction's business.

Source: https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller
"""

from __future__ import annotations

from typing import Any

from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import LEASES, NODES, PODS
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["NodeLifecycleController", "by_node"]

Doc = dict[str, Any]

# Upstream's --node-monitor-period and --node-monitor-grace-period.
PERIOD = 5.0
GRACE = 50.0
MONITOR = "/monitor"
PREFIX = "node.kubernetes.io/"
_PRESSURE = {
    "MemoryPressure": "memory-pressure",
    "DiskPressure": "disk-pressure",
    "PIDPressure": "pid-pressure",
    "NetworkUnavailable": "network-unavailable",
}
_OWN = frozenset(
    PREFIX + name for name in (*_PRESSURE.values(), "not-ready", "unreachable", "unschedulable")
)


def by_node(pod: Doc) -> tuple[str, ...]:
    """Index: the node a pod is bound to."""
    name = pod["spec"].get("nodeName")
    return (name,) if name else ()


class NodeLifecycleController(Controller):
    """Keys are node names and ``/monitor``."""

    name = "node-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.informer(NODES)
        self.leases = self.informer(LEASES)
        self.pods = self.informer(PODS)
        self.pods.add_index("node", by_node)
        self.recorder = context.recorder(self.name)
        # Node → when its lease or status was last seen to move, by the monotonic clock.
        self._seen: dict[str, float] = {}
        self.nodes.add_handler(self._node_changed)
        self.leases.add_handler(self._lease_changed)
        self.queue.add_after(MONITOR, PERIOD)

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            self._seen.pop(old["metadata"]["name"], None)
            return
        name = new["metadata"]["name"]
        if old is None or _beat(old) != _beat(new):
            self._seen[name] = self.clock.monotonic()
        if old is None or old.get("spec") != new.get("spec") or _verdicts(old) != _verdicts(new):
            self.queue.add(name)

    def _lease_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None and new["metadata"]["namespace"] == "kube-node-lease":
            name = new["metadata"]["name"]
            self._seen[name] = self.clock.monotonic()
            node = self.nodes.get(None, name)
            if node is not None and _ready(node) == "Unknown":
                self.queue.add(name)

    async def sync(self, key: str) -> None:
        """One node's taints, or the round of all nodes."""
        if key == MONITOR:
            await self._monitor()
            self.queue.add_after(MONITOR, PERIOD)
            return
        node = self.nodes.get(None, key)
        if node is not None:
            await self._taint(node)

    # -- heartbeats

    async def _monitor(self) -> None:
        now = self.clock.monotonic()
        for node in self.nodes:
            name = node["metadata"]["name"]
            seen = self._seen.setdefault(name, now)
            lease = self.leases.get("kube-node-lease", name)
            grace = GRACE
            if lease is not None:
                # Many nodes of one process beat more slowly and say so.
                grace = max(grace, float(lease["spec"].get("leaseDurationSeconds") or 0))
            if now - seen > grace and _ready(node) != "Unknown":
                await self._lost(node)

    async def _lost(self, node: Doc) -> None:
        metadata = node["metadata"]
        now = format_time(self.clock.now())
        conditions = []
        status = node.get("status", {})
        for type in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
            known = find(status.get("conditions"), type)
            condition = {
                "type": type,
                "status": "Unknown",
                "lastHeartbeatTime": metadata["creationTimestamp"],
                "lastTransitionTime": now,
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
            }
            if known is not None:
                condition["lastHeartbeatTime"] = known.get("lastHeartbeatTime")
                condition["reason"] = "NodeStatusUnknown"
                condition["message"] = "Kubelet stopped posting node status."
            conditions.append(condition)
        await self.client.patch(
            NODES,
            metadata["name"],
            {"status": {"conditions": conditions}},
            type="strategic",
            subresource="status",
        )
        self.recorder.event(
            {**reference(node, "v1", "Node"), "uid": metadata["name"]},
            "Normal",
            "NodeNotReady",
            f"Node {metadata['name']} status is now: NodeNotReady",
        )
        for pod in self.pods.indexed("node", metadata["name"]):
            await self._unready(pod, now)

    async def _unready(self, pod: Doc, now: str) -> None:
        ready = find(pod.get("status", {}).get("conditions"), "Ready")
        if ready is None or ready.get("status") != "True":
            return
        metadata = pod["metadata"]
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": now}
        try:
            await self.client.patch(
                PODS,
                metadata["name"],
                {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}},
                metadata["namespace"],
                type="strategic",
                subresource="status",
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise

    # -- taints

    async def _taint(self, node: Doc) -> None:
        metadata, spec = node["metadata"], node.get("spec", {})
        wanted = _wanted(node)
        taints = spec.get("taints") or []
        have = {(t["key"], t["effect"]) for t in taints if t["key"] in _OWN}
        if have != wanted:
            now = format_time(self.clock.now())
            kept = [t for t in taints if t["key"] not in _OWN or (t["key"], t["effect"]) in wanted]
            added = [
                {"key": key, "effect": effect}
                | ({"timeAdded": now} if effect == "NoExecute" else {})
                for key, effect in sorted(wanted - have)
            ]
            patch = {
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "spec": {"taints": [*kept, *added] or None},
            }
            node = await self.client.patch(NODES, metadata["name"], patch)


def _beat(node: Doc) -> Any:
    return [c.get("lastHeartbeatTime") for c in node.get("status", {}).get("conditions", ())]


def _verdicts(node: Doc) -> Any:
    return [(c["type"], c["status"]) for c in node.get("status", {}).get("conditions", ())]


def _ready(node: Doc) -> str:
    condition = find(node.get("status", {}).get("conditions"), "Ready")
    return str(condition["status"]) if condition is not None else "False"


def _wanted(node: Doc) -> set[tuple[str, str]]:
    """(key, effect) of the taints that the node's state asks for."""
    wanted: set[tuple[str, str]] = set()
    ready = _ready(node)
    if ready != "True":
        key = PREFIX + ("unreachable" if ready == "Unknown" else "not-ready")
        wanted |= {(key, "NoSchedule"), (key, "NoExecute")}
    for condition in node.get("status", {}).get("conditions", ()):
        name = _PRESSURE.get(condition["type"])
        if name and condition["status"] == "True":
            wanted.add((PREFIX + name, "NoSchedule"))
    if node.get("spec", {}).get("unschedulable"):
        wanted.add((PREFIX + "unschedulable", "NoSchedule"))
    return wanted
