"""Resource claims: made from templates for pods, let go of when the pods have ended.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import controller_of, key_of
from cove.client.recorder import reference
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from cove.kube.status import StatusError

__all__ = ["ResourceClaimController"]

Doc = dict[str, Any]

POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"
CLAIM = "claim "


class ResourceClaimController(Controller):
    """Keys are pods, and ``claim NAMESPACE/NAME``."""

    name = "resource_claim"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.informer(PODS)
        self.claims = self.informer(RESOURCE_CLAIMS)
        self.templates = self.informer(RESOURCE_CLAIM_TEMPLATES)
        self.recorder = context.recorder(self.name)
        self.pods.add_handler(self._pod_changed)
        self.claims.add_handler(self._claim_changed)
        self.templates.add_handler(self._template_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        pod = new or old
        assert pod is not None
        if not pod["spec"].get("resourceClaims"):
            return
        if new is not None:
            self.queue.add(key_of(new))
        for status in pod.get("status", {}).get("resourceClaimStatuses") or ():
            if status.get("resourceClaimName"):
                self.queue.add(
                    f"{CLAIM}{pod['metadata']['namespace']}/{status['resourceClaimName']}"
                )
        for named in pod["spec"]["resourceClaims"]:
            if named.get("resourceClaimName"):
                self.queue.add(
                    f"{CLAIM}{pod['metadata']['namespace']}/{named['resourceClaimName']}"
                )

    def _claim_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        claim = new or old
        assert claim is not None
        self.queue.add(CLAIM + key_of(claim))
        owner = controller_of(claim)
        if owner is not None and owner["kind"] == "Pod":
            self.queue.add(f"{claim['metadata']['namespace']}/{owner['name']}")

    def _template_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None or old is not None:
            return
        for pod in self.pods.list(new["metadata"]["namespace"]):
            if pod["spec"].get("resourceClaims"):
                self.queue.add(key_of(pod))

    async def sync(self, key: str) -> None:
        """One pod or one claim."""
        if key.startswith(CLAIM):
            claim = self.claims.get_key(key[len(CLAIM) :])
            if claim is not None:
                await self._release(claim)
            return
        pod = self.pods.get_key(key)
        if pod is None or "deletionTimestamp" in pod["metadata"] or _ended(pod):
            return
        names: dict[str, str] = {}
        for wanted in pod["spec"].get("resourceClaims") or ():
            if wanted.get("resourceClaimTemplateName"):
                names[wanted["name"]] = await self._ensure(pod, wanted)
        told = {
            s["name"]: s.get("resourceClaimName", "")
            for s in pod.get("status", {}).get("resourceClaimStatuses") or ()
        }
        if names and names != {k: v for k, v in told.items() if k in names}:
            statuses = [{"name": k, "resourceClaimName": v} for k, v in names.items()]
            await self.client.patch(
                PODS,
                pod["metadata"]["name"],
                {
                    "metadata": {"uid": pod["metadata"]["uid"]},
                    "status": {"resourceClaimStatuses": statuses},
                },
                pod["metadata"]["namespace"],
                type="strategic",
                subresource="status",
            )

    async def _ensure(self, pod: Doc, wanted: Doc) -> str:
        """The name of the claim that was made for a pod, which is made if there is none."""
        metadata = pod["metadata"]
        namespace = metadata["namespace"]
        for claim in self.claims.list(namespace):
            owner = controller_of(claim)
            notes = claim["metadata"].get("annotations") or {}
            if owner is not None and owner["uid"] == metadata["uid"]:
                if notes.get(POD_CLAIM) == wanted["name"]:
                    return str(claim["metadata"]["name"])
        name = wanted["resourceClaimTemplateName"]
        try:
            template = await self.client.get(RESOURCE_CLAIM_TEMPLATES, name, namespace)
        except StatusError as e:
            self.recorder.event(
                reference(pod, "v1", "Pod"),
                "Warning",
                "FailedResourceClaimCreation",
                f'PodResourceClaim {wanted["name"]}: resource claim template "{name}": {e}',
            )
            raise
        source = template["spec"].get("metadata") or {}
        made = await self.client.create(
            RESOURCE_CLAIMS,
            {
                "kind": "ResourceClaim",
                "apiVersion": RESOURCE_CLAIMS.api_version,
                "metadata": {
                    "generateName": f"{metadata['name']}-{wanted['name']}-",
                    "annotations": {
                        **(source.get("annotations") or {}),
                        POD_CLAIM: wanted["name"],
                    },
                    "labels": source.get("labels") or {},
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
                },
                "spec": template["spec"]["spec"],
            },
            namespace,
        )
        return str(made["metadata"]["name"])

    async def _release(self, claim: Doc) -> None:
        """Who has ended holds nothing; what nobody holds is free again; what was theirs goes."""
        metadata, status = claim["metadata"], claim.get("status") or {}
        held = status.get("reservedFor") or []
        left = [r for r in held if await self._holds(claim, r)]
        free = bool(status.get("allocation")) and not left and bool(held)
        if left != held:
            new = {k: v for k, v in status.items() if k != "reservedFor"}
            if left:
                new["reservedFor"] = left
            if free:
                new.pop("allocation", None)
                new.pop("devices", None)
            claim = await self.client.update(
                RESOURCE_CLAIMS, {**claim, "status": new}, subresource="status"
            )
            metadata = claim["metadata"]
        finalizers = metadata.get("finalizers") or []
        if FINALIZER in finalizers and not (claim.get("status") or {}).get("allocation"):
            rest = [f for f in finalizers if f != FINALIZER]
            await self.client.update(
                RESOURCE_CLAIMS, {**claim, "metadata": {**metadata, "finalizers": rest}}
            )
        owner = controller_of(claim)
        if owner is None or owner["kind"] != "Pod" or "deletionTimestamp" in metadata:
            return
        pod = self.pods.get(metadata["namespace"], owner["name"])
        if pod is not None and pod["metadata"]["uid"] == owner["uid"] and _ended(pod):
            await self.client.delete(
                RESOURCE_CLAIMS, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )

    async def _holds(self, claim: Doc, consumer: Doc) -> bool:
        if consumer.get("resource") != "pods" or consumer.get("apiGroup"):
            return True  # nobody knows when others are done
        namespace = claim["metadata"]["namespace"]
        pod = self.pods.get(namespace, consumer["name"])
        if pod is None:
            try:  # the cache may be behind
                pod = await self.client.get(PODS, consumer["name"], namespace)
            except StatusError as e:
                if e.code != 404:
                    raise
                return False
        return bool(pod["metadata"]["uid"] == consumer["uid"]) and not _ended(pod)


def _ended(pod: Doc) -> bool:
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return True
    # One that is deleted before it had a node never ran.
    return "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")
