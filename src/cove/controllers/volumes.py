"""Volume binding: claims get volumes, volumes know their claim, and are reclaimed after it.

Who makes volumes is asked by annotations and events; cove's own provisioner is
:mod:`cove.controllers.provisioner`.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.controllers._controller import Context, Controller
from cove.controllers._reclaim import Reclaim
from cove.controllers._resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
)
from cove.controllers._volumes import (
    BETA_CLASS,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    VOLUME_PROVISIONERS,
    claim_reference,
    claims_of_pods,
    class_name,
    is_for,
    mismatch,
    newest_default,
    smallest_match,
)
from cove.kube.status import StatusError

__all__ = ["VolumeBinder"]

Doc = dict[str, Any]

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
        self.pods.add_index("claims", claims_of_pods)
        self.recorder = context.recorder(self.name)
        self._reclaim = Reclaim(self.client, self.recorder)
        self.claims.add_handler(self._claim_changed)
        self.volumes.add_handler(self._volume_changed)
        self.classes.add_handler(self._class_changed)

    def _claim_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        claim = new or old
        assert claim is not None
        if new is not None:
            self.queue.add(key_of(new))
        name = claim["spec"].get("volumeName")
        if name:
            self.queue.add(VOLUME + name)
        elif new is None:
            # A volume that was made for it may not have been written to it yet.
            for volume in self.volumes:
                if is_for(volume["spec"].get("claimRef") or {}, claim):
                    self.queue.add(VOLUME + volume["metadata"]["name"])

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
        elif "deletionTimestamp" not in claim["metadata"]:
            await self._sync_unbound(claim)

    def _event(self, claim: Doc, type_: str, reason: str, message: str) -> None:
        involved = reference(claim, "v1", "PersistentVolumeClaim")
        self.recorder.event(involved, type_, reason, message)

    # -- claims

    async def _sync_bound(self, claim: Doc) -> None:
        name = claim["spec"].get("volumeName")
        volume = self.volumes.get(None, name) if name else None
        if volume is None:
            lost = "its" if name else "reference to"
            await self._lose(
                claim,
                "ClaimLost",
                f"Bound claim has lost {lost} PersistentVolume. Data on the volume is lost!",
            )
            return
        ref = volume["spec"].get("claimRef")
        if ref is None or is_for(ref, claim):
            await self._bind(volume, claim)
            return
        await self._lose(
            claim,
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        )

    async def _lose(self, claim: Doc, reason: str, message: str) -> None:
        if claim.get("status", {}).get("phase") != "Lost":
            self._event(claim, "Warning", reason, message)
            await self._claim_status(claim, {"phase": "Lost"})

    async def _sync_unbound(self, claim: Doc) -> None:
        name = claim["spec"].get("volumeName")
        if name:
            await self._sync_chosen(claim, self.volumes.get(None, name))
            return
        class_ = self.classes.get(None, class_name(claim))
        annotations = claim["metadata"].get("annotations") or {}
        delayed = (
            class_ is not None
            and class_.get("volumeBindingMode") == "WaitForFirstConsumer"
            and SELECTED_NODE not in annotations
        )
        volume = smallest_match(claim, self.volumes, prebound_only=delayed)
        if volume is not None:
            await self._bind(volume, claim)
            return
        if delayed:
            self._event(claim, "Normal", *self._waiting_for(claim))
        elif class_name(claim):
            claim = await self._provision(claim, class_)
        else:
            if await self._default_class(claim):
                return
            self._event(
                claim,
                "Normal",
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
            )
        await self._pending(claim)

    async def _sync_chosen(self, claim: Doc, volume: Doc | None) -> None:
        """The claim names the volume that it wants."""
        if volume is not None:
            ref = volume["spec"].get("claimRef")
            if ref is None:
                why = mismatch(claim, volume)
                if not why:
                    await self._bind(volume, claim)
                    return
                name = volume["metadata"]["name"]
                self._event(
                    claim,
                    "Warning",
                    "VolumeMismatch",
                    f'Cannot bind to requested volume "{name}": {why}',
                )
            elif is_for(ref, claim):
                await self._bind(volume, claim)
                return
            else:
                self._event(
                    claim,
                    "Warning",
                    "FailedBinding",
                    f'volume "{volume["metadata"]["name"]}" already bound to a different claim.',
                )
        await self._pending(claim)

    def _waiting_for(self, claim: Doc) -> tuple[str, str]:
        """Reason and message of a claim that is bound with its first pod."""
        names = [
            pod["metadata"]["name"]
            for pod in self.pods.indexed("claims", key_of(claim))
            if not pod["spec"].get("nodeName")
        ]
        if not names:
            return (
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            )
        plural = "s" if len(names) > 1 else ""
        return (
            "WaitForPodScheduled",
            f"waiting for pod{plural} {','.join(names)} to be scheduled",
        )

    async def _provision(self, claim: Doc, class_: Doc | None) -> Doc:
        """Ask the class's provisioner for a volume; the claim as it is then."""
        if class_ is None:
            why = f'storageclass.storage.k8s.io "{class_name(claim)}" not found'
            self._event(claim, "Warning", "ProvisioningFailed", why)
            return claim
        provisioner: str = class_["provisioner"]
        if provisioner.startswith("kubernetes.io/"):
            why = f"no volume plugin matched name: {provisioner}"
            self._event(claim, "Warning", "ProvisioningFailed", why)
            return claim
        annotations = claim["metadata"].get("annotations") or {}
        wanted = dict.fromkeys(VOLUME_PROVISIONERS, provisioner)
        if not wanted.items() <= annotations.items():
            metadata = {**claim["metadata"], "annotations": {**annotations, **wanted}}
            claim = await self.client.update(
                PERSISTENT_VOLUME_CLAIMS, {**claim, "metadata": metadata}
            )
        self._event(
            claim,
            "Normal",
            "ExternalProvisioning",
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator. If volume creation is "
            "delayed, please verify that the provisioner is running and correctly registered.",
        )
        return claim

    async def _default_class(self, claim: Doc) -> bool:
        """Give a claim that says nothing the default class there is by now."""
        annotations = claim["metadata"].get("annotations") or {}
        if "storageClassName" in claim["spec"] or BETA_CLASS in annotations:
            return False
        name = newest_default(self.classes)
        if not name:
            return False
        spec = {**claim["spec"], "storageClassName": name}
        await self.client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "spec": spec})
        return True

    async def _pending(self, claim: Doc) -> None:
        if claim.get("status", {}).get("phase") != "Pending":
            await self._claim_status(claim, {"phase": "Pending"})

    # -- binding

    async def _bind(self, volume: Doc, claim: Doc) -> None:
        """Volume first, then claim: the volume's reference decides who has it."""
        volume = await self._bind_volume(volume, claim)
        volume = await self._reclaim.phase(volume, "Bound")
        claim = await self._bind_claim(volume, claim)
        body, old = volume["spec"], claim.get("status", {})
        status: Doc = {"phase": "Bound", "accessModes": body.get("accessModes")}
        if old.get("phase") != "Bound" or not old.get("capacity"):
            # From then on capacity belongs to whoever resizes.
            status["capacity"] = body.get("capacity")
        if body.get("volumeAttributesClassName") and not old.get(
            "currentVolumeAttributesClassName"
        ):
            status["currentVolumeAttributesClassName"] = body["volumeAttributesClassName"]
        if any(old.get(k) != v for k, v in status.items()):
            await self._claim_status(claim, status)

    async def _bind_volume(self, volume: Doc, claim: Doc) -> Doc:
        ref = volume["spec"].get("claimRef")
        if ref is not None and ref.get("uid") == claim["metadata"]["uid"]:
            return volume
        annotations = dict(volume["metadata"].get("annotations") or {})
        if ref is None:
            annotations[BOUND_BY_CONTROLLER] = "yes"
        updated = {
            **volume,
            "metadata": {**volume["metadata"], "annotations": annotations},
            "spec": {**volume["spec"], "claimRef": claim_reference(claim)},
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

    # -- volumes

    async def _sync_volume(self, volume: Doc) -> None:
        ref = volume["spec"].get("claimRef")
        if ref is None or not ref.get("uid"):
            await self._reclaim.phase(volume, "Available")
            return
        claim = self.claims.get(ref["namespace"], ref["name"])
        if claim is not None and claim["metadata"]["uid"] == ref["uid"]:
            bound_to = claim["spec"].get("volumeName")
            if bound_to == volume["metadata"]["name"]:
                await self._reclaim.phase(volume, "Bound")
            elif not bound_to:
                self.queue.add(key_of(claim))
            else:
                await self._reclaim.superfluous(volume)
            return
        if claim is None:
            try:
                fresh = await self.client.get(
                    PERSISTENT_VOLUME_CLAIMS, ref["name"], ref["namespace"]
                )
            except StatusError as e:
                if e.code != 404:
                    raise
            else:
                if fresh["metadata"]["uid"] == ref["uid"]:
                    return  # the cache is behind
        if volume.get("status", {}).get("phase") not in ("Released", "Failed"):
            volume = await self._reclaim.phase(volume, "Released")
        await self._reclaim.reclaim(volume)
