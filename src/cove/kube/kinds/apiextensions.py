"""CustomResourceDefinition: what is the same for all kinds; its schemas are judged elsewhere."""

from __future__ import annotations

from cove.kube.kinds._kind import Kind, Obj, keep

__all__ = ["CustomResourceDefinition"]


class CustomResourceDefinition(Kind):
    """A kind that a client brings along."""

    generation = True
    status = True
    allow_unconditional_update = False

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        for key in ("labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp"):
            keep(obj["metadata"], old["metadata"], key)
