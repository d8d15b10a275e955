"""Terms of affinity between pods, compiled once per pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cove.kube.labels import Selector, from_document

if TYPE_CHECKING:
    from cove.controllers.scheduler._nodes import PodInfo

__all__ = ["LabelsOf", "Term", "preferred_terms", "required_terms", "selector_with_keys"]

Doc = dict[str, Any]
# The labels of a namespace by its name.
LabelsOf = Callable[[str], Mapping[str, str]]

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def selector_with_keys(term: Doc, labels: Mapping[str, str]) -> Selector:
    """A term's selector with matchLabelKeys and mismatchLabelKeys taken from the pod.

    Where the server has merged the keys already, merging them again changes nothing.
    """
    document = term.get("labelSelector")
    if document is None:
        return from_document(None)
    expressions = list(document.get("matchExpressions") or ())
    for key, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        expressions += [
            {"key": name, "operator": operator, "values": [labels[name]]}
            for name in term.get(key) or ()
            if name in labels
        ]
    return from_document({**document, "matchExpressions": expressions})


class Term:
    """One (anti-)affinity term of a pod; ``weight`` is 0 for required ones."""

    __slots__ = ("chosen", "key", "names", "selector", "weight")

    def __init__(self, term: Doc, pod: PodInfo, weight: int = 0) -> None:
        self.key: str = term["topologyKey"]
        self.selector = selector_with_keys(term, pod.labels)
        namespaces = term.get("namespaceSelector")
        names = term.get("namespaces") or ()
        self.names = frozenset(names or ((pod.namespace,) if namespaces is None else ()))
        self.chosen = None if namespaces is None else from_document(namespaces)
        self.weight = weight

    def matches(self, pod: PodInfo, labels_of: LabelsOf) -> bool:
        """Whether a pod is meant."""
        if pod.namespace not in self.names:
            chosen = self.chosen
            if chosen is None:
                return False
            if not chosen.empty and not chosen.matches(labels_of(pod.namespace)):
                return False
        return self.selector.matches(pod.labels)


def required_terms(affinity: Doc | None, pod: PodInfo) -> tuple[Term, ...]:
    """The terms that have to hold."""
    if not affinity:
        return ()
    return tuple(Term(t, pod) for t in affinity.get(REQUIRED) or ())


def preferred_terms(spec: Doc, pod: PodInfo) -> tuple[Term, ...]:
    """The terms that had better hold; those of anti-affinity weigh less than nothing."""
    affinity = spec.get("affinity")
    if not affinity:
        return ()
    return tuple(
        Term(weighted["podAffinityTerm"], pod, sign * weighted["weight"])
        for field, sign in (("podAffinity", 1), ("podAntiAffinity", -1))
        for weighted in (affinity.get(field) or {}).get(PREFERRED) or ()
    )
