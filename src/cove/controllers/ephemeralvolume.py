"""Ephemeral volumes: claims that are made for one pod and go with it.

Source: https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import key_of
from cove.controllers._controller import Context, Controller, Retry
from cove.controllers._resources import PERSISTENT_VOLUME_CLAIMS, PODS
from cove.kube.status import StatusError

__all__ = ["EphemeralVolumeController"]

Doc = dict[str, Any]


class EphemeralVolumeController(Controller):
    """Keys are pods."""

    name = "ephemeral_volume"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.informer(PODS)
        self.claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        self.pods.add_handler(self._pod_changed)
        self.claims.add_handler(self._claim_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        # A pod's volumes never change.
        if old is None and new is not None:
            if any(v.get("ephemeral") for v in new["spec"].get("volumes") or ()):
                self.queue.add(key_of(new))

    def _claim_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None and old is not None:
            for owner in old["metadata"].get("ownerReferences") or ():
                if owner["kind"] == "Pod" and owner.get("controller"):
                    self.queue.add(f"{old['metadata']['namespace']}/{owner['name']}")

    async def sync(self, key: str) -> None:
        """One pod."""
        pod = self.pods.get_key(key)
        if (
            pod is None
            or "deletionTimestamp" in pod["metadata"]
            or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        ):
            return
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("ephemeral"):
                await self._ensure(pod, volume)

    async def _ensure(self, pod: Doc, volume: Doc) -> None:
        metadata = pod["metadata"]
        name = f"{metadata['name']}-{volume['name']}"
        found = self.claims.get(metadata["namespace"], name)
        if found is not None:
            owners = found["metadata"].get("ownerReferences") or ()
            if not any(o["uid"] == metadata["uid"] and o.get("controller") for o in owners):
                # Somebody else's of that name: it may go.
                raise Retry
            return
        template = volume["ephemeral"]["volumeClaimTemplate"]
        source = template.get("metadata") or {}
        claim_metadata: Doc = {
            "name": name,
            "namespace": metadata["namespace"],
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }
        for field in ("labels", "annotations"):
            if source.get(field):
                claim_metadata[field] = source[field]
        try:
            await self.client.create(
                PERSISTENT_VOLUME_CLAIMS,
                {
                    "kind": "PersistentVolumeClaim",
                    "apiVersion": "v1",
                    "metadata": claim_metadata,
                    "spec": template["spec"],
                },
            )
        except StatusError as e:
            if e.reason != "AlreadyExists":
                raise
