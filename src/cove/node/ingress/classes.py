"""Classes: which Ingresses are ours.

Source: https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cove.client import Client
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

__all__ = ["CLASS", "CONTROLLER", "Classes", "ensure_class"]

Doc = dict[str, Any]

INGRESS_CLASSES = GVR("networking.k8s.io", "v1", "ingressclasses")
CLASS = "cove"
CONTROLLER = "cove.dev/ingress"
DEFAULT = "ingressclass.kubernetes.io/is-default-class"
LEGACY = "kubernetes.io/ingress.class"


class Classes:
    """The classes of one moment: those whose controller we are, and whether one is default."""

    def __init__(self, classes: Iterable[Doc]) -> None:
        ours = [c for c in classes if (c.get("spec") or {}).get("controller") == CONTROLLER]
        self._names = {c["metadata"]["name"] for c in ours}
        self._default = any(_is_default(c) for c in ours)

    def ours(self, ingress: Doc) -> bool:
        """Whether we serve it."""
        named = ingress["spec"].get("ingressClassName")
        if named is None:
            named = (ingress["metadata"].get("annotations") or {}).get(LEGACY)
        return self._default if named is None else named in self._names


def _is_default(doc: Doc) -> bool:
    return (doc["metadata"].get("annotations") or {}).get(DEFAULT) == "true"


async def ensure_class(client: Client) -> Doc:
    """The class ``cove``, made if it is not there, the default one unless another is."""
    there = (await client.list(INGRESS_CLASSES)).items
    metadata: Doc = {"name": CLASS}
    if not any(_is_default(c) for c in there):
        metadata["annotations"] = {DEFAULT: "true"}
    doc = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": metadata,
        "spec": {"controller": CONTROLLER},
    }
    try:
        return await client.create(INGRESS_CLASSES, doc)
    except StatusError as e:
        if e.reason != "AlreadyExists":
            raise
        return await client.get(INGRESS_CLASSES, CLASS)
