"""Claims and volumes as both the binder and the scheduler read them.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cove.kube.labels import from_document
from cove.kube.quantity import parse

__all__ = [
    "BIND_COMPLETED",
    "BOUND_BY_CONTROLLER",
    "NO_PROVISIONER",
    "SELECTED_NODE",
    "claim_reference",
    "class_name",
    "is_for",
    "smallest_match",
]

Doc = dict[str, Any]

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def class_name(obj: Doc) -> str:
    """The class of a claim or volume, "" for none; an old annotation goes before the field."""
    annotation = (obj["metadata"].get("annotations") or {}).get(BETA_CLASS)
    return str(annotation or obj["spec"].get("storageClassName") or "")


def is_for(ref: Doc, claim: Doc) -> bool:
    """Whether a volume's reference means the claim; one without uid means any of the name."""
    metadata = claim["metadata"]
    return (
        ref.get("namespace") == metadata["namespace"]
        and ref.get("name") == metadata["name"]
        and ref.get("uid") in (None, "", metadata["uid"])
    )


def claim_reference(claim: Doc) -> Doc:
    """What a volume that is a claim's says of it."""
    metadata = claim["metadata"]
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }


def smallest_match(
    claim: Doc,
    volumes: Iterable[Doc],
    reachable: Callable[[Doc], bool] = lambda _: True,
    *,
    prebound_only: bool = False,
) -> Doc | None:
    """The smallest volume that does, one that names the claim before all others."""
    spec = claim["spec"]
    wanted = parse((spec.get("resources") or {}).get("requests", {}).get("storage", "0"))
    modes = set(spec.get("accessModes") or ())
    selector = from_document(spec["selector"]) if spec.get("selector") else None
    best: Doc | None = None
    for volume in volumes:
        body = volume["spec"]
        ref = body.get("claimRef")
        if "deletionTimestamp" in volume["metadata"]:
            continue
        if ref is not None and not is_for(ref, claim):
            continue
        size = parse(body.get("capacity", {}).get("storage", "0"))
        if size < wanted:
            continue
        if body.get("volumeMode", "Filesystem") != spec.get("volumeMode", "Filesystem"):
            continue
        if body.get("volumeAttributesClassName") != spec.get("volumeAttributesClassName"):
            continue
        if not reachable(volume):
            continue
        if ref is not None:
            return volume
        if prebound_only or class_name(volume) != class_name(claim):
            continue
        if volume.get("status", {}).get("phase") not in ("Available", None, "Pending"):
            continue
        if selector is not None and not selector.matches(volume["metadata"].get("labels")):
            continue
        if not modes <= set(body.get("accessModes") or ()):
            continue
        if best is None or size < parse(best["spec"]["capacity"]["storage"]):
            best = volume
    return best
