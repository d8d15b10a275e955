"""Filters: whether a node can take a pod, and if not, why, in upstream's words.

The order of :func:`reasons` is that of the default plugins: the first to object speaks.

Source: https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cove.controllers.scheduler._nodes import NodeInfo, PodInfo
from cove.kube.labels import Selector, from_document

__all__ = ["Spread", "affinity_score", "matches_affinity", "static_reason", "tolerates"]

Doc = dict[str, Any]

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
HOSTNAME = "kubernetes.io/hostname"


def tolerates(tolerations: Iterable[Doc], taint: Doc) -> bool:
    """Whether one of the tolerations tolerates a taint."""
    for toleration in tolerations:
        effect = toleration.get("effect")
        if effect and effect != taint.get("effect"):
            continue
        key = toleration.get("key")
        if key and key != taint.get("key"):
            continue
        operator = toleration.get("operator") or "Equal"
        if operator == "Exists":
            return True
        if operator in ("Lt", "Gt"):
            try:
                wanted, found = int(toleration.get("value", "")), int(taint.get("value", ""))
            except ValueError:
                continue
            if found < wanted if operator == "Lt" else found > wanted:
                return True
        elif toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def _requirement(expression: Doc, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    operator = expression.get("operator")
    values: list[str] = expression.get("values") or []
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    try:
        number, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound


def _term(term: Doc, node: NodeInfo) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_requirement(e, node.labels) for e in expressions) and all(
        _requirement(f, {"metadata.name": node.name}) for f in fields
    )


def matches_affinity(spec: Doc, node: NodeInfo) -> bool:
    """nodeSelector and required node affinity."""
    labels = node.labels
    for key, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term(t, node) for t in required.get("nodeSelectorTerms") or ())


def affinity_score(spec: Doc, node: NodeInfo) -> float:
    """The weights of the preferred node affinities that hold, less intolerable soft taints."""
    score = 0.0
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    for preferred in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
        if _term(preferred["preference"], node):
            score += 2.0 * preferred["weight"]
    for taint in node.taints:
        if taint.get("effect") == "PreferNoSchedule":
            if not tolerates(spec.get("tolerations") or (), taint):
                score -= 100.0
    return score


def static_reason(spec: Doc, node: NodeInfo) -> str:
    """What about the node itself keeps the pod away, "" for nothing."""
    tolerations = spec.get("tolerations") or ()
    if node.unschedulable and not tolerates(tolerations, UNSCHEDULABLE):
        return "node(s) were unschedulable"
    wanted = spec.get("nodeName")
    if wanted and wanted != node.name:
        return "node(s) didn't match the requested node name"
    for taint in node.taints:
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
            return "node(s) had untolerated taint(s)"
    if not matches_affinity(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def _namespaces(term: Doc, namespace: str, labels_of: Callable[[str], Mapping[str, str]]) -> Any:
    """A predicate on namespaces: those of a term, the pod's own if it names none."""
    names = term.get("namespaces") or ()
    selector = term.get("namespaceSelector")
    if not names and selector is None:
        return lambda other: other == namespace
    chosen = None if selector is None else from_document(selector)
    return lambda other: (
        other in names
        or (chosen is not None and (chosen.empty or chosen.matches(labels_of(other))))
    )


def _with_keys(term: Doc, labels: Mapping[str, str]) -> Selector:
    """A term's selector with matchLabelKeys and mismatchLabelKeys taken from the pod."""
    selector: Doc = dict(term.get("labelSelector") or {})
    expressions = list(selector.get("matchExpressions") or ())
    for key, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        expressions += [
            {"key": name, "operator": operator, "values": [labels[name]]}
            for name in term.get(key) or ()
            if name in labels
        ]
    if expressions:
        selector["matchExpressions"] = expressions
    return from_document(selector) if term.get("labelSelector") is not None else from_document(None)


class Affinity:
    """A pod's required affinity and anti-affinity to other pods, counted over all nodes."""

    def __init__(
        self,
        pod: PodInfo,
        spec: Doc,
        nodes: Iterable[NodeInfo],
        labels_of: Callable[[str], Mapping[str, str]],
    ) -> None:
        affinity = spec.get("affinity") or {}
        key = "requiredDuringSchedulingIgnoredDuringExecution"
        nodes = list(nodes)
        self._wanted = [
            self._count(t, pod, nodes, labels_of)
            for t in (affinity.get("podAffinity") or {}).get(key) or ()
        ]
        self._refused = [self._count(t, pod, nodes, labels_of) for t in pod.anti_affinity]
        # The first pod of a group that wants to be with its own kind may go anywhere.
        self._first = not any(found for _, found in self._wanted) and all(
            _with_keys(t, pod.labels).matches(pod.labels)
            and _namespaces(t, pod.namespace, labels_of)(pod.namespace)
            for t in (affinity.get("podAffinity") or {}).get(key) or ()
        )
        self._others: set[tuple[str, str]] = set()
        for node in nodes:
            for other in node.with_anti_affinity.values():
                for term in other.anti_affinity:
                    topology = node.labels.get(term["topologyKey"])
                    if (
                        topology is not None
                        and _namespaces(term, other.namespace, labels_of)(pod.namespace)
                        and _with_keys(term, other.labels).matches(pod.labels)
                    ):
                        self._others.add((term["topologyKey"], topology))

    @staticmethod
    def _count(
        term: Doc,
        pod: PodInfo,
        nodes: list[NodeInfo],
        labels_of: Callable[[str], Mapping[str, str]],
    ) -> tuple[str, set[str]]:
        key = term["topologyKey"]
        selector = _with_keys(term, pod.labels)
        inside = _namespaces(term, pod.namespace, labels_of)
        found: set[str] = set()
        for node in nodes:
            topology = node.labels.get(key)
            if topology is None or topology in found:
                continue
            if any(inside(p.namespace) and selector.matches(p.labels) for p in node.pods.values()):
                found.add(topology)
        return key, found

    def reason(self, node: NodeInfo) -> str:
        """Why the node does not do, "" if it does."""
        labels = node.labels
        for key, found in self._wanted:
            if key not in labels or (labels[key] not in found and not self._first):
                return "node(s) didn't match pod affinity rules"
        for key, found in self._refused:
            if labels.get(key) in found:
                return "node(s) didn't match pod anti-affinity rules"
        for key, topology in self._others:
            if labels.get(key) == topology:
                return "node(s) didn't satisfy existing pods anti-affinity rules"
        return ""


class Spread:
    """A pod's topology spread constraints, counted over the nodes that it may use.

    Source: https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
    """

    def __init__(self, pod: PodInfo, spec: Doc, nodes: Iterable[NodeInfo]) -> None:
        self._hard: list[tuple[Doc, dict[str, int], int]] = []
        self._soft: list[tuple[Doc, dict[str, int], int]] = []
        constraints = spec.get("topologySpreadConstraints") or ()
        if not constraints:
            return
        nodes = list(nodes)
        for constraint in constraints:
            counts = self._count(constraint, pod, spec, nodes)
            own = int(_with_keys(constraint, pod.labels).matches(pod.labels))
            hard = constraint["whenUnsatisfiable"] == "DoNotSchedule"
            (self._hard if hard else self._soft).append((constraint, counts, own))

    @staticmethod
    def _count(constraint: Doc, pod: PodInfo, spec: Doc, nodes: list[NodeInfo]) -> dict[str, int]:
        key = constraint["topologyKey"]
        selector = _with_keys(constraint, pod.labels)
        honor_affinity = constraint.get("nodeAffinityPolicy", "Honor") == "Honor"
        honor_taints = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
        counts: dict[str, int] = {}
        for node in nodes:
            topology = node.labels.get(key)
            if topology is None:
                continue
            if honor_affinity and not matches_affinity(spec, node):
                continue
            if honor_taints and any(
                t.get("effect") in ("NoSchedule", "NoExecute")
                and not tolerates(spec.get("tolerations") or (), t)
                for t in node.taints
            ):
                continue
            counts[topology] = counts.get(topology, 0) + sum(
                1
                for p in node.pods.values()
                if p.namespace == pod.namespace and not p.terminating and selector.matches(p.labels)
            )
        return counts

    def reason(self, node: NodeInfo) -> str:
        """Why the node does not do, "" if it does."""
        for constraint, counts, own in self._hard:
            topology = node.labels.get(constraint["topologyKey"])
            if topology is None:
                return (
                    "node(s) didn't match pod topology spread constraints (missing required label)"
                )
            least = min(counts.values(), default=0)
            if len(counts) < (constraint.get("minDomains") or 1):
                least = 0
            if counts.get(topology, 0) + own - least > constraint["maxSkew"]:
                return "node(s) didn't match pod topology spread constraints"
        return ""

    def score(self, node: NodeInfo) -> float:
        """0–200: how few pods share the node's domains."""
        score = 0.0
        for constraint, counts, _ in self._soft:
            topology = node.labels.get(constraint["topologyKey"])
            most = max(counts.values(), default=0)
            if topology is not None and most:
                score += 200.0 * (1 - counts.get(topology, 0) / most)
        return score / max(len(self._soft), 1)


def preferred_score(
    pod: PodInfo,
    spec: Doc,
    nodes: Iterable[NodeInfo],
    labels_of: Callable[[str], Mapping[str, str]],
) -> dict[tuple[str, str], float]:
    """Weights by (topology key, domain) of preferred affinity and anti-affinity to pods."""
    weights: dict[tuple[str, str], float] = {}
    affinity = spec.get("affinity") or {}
    for field, sign in (("podAffinity", 1.0), ("podAntiAffinity", -1.0)):
        terms = (affinity.get(field) or {}).get(
            "preferredDuringSchedulingIgnoredDuringExecution"
        ) or ()
        for weighted in terms:
            term = weighted["podAffinityTerm"]
            selector = _with_keys(term, pod.labels)
            inside = _namespaces(term, pod.namespace, labels_of)
            for node in nodes:
                topology = node.labels.get(term["topologyKey"])
                if topology is None:
                    continue
                hits = sum(
                    1
                    for p in node.pods.values()
                    if inside(p.namespace) and selector.matches(p.labels)
                )
                if hits:
                    key = (term["topologyKey"], topology)
                    weights[key] = weights.get(key, 0.0) + sign * weighted["weight"] * hits
    return weights
