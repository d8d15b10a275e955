"""Topology spread: how evenly the pods that a constraint selects lie over domains.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cove.controllers.scheduler._filters import HARD_EFFECTS, matches_affinity, tolerates
from cove.controllers.scheduler._nodes import NodeInfo, PodInfo
from cove.controllers.scheduler._terms import selector_with_keys
from cove.kube.labels import Selector

__all__ = ["HOSTNAME", "Spread", "spread_scores", "system_defaults"]

Doc = dict[str, Any]
# Whether a node counts, by a constraint's policies.
Counts = Callable[[NodeInfo], bool]

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
MISSING = "node(s) didn't match pod topology spread constraints (missing required label)"
MISMATCH = "node(s) didn't match pod topology spread constraints"


class _Constraint:
    """One constraint of a pod; ``counts`` are the selected pods by domain."""

    __slots__ = ("counts", "includes", "key", "max_skew", "min_domains", "own", "pin", "selector")

    def __init__(
        self, document: Doc, pod: PodInfo, spec: Doc, selector: Selector | None = None
    ) -> None:
        self.key: str = document["topologyKey"]
        self.max_skew: int = document["maxSkew"]
        self.min_domains: int = document.get("minDomains") or 1
        self.selector = selector or selector_with_keys(document, pod.labels)
        # A label that every selected pod has: the node's index knows its pods.
        self.pin = next(
            (
                (pod.namespace, r.key, r.values[0])
                for r in reversed(self.selector.requirements)
                if r.operator in ("=", "==", "in") and len(r.values) == 1
            ),
            None,
        )
        self.own = int(self.selector.matches(pod.labels))
        self.includes = _policies(document, spec)
        self.counts: dict[str, int] = {}

    def selects(self, other: PodInfo, pod: PodInfo) -> bool:
        return (
            other.namespace == pod.namespace
            and not other.terminating
            and self.selector.matches(other.labels)
        )

    def on(self, node: NodeInfo, pod: PodInfo) -> int:
        pods = node.pods if self.pin is None else node.by_label.get(self.pin)
        if not pods:
            return 0
        return sum(1 for p in pods.values() if self.selects(p, pod))


def _policies(constraint: Doc, spec: Doc) -> Counts:
    affinity = constraint.get("nodeAffinityPolicy", "Honor") == "Honor"
    taints = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
    tolerations = spec.get("tolerations") or ()

    def includes(node: NodeInfo) -> bool:
        if affinity and not matches_affinity(spec, node):
            return False
        return not taints or all(
            t.get("effect") not in HARD_EFFECTS or tolerates(tolerations, t) for t in node.taints
        )

    return includes


def system_defaults(selector: Selector) -> list[tuple[Doc, Selector]]:
    """What pods of services and controllers without constraints of their own prefer."""
    return [
        ({"topologyKey": HOSTNAME, "maxSkew": 3}, selector),
        ({"topologyKey": ZONE, "maxSkew": 5}, selector),
    ]


class Spread:
    """The constraints that a pod must meet."""

    def __init__(self, pod: PodInfo, spec: Doc, nodes: Iterable[NodeInfo]) -> None:
        self._pod = pod
        self._hard = [
            _Constraint(c, pod, spec)
            for c in spec.get("topologySpreadConstraints") or ()
            if c["whenUnsatisfiable"] == "DoNotSchedule"
        ]
        if not self._hard:
            return
        for node in nodes:
            # A node counts for any constraint only if it is in a domain of each.
            if all(c.key in node.labels for c in self._hard):
                for c in self._hard:
                    if c.includes(node):
                        value = node.labels[c.key]
                        c.counts[value] = c.counts.get(value, 0) + c.on(node, pod)

    def update(self, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """Another pod is (1), or is not any more (-1), on a node."""
        if not self._hard or not all(c.key in node.labels for c in self._hard):
            return
        for c in self._hard:
            if c.selects(other, self._pod) and c.includes(node):
                c.counts[node.labels[c.key]] += sign

    def reason(self, node: NodeInfo) -> str:
        """Why the node does not do, "" if it does."""
        for c in self._hard:
            value = node.labels.get(c.key)
            if value is None:
                return MISSING
            least = min(c.counts.values(), default=0)
            if len(c.counts) < c.min_domains:
                least = 0
            if c.counts.get(value, 0) + c.own - least > c.max_skew:
                return MISMATCH
        return ""


def spread_scores(
    pod: PodInfo,
    spec: Doc,
    feasible: Sequence[NodeInfo],
    nodes: Iterable[NodeInfo],
    defaults: Sequence[tuple[Doc, Selector]],
) -> list[int]:
    """0–100 for each feasible node: 100 where the fewest selected pods are; [] for no wish.

    ``defaults`` apply to pods without any constraint; nodes without their zone still count.
    """
    written = spec.get("topologySpreadConstraints") or ()
    if written:
        soft = [
            _Constraint(c, pod, spec) for c in written if c["whenUnsatisfiable"] == "ScheduleAnyway"
        ]
    else:
        soft = [_Constraint(c, pod, spec, selector) for c, selector in defaults]
    if not soft:
        return []

    def complete(node: NodeInfo) -> bool:
        return not written or all(c.key in node.labels for c in soft)

    scored = [n for n in feasible if complete(n)]
    for c in soft:
        if c.key != HOSTNAME:
            c.counts = {n.labels.get(c.key, ""): 0 for n in scored}
    zoned = [c for c in soft if c.key != HOSTNAME and (len(c.counts) > 1 or written)]
    if zoned:
        for node in nodes:
            if not complete(node):
                continue
            for c in zoned:
                value = node.labels.get(c.key, "")
                if value in c.counts and c.includes(node):
                    c.counts[value] += c.on(node, pod)
    raw: dict[str, int] = {}
    for node in scored:
        score = 0.0
        for c in soft:
            if c.key not in node.labels:
                continue
            if c.key == HOSTNAME:
                found, size = c.on(node, pod), len(scored)
            else:
                found, size = c.counts[node.labels[c.key]], len(c.counts)
            # A domain among few weighs less than one among many.
            score += found * math.log(size + 2) + (c.max_skew - 1)
        raw[node.name] = math.floor(score + 0.5)
    least, most = min(raw.values(), default=0), max(raw.values(), default=0)
    return [
        0 if n.name not in raw else 100 * (most + least - raw[n.name]) // most if most else 100
        for n in feasible
    ]
