"""What a change is, and which changes are worth a reconcile.

Source: https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/predicate
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag, auto
from typing import Any

__all__ = [
    "Change",
    "Predicate",
    "annotations_changed",
    "any_of",
    "change_of",
    "everything",
    "generation_changed",
    "labels_changed",
]

Doc = dict[str, Any]
# Whether the change from the first state to the second is worth a reconcile.
Predicate = Callable[[Doc, Doc], bool]

# Parts of an object that change without anybody wanting something else of it.
_NOT_WANTED = frozenset({"metadata", "status", "apiVersion", "kind"})


class Change(Flag):
    """What has happened to an object since it was last worked on."""

    NONE = 0
    RECONCILE = auto()
    STATUS = auto()
    DELETING = auto()
    GONE = auto()


def generation_changed(old: Doc, new: Doc) -> bool:
    """Whether something else is wanted of the object than before.

    That is what ``metadata.generation`` counts; kinds without one (ConfigMaps, Secrets) are
    compared themselves, without metadata and status.
    """
    before, now = old["metadata"].get("generation"), new["metadata"].get("generation")
    if before is not None or now is not None:
        return bool(before != now)
    keys = (old.keys() | new.keys()) - _NOT_WANTED
    return any(old.get(key) != new.get(key) for key in keys)


def labels_changed(old: Doc, new: Doc) -> bool:
    """Whether labels are others than before."""
    return bool(old["metadata"].get("labels") != new["metadata"].get("labels"))


def annotations_changed(old: Doc, new: Doc) -> bool:
    """Whether annotations are others than before."""
    return bool(old["metadata"].get("annotations") != new["metadata"].get("annotations"))


def everything(old: Doc, new: Doc) -> bool:
    """Every write at all."""
    return True


def any_of(*predicates: Predicate) -> Predicate:
    """Whether one of these says so."""
    return lambda old, new: any(predicate(old, new) for predicate in predicates)


def change_of(old: Doc, new: Doc, predicate: Predicate) -> Change:
    """What a write was: a wish, a status, the beginning of the end, or nothing of these."""
    deleting = "deletionTimestamp"
    if new["metadata"].get(deleting):
        # Finalizers are all that is left to do, whatever is written from now on: what we
        # take off ourselves must not call the next one before its time.
        return Change.NONE if old["metadata"].get(deleting) else Change.DELETING
    change = Change.NONE
    if old["metadata"].get("uid") != new["metadata"].get("uid") or predicate(old, new):
        change |= Change.RECONCILE
    if old.get("status") != new.get("status"):
        change |= Change.STATUS
    return change
