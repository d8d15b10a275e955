"""CSR approving: kubelets that may ask for their client certificate are not kept waiting.

Source: https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#approval
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from cove.controllers._controller import Context, Controller, Retry
from cove.controllers._csr import KUBELET_CLIENT, decided, problem
from cove.controllers._resources import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS
from cove.kube.times import format_time

__all__ = ["CSRApproving"]

Doc = dict[str, Any]

SELF = "Auto approving self kubelet client certificate after SubjectAccessReview."
NODE = "Auto approving kubelet client certificate after SubjectAccessReview."


class CSRApproving(Controller):
    """Keys are requests."""

    name = "certificate-controller"
    workers = 1
    retry_base = 0.2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.requests = self.informer(CERTIFICATE_SIGNING_REQUESTS)
        self.watch_own(self.requests)

    async def sync(self, key: str) -> None:
        """One request."""
        request = self.requests.get_key(key)
        if request is None or request["spec"]["signerName"] != KUBELET_CLIENT:
            return
        if request.get("status", {}).get("certificate") or decided(request):
            return
        from cove.pki.requests import read_request

        spec = request["spec"]
        asked = read_request(b64decode(spec["request"]))
        if problem(KUBELET_CLIENT, asked, spec.get("usages") or ()):
            return
        # A node that renews its own, then one that asks for its first.
        if spec.get("username") == asked.name:
            if await self._may(spec, "selfnodeclient"):
                await self._approve(request, SELF)
                return
        if await self._may(spec, "nodeclient"):
            await self._approve(request, NODE)
            return
        # The right to ask may still be given.
        raise Retry

    async def _may(self, spec: Doc, subresource: str) -> bool:
        review = await self.client.create(
            SUBJECT_ACCESS_REVIEWS,
            {
                "kind": "SubjectAccessReview",
                "apiVersion": "authorization.k8s.io/v1",
                "spec": {
                    "user": spec.get("username", ""),
                    "uid": spec.get("uid", ""),
                    "groups": spec.get("groups") or [],
                    "extra": spec.get("extra") or {},
                    "resourceAttributes": {
                        "group": "certificates.k8s.io",
                        "version": "*",
                        "resource": "certificatesigningrequests",
                        "verb": "create",
                        "subresource": subresource,
                    },
                },
            },
        )
        return bool(review["status"]["allowed"])

    async def _approve(self, request: Doc, message: str) -> None:
        now = format_time(self.clock.now())
        condition = {
            "type": "Approved",
            "status": "True",
            "reason": "AutoApproved",
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": now,
        }
        status = request.get("status", {})
        conditions = [*(status.get("conditions") or ()), condition]
        await self.client.update(
            CERTIFICATE_SIGNING_REQUESTS,
            {**request, "status": {**status, "conditions": conditions}},
            subresource="approval",
        )
