"""Affinity between pods: where a pod must or must not be because of others.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
"""

from __future__ import annotations

from collections.abc import Iterable

from cove.controllers.scheduler._nodes import NodeInfo, PodInfo
from cove.controllers.scheduler._terms import LabelsOf, Term

__all__ = ["Affinity", "affinity_weights"]

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"

Domains = dict[tuple[str, str], int]


def _count(domains: Domains, terms: Iterable[Term], node: NodeInfo, sign: int) -> None:
    for term in terms:
        value = node.labels.get(term.key)
        if value is not None:
            domain = (term.key, value)
            domains[domain] = domains.get(domain, 0) + sign
            if not domains[domain]:
                del domains[domain]


class Affinity:
    """How many pods of each domain a pod wants to be with, must not be with, or is refused by."""

    def __init__(self, pod: PodInfo, nodes: Iterable[NodeInfo], labels_of: LabelsOf) -> None:
        self._pod = pod
        self._labels_of = labels_of
        self._wanted: Domains = {}
        self._refused: Domains = {}
        self._others: Domains = {}
        own = bool(pod.affinity or pod.anti_affinity)
        for node in nodes:
            for other in (node.pods if own else node.with_anti_affinity).values():
                self.update(other, node, 1)

    def update(self, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """Another pod is (1), or is not any more (-1), on a node."""
        pod, labels_of = self._pod, self._labels_of
        # Of required affinity a pod counts only if it is meant by every term.
        if pod.affinity and all(t.matches(other, labels_of) for t in pod.affinity):
            _count(self._wanted, pod.affinity, node, sign)
        if pod.anti_affinity:
            met = [t for t in pod.anti_affinity if t.matches(other, labels_of)]
            _count(self._refused, met, node, sign)
        if other.anti_affinity:
            met = [t for t in other.anti_affinity if t.matches(pod, labels_of)]
            _count(self._others, met, node, sign)

    def reason(self, node: NodeInfo) -> str:
        """Why the node does not do, "" if it does."""
        labels, pod = node.labels, self._pod
        if pod.affinity:
            if any(t.key not in labels for t in pod.affinity):
                return AFFINITY
            if not all((t.key, labels[t.key]) in self._wanted for t in pod.affinity):
                # The first pod of a group that wants to be with its own may go anywhere.
                if self._wanted or not all(t.matches(pod, self._labels_of) for t in pod.affinity):
                    return AFFINITY
        for term in pod.anti_affinity:
            if (term.key, labels.get(term.key)) in self._refused:
                return ANTI_AFFINITY
        for key, value in self._others:
            if labels.get(key) == value:
                return EXISTING
        return ""


def affinity_weights(pod: PodInfo, nodes: Iterable[NodeInfo], labels_of: LabelsOf) -> Domains:
    """Weights by domain of what the pod prefers, and of what pods there prefer about it.

    A required affinity of a pod that is there weighs 1.
    """
    weights: Domains = {}
    own = pod.preferred

    def weigh(term: Term, node: NodeInfo, weight: int) -> None:
        value = node.labels.get(term.key)
        if value is not None:
            weights[term.key, value] = weights.get((term.key, value), 0) + weight

    for node in nodes:
        for other in (node.pods if own else node.with_affinity).values():
            for term in own:
                if term.matches(other, labels_of):
                    weigh(term, node, term.weight)
            for term in other.preferred:
                if term.matches(pod, labels_of):
                    weigh(term, node, term.weight)
            for term in other.affinity:
                if term.matches(pod, labels_of):
                    weigh(term, node, 1)
    return weights
