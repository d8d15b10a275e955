"""CSR signing: approved requests get their certificate from the cluster's authority.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Any

from cove.controllers._conditions import find
from cove.controllers._controller import Context, Controller
from cove.controllers._csr import SIGNERS, decided, problem
from cove.controllers._resources import CERTIFICATE_SIGNING_REQUESTS
from cove.kube.times import format_time

__all__ = ["CSRSigning"]

Doc = dict[str, Any]

# kube-controller-manager's --cluster-signing-duration, and the least that can be asked for.
LIFE = timedelta(days=365)
LEAST = timedelta(minutes=10)


class CSRSigning(Controller):
    """Keys are requests."""

    name = "certificate-controller"
    workers = 1
    # Upstream's limits for requests that fail.
    retry_base = 0.2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.requests = self.informer(CERTIFICATE_SIGNING_REQUESTS)
        self.watch_own(self.requests)

    async def sync(self, key: str) -> None:
        """One request."""
        request = self.requests.get_key(key)
        if request is None or self.context.authority is None:
            return
        spec, status = request["spec"], request.get("status", {})
        if status.get("certificate") or decided(request) != "Approved":
            return
        if spec["signerName"] not in SIGNERS or find(status.get("conditions"), "Failed"):
            return
        # The first to be signed loads the library, and the authority's key.
        from cove.pki.requests import read_request

        pem = b64decode(spec["request"])
        usages = spec.get("usages") or ()
        why = problem(spec["signerName"], read_request(pem), usages)
        if why:
            await self._fail(request, why)
            return
        life = LIFE
        if spec.get("expirationSeconds") is not None:
            life = max(min(timedelta(seconds=spec["expirationSeconds"]), LIFE), LEAST)
        certificate = self.context.authority().sign(pem, usages, life)
        await self._write(request, {"certificate": b64encode(certificate).decode()})

    async def _fail(self, request: Doc, why: str) -> None:
        now = format_time(self.clock.now())
        condition = {
            "type": "Failed",
            "status": "True",
            "reason": "SignerValidationFailure",
            "message": why,
            "lastUpdateTime": now,
            "lastTransitionTime": now,
        }
        conditions = [*(request.get("status", {}).get("conditions") or ()), condition]
        await self._write(request, {"conditions": conditions})

    async def _write(self, request: Doc, status: Doc) -> None:
        await self.client.update(
            CERTIFICATE_SIGNING_REQUESTS,
            {**request, "status": {**request.get("status", {}), **status}},
            subresource="status",
        )
