"""Placement: the best node for a pod, and why there is none.

Most pods of a cluster are alike.  Pods that ask for the same and look at nothing but the
nodes share a heap of nodes, best first, which is brought up to date as it is read: a
thousand nodes cost a pod a handful of looks.  Pods that look at other pods (affinity,
spreading, host ports) are compared with every node.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from cove.controllers.scheduler._filters import (
    Affinity,
    Spread,
    affinity_score,
    preferred_score,
    static_reason,
)
from cove.controllers.scheduler._nodes import NodeInfo, PodInfo

__all__ = ["Placement", "UnschedulableError"]

Doc = dict[str, Any]

CLASSES = 64
# The log of nodes that got better is kept this long before classes start afresh.
LOG = 20_000


class UnschedulableError(Exception):
    """No node takes the pod; the text is the condition's and the event's.

    ``helpless``: on how many nodes not even removing other pods would help.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


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

    def __init__(self, rng: random.Random, labels_of: Callable[[str], Mapping[str, str]]) -> None:
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
                known.labels, known.terminating = pod.labels, pod.terminating
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

    # -- where to

    def place(self, info: PodInfo, spec: Doc) -> str:
        """The node for a pod; raises UnschedulableError."""
        simple = not (info.ports or info.anti_affinity or self._anti or _looks_at_pods(spec))
        name = self._by_class(info, spec) if simple else self._by_all(info, spec)
        if name:
            return name
        raise UnschedulableError(self._why(info, spec))

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

    def _by_all(self, pod: PodInfo, spec: Doc) -> str:
        nodes = [n for n in self.nodes.values() if n.node is not None]
        affinity = Affinity(pod, spec, nodes, self._labels_of)
        spread = Spread(pod, spec, nodes)
        weights = preferred_score(pod, spec, nodes, self._labels_of)
        best, best_rank = "", (float("-inf"), 0.0)
        for info in nodes:
            if (
                static_reason(spec, info)
                or info.conflicts(pod.ports)
                or not info.fits(pod.requests)
                or spread.reason(info)
                or affinity.reason(info)
            ):
                continue
            score = (
                info.score(pod.cpu, pod.memory) + affinity_score(spec, info) + spread.score(info)
            )
            for (key, domain), weight in weights.items():
                if info.labels.get(key) == domain:
                    score += weight
            rank = (score, self._rng.random())
            if rank > best_rank:
                best, best_rank = info.name, rank
        return best

    def _why(self, pod: PodInfo, spec: Doc) -> str:
        nodes = [n for n in self.nodes.values() if n.node is not None]
        if not nodes:
            return "no nodes available to schedule pods"
        affinity = Affinity(pod, spec, nodes, self._labels_of)
        spread = Spread(pod, spec, nodes)
        reasons: Counter[str] = Counter()
        helpless = 0
        for info in nodes:
            static = static_reason(spec, info)
            if static:
                reasons[static] += 1
                helpless += 1
                continue
            if info.conflicts(pod.ports):
                reasons["node(s) didn't have free ports for the requested pod ports"] += 1
                continue
            lacking = info.lacks(pod.requests)
            if lacking:
                reasons.update(lacking)
                # What is more than the whole node no preemption can free.
                if any(v > info.allocatable.get(n, 0) for n, v in pod.requests.items()):
                    helpless += 1
                continue
            text = spread.reason(info) or affinity.reason(info)
            if text:
                reasons[text] += 1
                if text.endswith(("(missing required label)", "match pod affinity rules")):
                    helpless += 1
        total = len(nodes)
        told = ", ".join(sorted(f"{n} {text}" for text, n in reasons.items()))
        parts = []
        if total - helpless:
            parts.append(f"{total - helpless} No preemption victims found for incoming pod")
        if helpless:
            parts.append(f"{helpless} Preemption is not helpful for scheduling")
        return (
            f"0/{total} nodes are available: {told}. "
            f"no new claims to deallocate, preemption: 0/{total} nodes are available: "
            f"{', '.join(sorted(parts))}."
        )


def _looks_at_pods(spec: Doc) -> bool:
    affinity = spec.get("affinity")
    if affinity and (affinity.get("podAffinity") or affinity.get("podAntiAffinity")):
        return True
    return bool(spec.get("topologySpreadConstraints"))
