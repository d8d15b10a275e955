"""Reclaiming: what becomes of volumes whose claim is gone, or has taken another.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming
"""

from __future__ import annotations

import re
from typing import Any

from cove.client import Client, Recorder
from cove.client.recorder import reference
from cove.controllers._resources import PERSISTENT_VOLUMES
from cove.controllers._volumes import BOUND_BY_CONTROLLER, PROVISIONED_BY

__all__ = ["Reclaim"]

Doc = dict[str, Any]

# The only host paths that upstream's deleter takes upon itself.
_DELETABLE = re.compile(r"/tmp/.+")


class Reclaim:
    """Moves volumes between phases, and out of the cluster."""

    def __init__(self, client: Client, recorder: Recorder) -> None:
        self._client = client
        self._recorder = recorder

    async def phase(self, volume: Doc, phase: str, message: str = "") -> Doc:
        """The volume in that phase, written if it was in another."""
        if volume.get("status", {}).get("phase") == phase:
            return volume
        status = {k: v for k, v in volume.get("status", {}).items() if k != "message"}
        status["phase"] = phase
        if message:
            status["message"] = message
        return await self._client.update(
            PERSISTENT_VOLUMES, {**volume, "status": status}, subresource="status"
        )

    async def superfluous(self, volume: Doc) -> None:
        """Its claim has taken another: one that was made for it goes, others are free again."""
        annotations = dict(volume["metadata"].get("annotations") or {})
        if PROVISIONED_BY in annotations:
            if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
                volume = await self.phase(volume, "Released")
                await self.reclaim(volume)
            return
        spec = dict(volume["spec"])
        if annotations.pop(BOUND_BY_CONTROLLER, None):
            del spec["claimRef"]
        else:
            # Somebody reserved it for a claim of that name: it stays reserved.
            spec["claimRef"] = {
                k: v for k, v in spec["claimRef"].items() if k not in ("uid", "resourceVersion")
            }
        metadata = {**volume["metadata"], "annotations": annotations}
        await self._client.update(
            PERSISTENT_VOLUMES, {**volume, "metadata": metadata, "spec": spec}
        )

    async def reclaim(self, volume: Doc) -> None:
        """Its claim is gone: delete it, say why not, or leave it as it is."""
        spec, metadata = volume["spec"], volume["metadata"]
        policy = spec.get("persistentVolumeReclaimPolicy")
        annotations = metadata.get("annotations") or {}
        if policy not in ("Delete", "Recycle") or PROVISIONED_BY in annotations:
            return  # what a provisioner made it takes away itself
        path = (spec.get("hostPath") or {}).get("path")
        if policy == "Delete" and path is not None and _DELETABLE.match(path):
            if "deletionTimestamp" not in metadata:
                await self._client.delete(PERSISTENT_VOLUMES, metadata["name"], uid=metadata["uid"])
            return
        if policy == "Recycle":
            reason, message = "VolumeFailedRecycle", "No recycler plugin found for the volume!"
        elif path is not None:
            reason = "VolumeFailedDelete"
            message = f"host_path deleter only supports /tmp/.+ but received provided {path}"
        else:
            reason = "VolumeFailedDelete"
            message = (
                f'error getting deleter volume plugin for volume "{metadata["name"]}": '
                "no deletable volume plugin matched"
            )
        if volume.get("status", {}).get("phase") != "Failed":
            self._recorder.event(
                reference(volume, "v1", "PersistentVolume"), "Warning", reason, message
            )
            await self.phase(volume, "Failed", message)
