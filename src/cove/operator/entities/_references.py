"""References from one object to another, and who owns whom.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from typing import Any, TypeVar

from cove.operator.entities._documents import from_document, to_document
from cove.operator.entities._entity import Entity, info
from cove.operator.entities._metadata import ObjectMeta, ObjectReference, OwnerReference
from cove.operator.errors import EntityError

__all__ = ["object_reference", "owner_reference", "with_owner"]

T = TypeVar("T", bound=Entity | dict[str, Any])


def object_reference(obj: Entity) -> ObjectReference:
    """What names an object in an Event or in another object's field."""
    known, metadata = info(obj), obj.metadata
    return ObjectReference(
        api_version=known.api_version,
        kind=known.kind,
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


def owner_reference(obj: Entity, *, controller: bool = True, block: bool = True) -> OwnerReference:
    """What an object's children say of it.

    ``controller``: it is the one that manages them.  ``block``: deletion in the foreground
    waits for them.  Raises EntityError for an object without a uid: it was never created.
    """
    known = info(obj)
    if not obj.metadata.uid:
        raise EntityError(f"{known.kind} {obj.metadata.name} has no uid yet: create it first")
    return OwnerReference(
        api_version=known.api_version,
        kind=known.kind,
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        controller=controller or None,
        block_owner_deletion=block or None,
    )


def with_owner(obj: T, owner: Entity, *, controller: bool = True, block: bool = True) -> T:
    """Make ``owner`` an owner of ``obj``, an entity or a document, in place; it is returned.

    Once is enough: another call brings the same reference up to date.  Raises EntityError where
    the API server would not collect it as meant: another controller has it, the owner lives in
    another namespace, or the owner lives in one and the object does not.
    """
    reference = owner_reference(owner, controller=controller, block=block)
    if isinstance(obj, Entity):
        _check_namespaces(obj.kind, obj.metadata, owner, namespaced=_is_namespaced(obj))
        obj.metadata.owner_references = _added(obj.kind, obj.metadata, reference)
        return obj
    doc: dict[str, Any] = obj
    metadata = from_document(ObjectMeta, doc.get("metadata") or {})
    kind = str(doc.get("kind") or "object")
    _check_namespaces(kind, metadata, owner, namespaced=None)
    references = [to_document(r) for r in _added(kind, metadata, reference)]
    doc["metadata"] = {**(doc.get("metadata") or {}), "ownerReferences": references}
    return obj


def _is_namespaced(obj: Entity) -> bool:
    return info(obj).namespaced


def _check_namespaces(
    kind: str, metadata: ObjectMeta, owner: Entity, *, namespaced: bool | None
) -> None:
    """``namespaced`` is None where it is not known: of a document."""
    home, own = owner.metadata.namespace, metadata.namespace
    if not info(owner).namespaced:
        return
    what = f"{kind} {metadata.name}"
    if namespaced is False:
        raise EntityError(
            f"{what} belongs to no namespace: {owner.kind} {owner.metadata.name} of namespace {home} "
            "cannot own it"
        )
    if own and home and own != home:
        raise EntityError(
            f"{what} is in namespace {own}: {owner.kind} {owner.metadata.name} of namespace {home} "
            "cannot own it"
        )


def _added(kind: str, metadata: ObjectMeta, new: OwnerReference) -> list[OwnerReference]:
    out: list[OwnerReference] = []
    for known in metadata.owner_references:
        if known.uid == new.uid:
            continue
        if known.controller and new.controller:
            raise EntityError(
                f"{kind} {metadata.name} has a controller already: {known.kind} {known.name}"
            )
        out.append(known)
    # At its old place, so that nothing changes when nothing is new.
    at = next((i for i, r in enumerate(metadata.owner_references) if r.uid == new.uid), len(out))
    return [*out[:at], new, *out[at:]]
