"""Protection: claims and volumes that are in use are not removed yet.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from typing import Any

from cove.controllers._controller import Context, Controller
from cove.controllers._resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from cove.kube.gvk import GVR

__all__ = ["ClaimProtection", "VolumeProtection"]

Doc = dict[str, Any]


class _Protection(Controller):
    """Adds a finalizer to what has none and takes it from what is deleted and unused."""

    gvr: GVR
    finalizer = ""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.objects = self.informer(self.gvr)
        self.watch_own(self.objects)

    def in_use(self, obj: Doc) -> bool:
        """Whether it has to stay."""
        raise NotImplementedError

    async def sync(self, key: str) -> None:
        """One object."""
        obj = self.objects.get_key(key)
        if obj is None:
            return
        metadata = obj["metadata"]
        finalizers = metadata.get("finalizers") or []
        if "deletionTimestamp" in metadata:
            if self.finalizer not in finalizers or self.in_use(obj):
                return
            finalizers = [f for f in finalizers if f != self.finalizer]
        elif self.finalizer not in finalizers:
            finalizers = [*finalizers, self.finalizer]
        else:
            return
        await self.client.update(
            self.gvr, {**obj, "metadata": {**metadata, "finalizers": finalizers}}
        )


class ClaimProtection(_Protection):
    """Claims stay as long as a pod uses them."""

    name = "pvc-protection-controller"
    gvr = PERSISTENT_VOLUME_CLAIMS
    finalizer = "kubernetes.io/pvc-protection"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.informer(PODS)
        self.pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        pod = new or old
        assert pod is not None
        for name in _claims(pod):
            self.queue.add(f"{pod['metadata']['namespace']}/{name}")

    def in_use(self, obj: Doc) -> bool:
        """Whether a pod that has not ended, or is on a node, names the claim."""
        metadata = obj["metadata"]
        return any(
            metadata["name"] in _claims(pod)
            and pod["spec"].get("nodeName")
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            for pod in self.pods.list(metadata["namespace"])
        )


class VolumeProtection(_Protection):
    """Volumes stay as long as a claim is bound to them."""

    name = "pv-protection-controller"
    gvr = PERSISTENT_VOLUMES
    finalizer = "kubernetes.io/pv-protection"

    def in_use(self, obj: Doc) -> bool:
        """Whether it is bound."""
        return bool(obj.get("status", {}).get("phase") == "Bound")


def _claims(pod: Doc) -> list[str]:
    names = []
    for volume in pod["spec"].get("volumes") or ():
        claim = volume.get("persistentVolumeClaim")
        if claim:
            names.append(claim["claimName"])
        elif volume.get("ephemeral"):
            names.append(f"{pod['metadata']['name']}-{volume['name']}")
    return names
