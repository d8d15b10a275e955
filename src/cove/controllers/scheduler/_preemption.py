"""Preemption: which pods have to go so that a more important one can stay.

The choice is upstream's: on every node the fewest and least important victims, budgets
respected where that is possible, and of the nodes the one that hurts least.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cove.controllers.scheduler._cycle import Cycle, Verdict, available
from cove.controllers.scheduler._nodes import NodeInfo, PodInfo
from cove.kube.labels import from_document

__all__ = ["Candidate", "NoCandidateError", "choose", "victims_on"]

Doc = dict[str, Any]

HELPLESS = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
# Of the nodes that may do, at least this share, and this many, are tried.
SHARE = 10
LEAST = 100
# Later than any time: a pod that no node has taken note of has not started.
NEVER = "9999"
# Priorities are made positive before they are summed: more victims are always worse.
OFFSET = 2**31


class NoCandidateError(Exception):
    """Preemption would not help; the text says why, node by node."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node and who would have to leave it, the most important first."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int

    @property
    def harm(self) -> tuple[int, int, int, int]:
        """What is compared first; less is better."""
        return (
            self.violations,
            self.victims[0].priority,
            sum(v.priority + OFFSET for v in self.victims),
            len(self.victims),
        )

    @property
    def since(self) -> str:
        """Since when the longest-running of the most important victims has run."""
        top = self.victims[0].priority
        return min(v.started or NEVER for v in self.victims if v.priority == top)


def importance(pod: PodInfo) -> tuple[int, str]:
    """Sorts the most important pods first: by priority, then by how long they have run."""
    return (-pod.priority, pod.started or NEVER)


def _violating(
    pods: Iterable[PodInfo], budgets: Iterable[Doc]
) -> tuple[list[PodInfo], list[PodInfo]]:
    """The pods whose removal a budget does not allow, and the others."""
    left = [(b, from_document(b["spec"].get("selector")), b.get("status", {})) for b in budgets]
    allowed = [status.get("disruptionsAllowed", 0) for _, _, status in left]
    bad: list[PodInfo] = []
    good: list[PodInfo] = []
    for pod in pods:
        violated = False
        for index, (budget, selector, status) in enumerate(left):
            if (
                not pod.labels
                or budget["metadata"]["namespace"] != pod.namespace
                or selector.empty
                or not selector.matches(pod.labels)
                # Its disruption has been counted already.
                or pod.key.partition("/")[2] in (status.get("disruptedPods") or {})
            ):
                continue
            allowed[index] -= 1
            violated = violated or allowed[index] < 0
        (bad if violated else good).append(pod)
    return bad, good


def victims_on(cycle: Cycle, node: NodeInfo, budgets: Iterable[Doc]) -> Candidate | Verdict:
    """Who would have to leave the node, or why that would not help; nothing is changed."""
    lesser = [p for p in node.pods.values() if p.priority < cycle.pod.priority]
    if not lesser:
        return Verdict("", (NO_VICTIMS,), False)
    gone: dict[str, PodInfo] = {}
    try:
        for pod in lesser:
            cycle.update(pod, node, -1)
            gone[pod.uid] = pod
        verdict = cycle.check(node)
        if verdict is not None:
            return verdict
        bad, good = _violating(sorted(lesser, key=importance), budgets)
        violations = 0
        # Spare as many as possible, those whose budget forbids their removal first.
        for pod in (*bad, *good):
            cycle.update(pod, node, 1)
            del gone[pod.uid]
            if cycle.check(node) is not None:
                cycle.update(pod, node, -1)
                gone[pod.uid] = pod
                violations += pod in bad
        return Candidate(node.name, tuple(sorted(gone.values(), key=importance)), violations)
    finally:
        for pod in gone.values():
            cycle.update(pod, node, 1)


def choose(
    cycle: Cycle,
    nodes: Mapping[str, NodeInfo],
    verdicts: Mapping[str, Verdict],
    budgets: list[Doc],
    rng: random.Random,
) -> Candidate:
    """The node to clear and its victims; raises NoCandidateError.

    ``verdicts`` are why the nodes do not do as they are.
    """
    hopeful = [name for name, v in verdicts.items() if v.resolvable]
    wanted = min(max(len(hopeful) * SHARE // 100, LEAST), len(hopeful))
    start = rng.randrange(len(hopeful)) if hopeful else 0
    found: list[Candidate] = []
    reasons: Counter[str] = Counter()
    for name in hopeful[start:] + hopeful[:start]:
        result = victims_on(cycle, nodes[name], budgets)
        if isinstance(result, Verdict):
            reasons.update(result.reasons)
        elif result.victims:
            found.append(result)
            if len(found) >= wanted and any(not c.violations for c in found):
                break
    if not found:
        if len(verdicts) > len(hopeful):
            reasons[HELPLESS] += len(verdicts) - len(hopeful)
        raise NoCandidateError(available(len(verdicts), reasons))
    least = min(c.harm for c in found)
    return max((c for c in found if c.harm == least), key=lambda c: c.since)
