"""Statuses: every Ingress that is served says where.

Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/#IngressStatus
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cove.client import Client
from cove.client.meta import key_of
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

__all__ = ["Statuses"]

Doc = dict[str, Any]

INGRESSES = GVR("networking.k8s.io", "v1", "ingresses")


class Statuses:
    """Writes ``status.loadBalancer`` of Ingresses, and takes back what it wrote."""

    def __init__(self, client: Client, address: str, http_port: int, https_port: int) -> None:
        self._client = client
        self._ingress: list[Doc] = [
            {
                "ip": address,
                "ports": [
                    {"port": port, "protocol": "TCP"} for port in sorted((http_port, https_port))
                ],
            }
        ]
        # The uids of those whose status is ours.
        self._written: set[str] = set()

    async def write(self, ours: Iterable[Doc], others: Iterable[Doc]) -> None:
        """Make the statuses those of the moment; raises StatusError, UnreachableError."""
        for ingress in ours:
            self._written.add(ingress["metadata"]["uid"])
            if _shown(ingress) != self._ingress:
                await self._patch(ingress, self._ingress)
        for ingress in others:
            uid = ingress["metadata"]["uid"]
            if uid in self._written:
                self._written.discard(uid)
                await self._patch(ingress, None)

    async def _patch(self, ingress: Doc, value: list[Doc] | None) -> None:
        namespace, _, name = key_of(ingress).partition("/")
        patch = {
            "metadata": {"uid": ingress["metadata"]["uid"]},
            "status": {"loadBalancer": {"ingress": value}},
        }
        try:
            await self._client.patch(INGRESSES, name, patch, namespace, subresource="status")
        except StatusError as e:
            # Gone, or another one under its name.
            if e.code not in (404, 409):
                raise


def _shown(ingress: Doc) -> Any:
    balancer = (ingress.get("status") or {}).get("loadBalancer") or {}
    return balancer.get("ingress")
