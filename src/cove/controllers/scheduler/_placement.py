"""Placement: the best node for a pod, and why there is none.

In a cluster of usual size every pod is compared with every node, as upstream does.  In a
large one most pods are alike: those that ask for the same and look at nothing but the
nodes share a heap of nodes, best first, which is brought up to date as it is read, so that
a thousand nodes cost a pod a handful of looks.  Pods that look at other pods or at volumes
are compared with every node there too.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson

from cove.controllers.scheduler._cycle import Cycle, UnschedulableError
from cove.controllers.scheduler._devices import PodDevices
from cove.controllers.scheduler._filters import affinity_score, named_nodes, static_reason
from cove.controllers.scheduler._nodes import NodeInfo, PodInfo
from cove.controllers.scheduler._score import scores
from cove.controllers.scheduler._terms import LabelsOf
from cove.controllers.scheduler._volumes import PodVolumes
from cove.kube.labels import Selector

__all__ = ["EXACT", "Placement", "UnschedulableError"]

Doc = dict[str, Any]

# Up to so many nodes (upstream's minimum, too) every pod is compared with all of them.
EXACT = 100
CLASSES = 64
# The log of nodes that got better is kept this long before classes start afresh.
LOG = 20_000


class _Class:
    """Pods that are alike: their static verdicts, and the nodes by score."""

    __slots__ = ("heap", "position", "spec", "static")

    def __init__(self, spec: Doc) -> None:
        self.spec = spec
        self.heap: list[tuple[float, float, str, int]] = []
        self.position = 0
        # By node name: (the node's document, whether it does, its constant score).
        self.static: dict[str, tuple[Doc | None, bool, float]] = {}


class Placement:
    """The nodes with their pods, assumed ones included."""

    def __init__(self, rng: random.Random, labels_of: LabelsOf) -> None:
        # Pods that preemption has promised room: by node, by uid.
        self.nominated: dict[str, dict[str, PodInfo]] = {}
        self.nodes: dict[str, NodeInfo] = {}
        self._rng = rng
        self._labels_of = labels_of
        self._where: dict[str, str] = {}
        self._classes: OrderedDict[bytes, _Class] = OrderedDict()
        self._better: list[str] = []
        self._anti = 0

    # -- what there is

    def _info(self, name: str) -> NodeInfo:
        info = self.nodes.get(name)
        if info is None:
            info = self.nodes[name] = NodeInfo(name, self._rng.random())
        return info

    def set_node(self, node: Doc) -> bool:
        """A node is there or has changed; whether that can matter to a pod."""
        info = self._info(node["metadata"]["name"])
        before = (info.node is None, info.labels, info.taints, info.unschedulable, info.allocatable)
        info.set_node(node)
        after = (False, info.labels, info.taints, info.unschedulable, info.allocatable)
        if before == after:
            return False
        self._improved(info.name)
        return True

    def remove_node(self, name: str) -> None:
        """A node is gone; pods that are told to be on it are kept in mind."""
        info = self.nodes.get(name)
        if info is None:
            return
        info.node = None
        info.generation += 1
        if not info.pods:
            del self.nodes[name]

    def add_pod(self, pod: PodInfo) -> None:
        """A pod is on its node, or will be."""
        before = self._where.get(pod.uid)
        if before is not None:
            known = self.nodes[before].pods.get(pod.uid)
            if before == pod.node and known is not None and known.requests == pod.requests:
                self.nodes[before].relabel(known, pod.labels)
                known.terminating, known.started = pod.terminating, pod.started
                return
            self.remove_pod(pod.uid)
        self._where[pod.uid] = pod.node
        self._info(pod.node).add(pod)
        if pod.anti_affinity:
            self._anti += 1

    def remove_pod(self, uid: str) -> bool:
        """A pod is off its node; False if it was on none."""
        name = self._where.pop(uid, None)
        if name is None:
            return False
        info = self.nodes[name]
        pod = info.remove(uid)
        if pod is not None and pod.anti_affinity:
            self._anti -= 1
        self._improved(name)
        if info.node is None and not info.pods:
            del self.nodes[name]
        return True

    def placed(self, uid: str) -> str:
        """The node of a pod, "" if it has none."""
        return self._where.get(uid, "")

    def _improved(self, name: str) -> None:
        if not self._classes:
            return
        self._better.append(name)
        if len(self._better) > LOG:
            self._better.clear()
            self._classes.clear()

    def nominate(self, pod: PodInfo, node: str) -> None:
        """Keep room for a pod on a node, "" for no longer."""
        self.forget_nomination(pod.uid)
        if node:
            self.nominated.setdefault(node, {})[pod.uid] = pod

    def forget_nomination(self, uid: str) -> None:
        """A pod needs no room kept any more."""
        for name, pods in list(self.nominated.items()):
            if pods.pop(uid, None) is not None and not pods:
                del self.nominated[name]

    # -- where to

    @property
    def known(self) -> list[NodeInfo]:
        """The nodes that there are."""
        return [n for n in self.nodes.values() if n.node is not None]

    def cycle(
        self,
        pod: PodInfo,
        spec: Doc,
        volumes: PodVolumes | None = None,
        nodes: list[NodeInfo] | None = None,
        devices: PodDevices | None = None,
    ) -> Cycle:
        """The filters for one pod."""
        return Cycle(
            pod,
            spec,
            self.known if nodes is None else nodes,
            self._labels_of,
            volumes=volumes,
            devices=devices,
            named=named_nodes(spec),
            nominated=self.nominated,
        )

    def place(
        self,
        pod: PodInfo,
        spec: Doc,
        *,
        volumes: PodVolumes | None = None,
        devices: PodDevices | None = None,
        defaults: Sequence[tuple[Doc, Selector]] = (),
    ) -> str:
        """The node for a pod; raises UnschedulableError.

        ``defaults`` are the spread constraints of pods without any.
        """
        if len(self.nodes) > EXACT and volumes is None and devices is None and not self.nominated:
            if not (pod.ports or pod.anti_affinity or self._anti or _looks_at_pods(spec)):
                name = self._by_class(pod, spec)
                if name:
                    return name
        nodes = self.known
        cycle = self.cycle(pod, spec, volumes, nodes, devices)
        feasible, verdicts = cycle.feasible(nodes)
        if not feasible:
            raise UnschedulableError(len(nodes), verdicts)
        if len(feasible) == 1:
            return feasible[0].name
        values = scores(pod, spec, feasible, nodes, self._labels_of, defaults)
        best = max(values)
        return self._rng.choice(
            [n for n, v in zip(feasible, values, strict=True) if v == best]
        ).name

    def _by_class(self, pod: PodInfo, spec: Doc) -> str:
        key = orjson.dumps(
            (
                spec.get("nodeSelector"),
                spec.get("affinity"),
                spec.get("tolerations"),
                pod.requests,
                pod.cpu,
                pod.memory,
            )
        )
        found = self._classes.get(key)
        if found is None:
            found = self._classes[key] = _Class(spec)
            found.position = len(self._better)
            for info in self.nodes.values():
                self._push(found, info, pod)
            heapq.heapify(found.heap)
            if len(self._classes) > CLASSES:
                self._classes.popitem(last=False)
        else:
            self._classes.move_to_end(key)
            for name in set(self._better[found.position :]):
                info_ = self.nodes.get(name)
                if info_ is not None:
                    self._push(found, info_, pod)
            found.position = len(self._better)
        return self._best(found, pod)

    def _push(self, class_: _Class, info: NodeInfo, pod: PodInfo) -> None:
        """An entry for the node as it is now, if it does."""
        known = class_.static.get(info.name)
        if known is None or known[0] is not info.node:
            usable = info.node is not None and not static_reason(class_.spec, info)
            bonus = affinity_score(class_.spec, info) if usable else 0.0
            known = class_.static[info.name] = (info.node, usable, bonus)
        if known[1] and info.fits(pod.requests):
            score = info.score(pod.cpu, pod.memory) + known[2]
            heapq.heappush(class_.heap, (-score, info.tie, info.name, info.generation))

    def _best(self, class_: _Class, pod: PodInfo) -> str:
        heap = class_.heap
        while heap:
            _, _, name, generation = heap[0]
            info = self.nodes.get(name)
            if info is not None and info.generation == generation:
                # Stays on the heap: once the pod is on the node the entry is out of date.
                return name
            heapq.heappop(heap)
            if info is not None and info.node is not None:
                self._push(class_, info, pod)
        return ""


def _looks_at_pods(spec: Doc) -> bool:
    affinity = spec.get("affinity")
    if affinity and (affinity.get("podAffinity") or affinity.get("podAntiAffinity")):
        return True
    return bool(spec.get("topologySpreadConstraints"))
