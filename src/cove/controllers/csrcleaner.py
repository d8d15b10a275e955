"""CSR cleaner: requests that have been answered, or never were, go after a while.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#request-signing-process
"""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import Any

from cove.controllers._conditions import find, seconds_since
from cove.controllers._controller import Context, Controller
from cove.controllers._csr import decided
from cove.controllers._resources import CERTIFICATE_SIGNING_REQUESTS
from cove.kube.status import StatusError

__all__ = ["CSRCleaner"]

Doc = dict[str, Any]

# Seconds: how often it looks, how long answered requests stay, how long those without.
PERIOD = 3600.0
ANSWERED = 3600.0
PENDING = 24 * 3600.0
ROUND = "/round"


class CSRCleaner(Controller):
    """One key: the round of all requests."""

    name = "certificate-cleaner"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.requests = self.informer(CERTIFICATE_SIGNING_REQUESTS)
        self.queue.add(ROUND)

    async def sync(self, key: str) -> None:
        """Look at every request."""
        self.queue.add_after(ROUND, PERIOD)
        now = self.clock.now()
        for request in list(self.requests):
            if not _over(request, now):
                continue
            metadata = request["metadata"]
            try:
                await self.client.delete(
                    CERTIFICATE_SIGNING_REQUESTS, metadata["name"], uid=metadata["uid"]
                )
            except StatusError as e:
                if e.code not in (404, 409):
                    raise


def _over(request: Doc, now: datetime) -> bool:
    status = request.get("status", {})
    decision = decided(request)
    if not decision and not status.get("certificate"):
        return seconds_since(request["metadata"].get("creationTimestamp"), now) > PENDING
    for type_ in ("Approved", "Denied", "Failed"):
        condition = find(status.get("conditions"), type_)
        if condition is None or (type_ == "Approved" and not status.get("certificate")):
            continue
        if seconds_since(condition.get("lastUpdateTime"), now) > ANSWERED:
            return True
    return bool(status.get("certificate")) and _expired(status["certificate"], now)


def _expired(certificate: str, now: datetime) -> bool:
    from cove.pki.requests import expiry

    try:
        return expiry(b64decode(certificate)) < now
    except ValueError:
        return False
