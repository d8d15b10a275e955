"""Service accounts: every namespace has one called default.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

from typing import Any

from cove.controllers._controller import Context, Controller
from cove.controllers._resources import NAMESPACES, SERVICE_ACCOUNTS
from cove.kube.status import StatusError

__all__ = ["ServiceAccountController"]

Doc = dict[str, Any]


class ServiceAccountController(Controller):
    """Keys are namespaces."""

    name = "serviceaccount-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.informer(NAMESPACES)
        self.accounts = self.informer(SERVICE_ACCOUNTS)
        self.watch_own(self.namespaces)
        self.accounts.add_handler(self._account_changed)

    def _account_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None and old is not None:
            self.queue.add(old["metadata"]["namespace"])

    async def sync(self, key: str) -> None:
        """One namespace."""
        namespace = self.namespaces.get_key(key)
        if namespace is None or namespace.get("status", {}).get("phase") == "Terminating":
            return
        if self.accounts.get(key, "default") is not None:
            return
        doc = {
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": {"name": "default", "namespace": key},
        }
        try:
            await self.client.create(SERVICE_ACCOUNTS, doc)
        except StatusError as e:
            if e.code not in (403, 404, 409):
                raise
