"""A scheduling cycle: what the filters say of every node about one pod.

The filters run in the order of upstream's default plugins; the first to object speaks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cove.controllers.scheduler._affinity import AFFINITY, Affinity
from cove.controllers.scheduler._devices import PodDevices
from cove.controllers.scheduler._filters import static_reason
from cove.controllers.scheduler._nodes import NodeInfo, PodInfo
from cove.controllers.scheduler._spread import MISSING, Spread
from cove.controllers.scheduler._terms import LabelsOf
from cove.controllers.scheduler._volumes import PodVolumes

__all__ = ["Cycle", "UnschedulableError", "Verdict", "available"]

Doc = dict[str, Any]

PORTS = "node(s) didn't have free ports for the requested pod ports"
NO_NODES = "no nodes available to schedule pods"
# Which plugin says what about the node itself.
PLUGINS = {
    "node(s) were unschedulable": "NodeUnschedulable",
    "node(s) didn't match the requested node name": "NodeName",
    "node(s) had untolerated taint(s)": "TaintToleration",
    "node(s) didn't match Pod's node affinity/selector": "NodeAffinity",
}


class Verdict(NamedTuple):
    """Why a node does not take a pod; ``resolvable`` if removing pods may change that."""

    plugin: str
    reasons: tuple[str, ...]
    resolvable: bool


def available(total: int, reasons: Mapping[str, int]) -> str:
    """Upstream's sentence about nodes and reasons."""
    told = ", ".join(sorted(f"{n} {text}" for text, n in reasons.items()))
    return f"0/{total} nodes are available:{f' {told}.' if told else ''}"


class UnschedulableError(Exception):
    """No node takes the pod.  The text is the condition's and the event's, without what
    preemption adds: ``verdicts`` by node's name is for that.

    ``whole`` is set where no node was looked at: the reason lies with the pod itself.
    """

    def __init__(
        self,
        total: int,
        verdicts: Mapping[str, Verdict],
        *,
        whole: str = "",
        plugin: str = "",
    ) -> None:
        self.total = total
        self.verdicts = verdicts
        self.whole = whole
        self.plugins = {v.plugin for v in verdicts.values()} or {plugin}
        if not total:
            super().__init__(NO_NODES)
        elif whole:
            super().__init__(f"0/{total} nodes are available: {whole}.")
        else:
            reasons = Counter(r for v in verdicts.values() for r in v.reasons)
            super().__init__(available(total, reasons))


class Cycle:
    """One pod's view of the nodes.

    ``named`` are the only nodes it may go to, None for any; ``nominated`` are pods that
    were promised room on a node by preemption, by node and uid.
    """

    def __init__(
        self,
        pod: PodInfo,
        spec: Doc,
        nodes: list[NodeInfo],
        labels_of: LabelsOf,
        *,
        volumes: PodVolumes | None = None,
        devices: PodDevices | None = None,
        named: set[str] | None = None,
        nominated: Mapping[str, Mapping[str, PodInfo]] | None = None,
    ) -> None:
        self.pod = pod
        self.spec = spec
        self.volumes = volumes
        self.devices = devices
        self._named = named
        self._nominated = nominated or {}
        self._affinity = Affinity(pod, nodes, labels_of)
        self._spread = Spread(pod, spec, nodes)
        if volumes is not None:
            volumes.start(nodes)

    def update(self, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """Put another pod on a node (1) or take it away (-1), here and at the node."""
        if sign > 0:
            node.add(other)
        else:
            node.remove(other.uid)
        self._affinity.update(other, node, sign)
        self._spread.update(other, node, sign)
        if self.volumes is not None:
            self.volumes.update(other, node, sign)

    def check(self, node: NodeInfo) -> Verdict | None:
        """None if the node does, also with the pods that it was promised to."""
        waiting = self._nominated.get(node.name)
        if not waiting:
            return self._check(node)
        promised = [
            p
            for p in waiting.values()
            if p.priority >= self.pod.priority and p.uid != self.pod.uid and p.uid not in node.pods
        ]
        if promised:
            for other in promised:
                self.update(other, node, 1)
            try:
                verdict = self._check(node)
            finally:
                for other in promised:
                    self.update(other, node, -1)
            if verdict is not None:
                return verdict
        # Without them too: the pod may not count on one that is not there yet.
        return self._check(node)

    def _check(self, node: NodeInfo) -> Verdict | None:
        pod = self.pod
        if self._named is not None and node.name not in self._named:
            reason = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
            return Verdict("NodeAffinity", (reason,), False)
        reason = static_reason(self.spec, node)
        if reason:
            return Verdict(PLUGINS[reason], (reason,), False)
        if pod.ports and node.conflicts(pod.ports):
            return Verdict("NodePorts", (PORTS,), True)
        if not node.fits(pod.requests):
            lacking = tuple(node.lacks(pod.requests))
            return Verdict("NodeResourcesFit", lacking, not node.too_small(pod.requests))
        if self.volumes is not None:
            verdict = self._check_volumes(self.volumes, node)
            if verdict is not None:
                return verdict
        reason = self._spread.reason(node)
        if reason:
            return Verdict("PodTopologySpread", (reason,), reason != MISSING)
        reason = self._affinity.reason(node)
        if reason:
            return Verdict("InterPodAffinity", (reason,), reason != AFFINITY)
        if self.devices is not None:
            reason = self.devices.reason(node)
            if reason:
                return Verdict("DynamicResources", (reason,), False)
        return None

    @staticmethod
    def _check_volumes(volumes: PodVolumes, node: NodeInfo) -> Verdict | None:
        reason = volumes.restricted()
        if reason:
            return Verdict("VolumeRestrictions", (reason,), True)
        reason = volumes.over_limit(node)
        if reason:
            return Verdict("NodeVolumeLimits", (reason,), True)
        reasons = volumes.reasons(node)
        if reasons:
            return Verdict("VolumeBinding", reasons, False)
        reason = volumes.zone(node)
        if reason:
            return Verdict("VolumeZone", (reason,), False)
        return None

    def feasible(self, nodes: Iterable[NodeInfo]) -> tuple[list[NodeInfo], dict[str, Verdict]]:
        """The nodes that do, and why the others do not."""
        good: list[NodeInfo] = []
        verdicts: dict[str, Verdict] = {}
        for node in nodes:
            verdict = self.check(node)
            if verdict is None:
                good.append(node)
            else:
                verdicts[node.name] = verdict
        return good, verdicts
