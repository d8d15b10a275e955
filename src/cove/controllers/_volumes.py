"""Claims and volumes as both the binder and the scheduler read them.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cove.kube.labels import from_document
from cove.kube.quantity import Quantity, parse

__all__ = [
    "BETA_CLASS",
    "BIND_COMPLETED",
    "BOUND_BY_CONTROLLER",
    "NO_PROVISIONER",
    "PROVISIONED_BY",
    "SELECTED_NODE",
    "VOLUME_PROVISIONERS",
    "claim_reference",
    "claims_of_pods",
    "class_name",
    "is_for",
    "mismatch",
    "newest_default",
    "requested",
    "smallest_match",
]

Doc = dict[str, Any]

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
# On a claim: who is to make its volume.
VOLUME_PROVISIONERS = (
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
)
DEFAULT = "storageclass.kubernetes.io/is-default-class"
BETA_DEFAULT = "storageclass.beta.kubernetes.io/is-default-class"
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


def claims_of_pods(pod: Doc) -> list[str]:
    """Index of pods: the keys of the claims that they use, those of ephemeral volumes too."""
    metadata = pod["metadata"]
    keys = []
    for volume in pod["spec"].get("volumes") or ():
        claim = volume.get("persistentVolumeClaim")
        if claim:
            keys.append(f"{metadata['namespace']}/{claim['claimName']}")
        elif volume.get("ephemeral"):
            keys.append(f"{metadata['namespace']}/{metadata['name']}-{volume['name']}")
    return keys


def requested(claim: Doc) -> Quantity:
    """How much a claim asks for."""
    return parse((claim["spec"].get("resources") or {}).get("requests", {}).get("storage", "0"))


def mismatch(claim: Doc, volume: Doc) -> str:
    """Why a volume that a claim asks for by name does not do, "" if it does."""
    spec, body = claim["spec"], volume["spec"]
    if parse(body.get("capacity", {}).get("storage", "0")) < requested(claim):
        return "requested PV is too small"
    if class_name(claim) != class_name(volume):
        return "storageClassName does not match"
    if body.get("volumeMode", "Filesystem") != spec.get("volumeMode", "Filesystem"):
        return "incompatible volumeMode"
    if not set(spec.get("accessModes") or ()) <= set(body.get("accessModes") or ()):
        return "incompatible accessMode"
    return ""


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
    wanted = requested(claim)
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


def newest_default(classes: Iterable[Doc]) -> str:
    """The class of claims that name none, "" if there is none; of several the newest."""
    found: list[tuple[str, str]] = [
        (c["metadata"]["creationTimestamp"], c["metadata"]["name"])
        for c in classes
        if "true"
        in (
            (c["metadata"].get("annotations") or {}).get(DEFAULT),
            (c["metadata"].get("annotations") or {}).get(BETA_DEFAULT),
        )
    ]
    if not found:
        return ""
    newest = max(t for t, _ in found)
    return min(name for t, name in found if t == newest)
