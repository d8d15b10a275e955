"""Filters: whether a node can take a pod, and if not, why, in upstream's words.

What only the node decides is here; :mod:`._cycle` has all filters in order.

Source: https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cove.controllers.scheduler._nodes import NodeInfo

__all__ = [
    "HARD_EFFECTS",
    "affinity_score",
    "matches_affinity",
    "matches_terms",
    "named_nodes",
    "preference",
    "soft_taints",
    "static_reason",
    "tolerates",
]

Doc = dict[str, Any]

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
HARD_EFFECTS = ("NoSchedule", "NoExecute")


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
    return matches_terms(required, node)


def matches_terms(selector: Doc, node: NodeInfo) -> bool:
    """Whether one of a NodeSelector's terms holds."""
    return any(_term(t, node) for t in selector.get("nodeSelectorTerms") or ())


def named_nodes(spec: Doc) -> set[str] | None:
    """The only nodes that required affinity names by metadata.name, None for no such rule.

    Pods of daemon sets are tied to their nodes so: all other nodes need no look.
    """
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return None
    named: set[str] = set()
    for term in required.get("nodeSelectorTerms") or ():
        here: set[str] | None = None
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name" and field.get("operator") == "In":
                values = set(field.get("values") or ())
                here = values if here is None else here & values
        if here is None:
            return None  # terms are alternatives: this one allows any node
        named |= here
    return named


def preference(spec: Doc, node: NodeInfo) -> int:
    """The weights of the preferred node affinities that hold."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return sum(
        preferred["weight"]
        for preferred in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        # An empty preference is every node's.
        if not preferred["preference"] or _term(preferred["preference"], node)
    )


def soft_taints(spec: Doc, node: NodeInfo) -> int:
    """How many taints would rather not have the pod."""
    if not node.taints:
        return 0
    tolerations = [
        t
        for t in spec.get("tolerations") or ()
        if not t.get("effect") or t["effect"] == "PreferNoSchedule"
    ]
    return sum(
        1
        for taint in node.taints
        if taint.get("effect") == "PreferNoSchedule" and not tolerates(tolerations, taint)
    )


def affinity_score(spec: Doc, node: NodeInfo) -> float:
    """Preferences and soft taints as one number that needs no other node."""
    return 2.0 * preference(spec, node) - 100.0 * soft_taints(spec, node)


def static_reason(spec: Doc, node: NodeInfo) -> str:
    """What about the node itself keeps the pod away, "" for nothing."""
    tolerations = spec.get("tolerations") or ()
    if node.unschedulable and not tolerates(tolerations, UNSCHEDULABLE):
        return "node(s) were unschedulable"
    wanted = spec.get("nodeName")
    if wanted and wanted != node.name:
        return "node(s) didn't match the requested node name"
    for taint in node.taints:
        if taint.get("effect") in HARD_EFFECTS and not tolerates(tolerations, taint):
            return "node(s) had untolerated taint(s)"
    if not matches_affinity(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""
