"""Scores: which of the nodes that do is best, by upstream's default plugins and weights.

Source: https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cove.controllers.scheduler._affinity import affinity_weights
from cove.controllers.scheduler._filters import preference, soft_taints
from cove.controllers.scheduler._nodes import NodeInfo, PodInfo
from cove.controllers.scheduler._spread import spread_scores
from cove.controllers.scheduler._terms import LabelsOf
from cove.kube.labels import Selector

__all__ = ["scores"]

Doc = dict[str, Any]

MIB = 1024 * 1024
# Between these sizes an image that is there counts, in bytes; the upper one per container.
IMAGE_LEAST = 23 * MIB
IMAGE_MOST = 1000 * MIB


def scores(
    pod: PodInfo,
    spec: Doc,
    feasible: Sequence[NodeInfo],
    nodes: Sequence[NodeInfo],
    labels_of: LabelsOf,
    defaults: Sequence[tuple[Doc, Selector]] = (),
) -> list[int]:
    """A number for each feasible node; the highest wins."""
    total = [least_allocated(pod, n) + balanced(pod, n) for n in feasible]

    def add(weight: int, values: Iterable[int]) -> None:
        for index, value in enumerate(values):
            total[index] += weight * value

    add(3, _normalized([soft_taints(spec, n) for n in feasible], reverse=True))
    if (spec.get("affinity") or {}).get("nodeAffinity"):
        add(2, _normalized([preference(spec, n) for n in feasible]))
    add(2, spread_scores(pod, spec, feasible, nodes, defaults))
    add(2, _inter_pod(pod, feasible, nodes, labels_of))
    if any(n.images for n in feasible):
        add(1, _images(spec, feasible, nodes))
    return total


def _normalized(raw: list[int], *, reverse: bool = False) -> list[int]:
    most = max(raw, default=0)
    if not most:
        return [100 if reverse else 0] * len(raw)
    return [100 - 100 * v // most if reverse else 100 * v // most for v in raw]


def least_allocated(pod: PodInfo, node: NodeInfo) -> int:
    """0–100: how much of cpu and memory would be left."""
    score = weights = 0
    for name, used in (("cpu", node.cpu + pod.cpu), ("memory", node.memory + pod.memory)):
        room = node.allocatable.get(name, 0)
        if room:
            score += (room - used) * 100 // room if used <= room else 0
            weights += 1
    return score // weights if weights else 0


def _balance(cpu: int, memory: int, node: NodeInfo) -> int:
    fractions = [
        min(used / room, 1.0)
        for used, room in (
            (cpu, node.allocatable.get("cpu", 0)),
            (memory, node.allocatable.get("memory", 0)),
        )
        if room
    ]
    deviation = abs(fractions[0] - fractions[1]) / 2 if len(fractions) == 2 else 0.0
    return int((1 - deviation) * 100)


def balanced(pod: PodInfo, node: NodeInfo) -> int:
    """50–100: whether the pod makes cpu and memory more evenly used; 0 if it asks for neither."""
    cpu, memory = pod.requests.get("cpu", 0), pod.requests.get("memory", 0)
    if not cpu and not memory:
        return 0
    used_cpu, used_memory = node.requested.get("cpu", 0), node.requested.get("memory", 0)
    after = _balance(used_cpu + cpu, used_memory + memory, node)
    return 50 + int((50 + after - _balance(used_cpu, used_memory, node)) / 2)


def _inter_pod(
    pod: PodInfo, feasible: Sequence[NodeInfo], nodes: Sequence[NodeInfo], labels_of: LabelsOf
) -> list[int]:
    weights = affinity_weights(pod, nodes, labels_of)
    if not weights:
        return []
    raw = [
        sum(weight for (key, value), weight in weights.items() if n.labels.get(key) == value)
        for n in feasible
    ]
    least, most = min(raw), max(raw)
    if least == most:
        return []
    return [int(100 * (v - least) / (most - least)) for v in raw]


def _named(image: str) -> str:
    """With the tag that is meant where none is written."""
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _images(spec: Doc, feasible: Sequence[NodeInfo], nodes: Sequence[NodeInfo]) -> list[int]:
    containers = (*spec.get("initContainers", ()), *spec["containers"])
    names = [_named(c.get("image", "")) for c in containers]
    spread = {name: sum(1 for n in nodes if name in n.images) / len(nodes) for name in set(names)}
    most = IMAGE_MOST * len(containers)
    out = []
    for node in feasible:
        # An image that few nodes have counts less, or all pods would go to these.
        here = sum(int(node.images.get(name, 0) * spread[name]) for name in names)
        here = min(max(here, IMAGE_LEAST), most)
        out.append(100 * (here - IMAGE_LEAST) // (most - IMAGE_LEAST))
    return out
