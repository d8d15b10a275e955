"""Volume binding: claims get volumes, volumes know their claim.

Static volumes are matched to claims; claims of a StorageClass that cove provisions get a
directory that is made up by whoever runs the pods.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)
from cove.kube.labels import from_document
from cove.kube.quantity import parse
from cove.kube.status import StatusError

__all__ = ["PROVISIONER", "VolumeBinder"]

Doc = dict[str, Any]

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
# The provisioner of StorageClasses whose volumes are directories of the one machine.
PROVISIONER = "cove.dev/local"
VOLUME = "volume "


class VolumeBinder(Controller):
    """Keys are claims, and ``volume NAME``."""

    name = "persistentvolume-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        self.volumes = self.informer(PERSISTENT_VOLUMES)
        self.classes = self.informer(STORAGE_CLASSES)
        self.pods = self.informer(PODS)
        self.recorder = context.recorder(self.name)
        self.claims.add_handler(self._claim_changed)
        self.volumes.add_handler(self._volume_changed)
        self.classes.add_handler(self._class_changed)
        self.pods.add_handler(self._pod_changed)

    def _claim_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        claim = new or old
        assert claim is not None
        if new is not None:
            self.queue.add(key_of(new))
        name = claim["spec"].get("volumeName")
        if name:
            self.queue.add(VOLUME + name)

    def _volume_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        volume = new or old
        assert volume is not None
        if new is not None:
            self.queue.add(VOLUME + new["metadata"]["name"])
        ref = volume["spec"].get("claimRef")
        if ref:
            self.queue.add(f"{ref['namespace']}/{ref['name']}")
        else:
            self._retry_pending()

    def _class_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None:
            self._retry_pending()

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """A pod may be the consumer that a claim waits for."""
        if new is None or old is not None:
            return
        for volume in new["spec"].get("volumes") or ():
            ref = volume.get("persistentVolumeClaim")
            if ref:
                self.queue.add(f"{new['metadata']['namespace']}/{ref['claimName']}")

    def _retry_pending(self) -> None:
        for claim in self.claims:
            if claim.get("status", {}).get("phase") != "Bound":
                self.queue.add(key_of(claim))

    async def sync(self, key: str) -> None:
        """One claim or one volume."""
        if key.startswith(VOLUME):
            volume = self.volumes.get(None, key[len(VOLUME) :])
            if volume is not None:
                await self._sync_volume(volume)
            return
        claim = self.claims.get_key(key)
        if claim is None:
            return
        if BIND_COMPLETED in (claim["metadata"].get("annotations") or {}):
            await self._sync_bound(claim)
        else:
            await self._sync_unbound(claim)

    # -- claims

    async def _sync_bound(self, claim: Doc) -> None:
        volume = self.volumes.get(None, claim["spec"].get("volumeName", ""))
        if volume is None:
            if claim.get("status", {}).get("phase") != "Lost":
                self.recorder.event(
                    reference(claim, "v1", "PersistentVolumeClaim"),
                    "Warning",
                    "ClaimLost",
                    "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
                )
                await self._claim_status(claim, {"phase": "Lost"})
            return
        ref = volume["spec"].get("claimRef")
        if ref is None or ref.get("uid") in (None, "", claim["metadata"]["uid"]):
            await self._bind(volume, claim)

    async def _sync_unbound(self, claim: Doc) -> None:
        if "deletionTimestamp" in claim["metadata"]:
            return
        name = claim["spec"].get("volumeName")
        if name:
            volume = self.volumes.get(None, name)
            ref = volume["spec"].get("claimRef") if volume is not None else None
            if volume is not None and (ref is None or _is_for(ref, claim)):
                await self._bind(volume, claim)
                return
            await self._pending(claim)
            return
        class_ = self._class_of(claim)
        delayed = (
            class_ is not None
            and class_.get("volumeBindingMode") == "WaitForFirstConsumer"
            and SELECTED_NODE not in (claim["metadata"].get("annotations") or {})
            and not self._consumed(claim)
        )
        volume = self._match(claim, prebound_only=delayed)
        if volume is not None:
            await self._bind(volume, claim)
            return
        await self._pending(claim)
        involved = reference(claim, "v1", "PersistentVolumeClaim")
        if delayed:
            self.recorder.event(
                involved,
                "Normal",
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            )
        elif class_ is None:
            self.recorder.event(
                involved,
                "Normal",
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
            )
        elif class_["provisioner"] == PROVISIONER:
            await self._provision(claim, class_)
        elif class_["provisioner"] != "kubernetes.io/no-provisioner":
            self.recorder.event(
                involved,
                "Normal",
                "ExternalProvisioning",
                "Waiting for a volume to be created either by the external provisioner "
                f"'{class_['provisioner']}' or manually by the system administrator. If volume "
                "creation is delayed, please verify that the provisioner is running and "
                "correctly registered.",
            )

    def _consumed(self, claim: Doc) -> bool:
        metadata = claim["metadata"]
        return any(
            (v.get("persistentVolumeClaim") or {}).get("claimName") == metadata["name"]
            for pod in self.pods.list(metadata["namespace"])
            for v in pod["spec"].get("volumes") or ()
        )

    def _class_of(self, claim: Doc) -> Doc | None:
        name = _class_name(claim)
        return self.classes.get(None, name) if name else None

    async def _pending(self, claim: Doc) -> None:
        if claim.get("status", {}).get("phase") != "Pending":
            await self._claim_status(claim, {"phase": "Pending"})

    def _match(self, claim: Doc, *, prebound_only: bool) -> Doc | None:
        """The smallest volume that does, one that names the claim before all others."""
        spec = claim["spec"]
        wanted = parse((spec.get("resources") or {}).get("requests", {}).get("storage", "0"))
        modes = set(spec.get("accessModes") or ())
        selector = from_document(spec["selector"]) if spec.get("selector") else None
        best: Doc | None = None
        for volume in self.volumes:
            body = volume["spec"]
            ref = body.get("claimRef")
            if "deletionTimestamp" in volume["metadata"]:
                continue
            if ref is not None and not _is_for(ref, claim):
                continue
            size = parse(body.get("capacity", {}).get("storage", "0"))
            if size < wanted or not modes <= set(body.get("accessModes") or ()):
                continue
            if body.get("volumeMode", "Filesystem") != spec.get("volumeMode", "Filesystem"):
                continue
            if ref is not None:
                return volume
            if prebound_only or _class_name(volume) != _class_name(claim):
                continue
            if volume.get("status", {}).get("phase") not in ("Available", None, "Pending"):
                continue
            if selector is not None and not selector.matches(volume["metadata"].get("labels")):
                continue
            if best is None or size < parse(best["spec"]["capacity"]["storage"]):
                best = volume
        return best

    # -- binding

    async def _bind(self, volume: Doc, claim: Doc) -> None:
        """Volume first, then claim: the volume's reference decides who has it."""
        volume = await self._bind_volume(volume, claim)
        volume = await self._volume_phase(volume, "Bound")
        claim = await self._bind_claim(volume, claim)
        body = volume["spec"]
        status: Doc = {
            "phase": "Bound",
            "accessModes": body.get("accessModes"),
            "capacity": body.get("capacity"),
        }
        if body.get("volumeAttributesClassName"):
            status["currentVolumeAttributesClassName"] = body["volumeAttributesClassName"]
        old = claim.get("status", {})
        if any(old.get(k) != v for k, v in status.items()):
            await self._claim_status(claim, status)

    async def _bind_volume(self, volume: Doc, claim: Doc) -> Doc:
        ref = volume["spec"].get("claimRef")
        metadata = claim["metadata"]
        if ref is not None and ref.get("uid") == metadata["uid"]:
            return volume
        annotations = dict(volume["metadata"].get("annotations") or {})
        if ref is None:
            annotations[BOUND_BY_CONTROLLER] = "yes"
        claim_ref = {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        updated = {
            **volume,
            "metadata": {**volume["metadata"], "annotations": annotations},
            "spec": {**volume["spec"], "claimRef": claim_ref},
        }
        return await self.client.update(PERSISTENT_VOLUMES, updated)

    async def _bind_claim(self, volume: Doc, claim: Doc) -> Doc:
        annotations = dict(claim["metadata"].get("annotations") or {})
        spec = claim["spec"]
        if spec.get("volumeName") != volume["metadata"]["name"]:
            spec = {**spec, "volumeName": volume["metadata"]["name"]}
            annotations[BOUND_BY_CONTROLLER] = "yes"
        annotations[BIND_COMPLETED] = "yes"
        if spec is claim["spec"] and annotations == claim["metadata"].get("annotations"):
            return claim
        return await self.client.update(
            PERSISTENT_VOLUME_CLAIMS,
            {
                **claim,
                "metadata": {**claim["metadata"], "annotations": annotations},
                "spec": spec,
            },
        )

    async def _claim_status(self, claim: Doc, status: Doc) -> None:
        await self.client.update(
            PERSISTENT_VOLUME_CLAIMS,
            {**claim, "status": {**claim.get("status", {}), **status}},
            subresource="status",
        )

    async def _volume_phase(self, volume: Doc, phase: str, message: str = "") -> Doc:
        if volume.get("status", {}).get("phase") == phase:
            return volume
        status = {k: v for k, v in volume.get("status", {}).items() if k != "message"}
        status["phase"] = phase
        if message:
            status["message"] = message
        return await self.client.update(
            PERSISTENT_VOLUMES, {**volume, "status": status}, subresource="status"
        )

    async def _provision(self, claim: Doc, class_: Doc) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        name = f"pvc-{metadata['uid']}"
        if self.volumes.get(None, name) is not None:
            return
        body: Doc = {
            "accessModes": spec.get("accessModes"),
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "hostPath": {
                "path": f"/var/lib/cove/volumes/{metadata['namespace']}/{metadata['name']}",
                "type": "DirectoryOrCreate",
            },
            "persistentVolumeReclaimPolicy": class_.get("reclaimPolicy", "Delete"),
            "storageClassName": class_["metadata"]["name"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
        }
        if class_.get("mountOptions"):
            body["mountOptions"] = class_["mountOptions"]
        try:
            await self.client.create(
                PERSISTENT_VOLUMES,
                {
                    "kind": "PersistentVolume",
                    "apiVersion": "v1",
                    "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
                    "spec": body,
                },
            )
        except StatusError as e:
            if e.reason != "AlreadyExists":
                raise
        self.recorder.event(
            reference(claim, "v1", "PersistentVolumeClaim"),
            "Normal",
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {name} using {PROVISIONER}",
        )

    # -- volumes

    async def _sync_volume(self, volume: Doc) -> None:
        if "deletionTimestamp" in volume["metadata"]:
            return
        ref = volume["spec"].get("claimRef")
        if ref is None or not ref.get("uid"):
            await self._volume_phase(volume, "Available")
            return
        claim = self.claims.get(ref["namespace"], ref["name"])
        if claim is not None and claim["metadata"]["uid"] == ref["uid"]:
            if claim["spec"].get("volumeName") == volume["metadata"]["name"]:
                await self._volume_phase(volume, "Bound")
            else:
                self.queue.add(key_of(claim))
            return
        if claim is None:
            try:
                await self.client.get(PERSISTENT_VOLUME_CLAIMS, ref["name"], ref["namespace"])
                return  # the cache is behind
            except StatusError as e:
                if e.code != 404:
                    raise
        volume = await self._volume_phase(volume, "Released")
        if volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
            return
        annotations = volume["metadata"].get("annotations") or {}
        if annotations.get(PROVISIONED_BY) == PROVISIONER:
            await self.client.delete(
                PERSISTENT_VOLUMES, volume["metadata"]["name"], uid=volume["metadata"]["uid"]
            )
        elif PROVISIONED_BY not in annotations:
            await self._volume_phase(
                volume,
                "Failed",
                "error getting deleter volume plugin for volume "
                f'"{volume["metadata"]["name"]}": no deletable volume plugin matched',
            )


def _class_name(obj: Doc) -> str:
    annotation = (obj["metadata"].get("annotations") or {}).get(BETA_CLASS)
    return str(annotation or obj["spec"].get("storageClassName") or "")


def _is_for(ref: Doc, claim: Doc) -> bool:
    metadata = claim["metadata"]
    return (
        ref.get("namespace") == metadata["namespace"]
        and ref.get("name") == metadata["name"]
        and ref.get("uid") in (None, "", metadata["uid"])
    )
