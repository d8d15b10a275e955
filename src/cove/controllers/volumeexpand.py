"""Volume expansion: claims that ask for more than they have, and nobody here to give it.

All volumes that grow are grown by who made them; this says so.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims
"""

from __future__ import annotations

from typing import Any

from cove.client.recorder import reference
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from cove.controllers._volumes import PROVISIONED_BY, requested
from cove.controllers.provisioner import PROVISIONER
from cove.kube.quantity import parse

__all__ = ["VolumeExpander"]

Doc = dict[str, Any]


class VolumeExpander(Controller):
    """Keys are claims."""

    name = "volume_expand"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        self.volumes = self.informer(PERSISTENT_VOLUMES)
        self.recorder = context.recorder(self.name)
        self.watch_own(self.claims)

    async def sync(self, key: str) -> None:
        """One claim."""
        claim = self.claims.get_key(key)
        if claim is None or claim.get("status", {}).get("phase") != "Bound":
            return
        volume = self.volumes.get(None, claim["spec"].get("volumeName", ""))
        if volume is None:
            return
        maker = (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY)
        capacity = (claim["status"].get("capacity") or {}).get("storage", "0")
        if maker == PROVISIONER or requested(claim) <= parse(capacity):
            return
        self.recorder.event(
            reference(claim, "v1", "PersistentVolumeClaim"),
            "Normal",
            "ExternalExpanding",
            "waiting for an external controller to expand this PVC",
        )
