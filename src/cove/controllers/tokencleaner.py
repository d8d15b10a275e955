"""Token cleaner: bootstrap tokens go when their time is over.

Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from cove.client.meta import key_of
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import SECRETS
from cove.kube.status import StatusError
from cove.kube.times import TimeError, parse_time

__all__ = ["TokenCleaner"]

Doc = dict[str, Any]

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"


class TokenCleaner(Controller):
    """Keys are Secrets."""

    name = "token-cleaner"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.informer(SECRETS)
        self.secrets.add_handler(self._changed)

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None and new.get("type") == TYPE:
            if new["metadata"]["namespace"] == NAMESPACE:
                self.queue.add(key_of(new))

    async def sync(self, key: str) -> None:
        """One token."""
        secret = self.secrets.get_key(key)
        if secret is None:
            return
        text = b64decode((secret.get("data") or {}).get("expiration", "")).decode(errors="replace")
        if not text:
            return
        try:
            left = (parse_time(text) - self.clock.now()).total_seconds()
        except TimeError:
            left = 0.0  # what cannot be read is over, as upstream has it
        if left > 0:
            self.queue.add_after(key, left)
            return
        metadata = secret["metadata"]
        try:
            await self.client.delete(
                SECRETS, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise
