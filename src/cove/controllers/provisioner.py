"""The provisioner of ``cove.dev/local``: directories as volumes, made, grown and removed.

It stands where a storage vendor's provisioner and resizer stand and keeps to their
protocol: it is asked by annotations and answers with PersistentVolumes.  The path is below
``/var/lib/cove/volumes``; whoever runs the pods makes the directory, a simulated node none.
All nodes of a cluster share the machine, so that the volumes are not tied to one of them.

Source: https://github.com/kubernetes-sigs/sig-storage-lib-external-provisioner
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
)
from cove.controllers._volumes import (
    PROVISIONED_BY,
    SELECTED_NODE,
    VOLUME_PROVISIONERS,
    claim_reference,
    class_name,
    requested,
)
from cove.kube.quantity import parse
from cove.kube.status import StatusError

__all__ = ["PROVISIONER", "LocalProvisioner"]

Doc = dict[str, Any]

# The provisioner of StorageClasses whose volumes are directories of the one machine.
PROVISIONER = "cove.dev/local"
FOLDER = "/var/lib/cove/volumes"
VOLUME = "volume "


class LocalProvisioner(Controller):
    """Keys are claims, and ``volume NAME``."""

    name = PROVISIONER

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        self.volumes = self.informer(PERSISTENT_VOLUMES)
        self.classes = self.informer(STORAGE_CLASSES)
        self.recorder = context.recorder(self.name)
        self.watch_own(self.claims)
        self.volumes.add_handler(self._volume_changed)

    def _volume_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None and _ours(new):
            self.queue.add(VOLUME + new["metadata"]["name"])
            ref = new["spec"].get("claimRef")
            if ref:
                self.queue.add(f"{ref['namespace']}/{ref['name']}")

    async def sync(self, key: str) -> None:
        """One claim or one volume."""
        if key.startswith(VOLUME):
            volume = self.volumes.get(None, key[len(VOLUME) :])
            if volume is not None:
                await self._remove(volume)
            return
        claim = self.claims.get_key(key)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            return
        if not claim["spec"].get("volumeName"):
            await self._provision(claim)
        elif claim.get("status", {}).get("phase") == "Bound":
            volume = self.volumes.get(None, claim["spec"]["volumeName"])
            if volume is not None and _ours(volume):
                await self._resize(claim, volume)

    def _event(self, claim: Doc, type_: str, reason: str, message: str) -> None:
        involved = reference(claim, "v1", "PersistentVolumeClaim")
        self.recorder.event(involved, type_, reason, message)

    # -- making

    async def _provision(self, claim: Doc) -> None:
        metadata = claim["metadata"]
        annotations = metadata.get("annotations") or {}
        if all(annotations.get(a) != PROVISIONER for a in VOLUME_PROVISIONERS):
            return
        class_ = self.classes.get(None, class_name(claim))
        if class_ is None:
            return
        delayed = class_.get("volumeBindingMode") == "WaitForFirstConsumer"
        if delayed and SELECTED_NODE not in annotations:
            return
        name = f"pvc-{metadata['uid']}"
        if self.volumes.get(None, name) is not None:
            return
        self._event(
            claim,
            "Normal",
            "Provisioning",
            f'External provisioner is provisioning volume for claim "{key_of(claim)}"',
        )
        if claim["spec"].get("volumeMode") == "Block":
            await self._refuse(claim, class_, "its volumes are directories, not block devices")
            return
        if claim["spec"].get("selector"):
            await self._refuse(claim, class_, "claim Selector is not supported")
            return
        volume = self._volume(claim, class_, name)
        try:
            await self.client.create(PERSISTENT_VOLUMES, volume)
        except StatusError as e:
            if e.reason != "AlreadyExists":
                raise
        self._event(
            claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}"
        )

    async def _refuse(self, claim: Doc, class_: Doc, why: str) -> None:
        """Tell, and give the choice of a node back so that the pod is placed again."""
        self._event(
            claim,
            "Warning",
            "ProvisioningFailed",
            f'failed to provision volume with StorageClass "{class_["metadata"]["name"]}": {why}',
        )
        metadata = claim["metadata"]
        if SELECTED_NODE in (metadata.get("annotations") or {}):
            await self.client.patch(
                PERSISTENT_VOLUME_CLAIMS,
                metadata["name"],
                {"metadata": {"uid": metadata["uid"], "annotations": {SELECTED_NODE: None}}},
                metadata["namespace"],
            )

    @staticmethod
    def _volume(claim: Doc, class_: Doc, name: str) -> Doc:
        spec = claim["spec"]
        body: Doc = {
            "accessModes": spec.get("accessModes"),
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": claim_reference(claim),
            "hostPath": {"path": f"{FOLDER}/{name}", "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": class_.get("reclaimPolicy", "Delete"),
            "storageClassName": class_["metadata"]["name"],
            "volumeMode": "Filesystem",
        }
        if class_.get("mountOptions"):
            body["mountOptions"] = class_["mountOptions"]
        return {
            "kind": "PersistentVolume",
            "apiVersion": "v1",
            "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
            "spec": body,
        }

    # -- growing

    async def _resize(self, claim: Doc, volume: Doc) -> None:
        """Directories grow by themselves: what is written down is brought up to date."""
        status = claim.get("status", {})
        wanted = requested(claim)
        size = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        if wanted <= parse((status.get("capacity") or {}).get("storage", "0")):
            return
        if parse(volume["spec"]["capacity"]["storage"]) < wanted:
            self._event(
                claim,
                "Normal",
                "Resizing",
                f"External resizer is resizing volume {volume['metadata']['name']}",
            )
            spec = {**volume["spec"], "capacity": {**volume["spec"]["capacity"], **size}}
            await self.client.update(PERSISTENT_VOLUMES, {**volume, "spec": spec})
        resizing = ("Resizing", "FileSystemResizePending")
        new = {
            **status,
            "capacity": {**(status.get("capacity") or {}), **size},
            "allocatedResources": size,
            "conditions": [
                c for c in status.get("conditions") or () if c.get("type") not in resizing
            ],
        }
        await self.client.update(
            PERSISTENT_VOLUME_CLAIMS, {**claim, "status": new}, subresource="status"
        )
        self._event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")

    # -- removing

    async def _remove(self, volume: Doc) -> None:
        metadata = volume["metadata"]
        if (
            not _ours(volume)
            or "deletionTimestamp" in metadata
            or volume.get("status", {}).get("phase") != "Released"
            or volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete"
        ):
            return
        await self.client.delete(PERSISTENT_VOLUMES, metadata["name"], uid=metadata["uid"])


def _ours(volume: Doc) -> bool:
    annotations = volume["metadata"].get("annotations") or {}
    return bool(annotations.get(PROVISIONED_BY) == PROVISIONER)
