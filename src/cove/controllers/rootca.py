"""Root CA: every namespace has the cluster's certificate authority, for pods to mount.

Source: https://kubernetes.io/docs/concepts/configuration/configmap/ (kube-root-ca.crt)
"""

from __future__ import annotations

from typing import Any

from cove.controllers._controller import Context, Controller
from cove.controllers._resources import CONFIG_MAPS, NAMESPACES
from cove.kube.status import StatusError

__all__ = ["RootCAPublisher"]

Doc = dict[str, Any]

NAME = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


class RootCAPublisher(Controller):
    """Keys are namespaces."""

    name = "root-ca-cert-publisher"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.informer(NAMESPACES)
        self.maps = self.informer(CONFIG_MAPS)
        self.watch_own(self.namespaces)
        self.maps.add_handler(self._map_changed)

    def _map_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        metadata = (new or old or {})["metadata"]
        if metadata["name"] == NAME:
            self.queue.add(metadata["namespace"])

    async def sync(self, key: str) -> None:
        """One namespace."""
        namespace = self.namespaces.get_key(key)
        if not self.context.ca or namespace is None:
            return
        if namespace.get("status", {}).get("phase") == "Terminating":
            return
        data = {"ca.crt": self.context.ca}
        known = self.maps.get(key, NAME)
        metadata: Doc = {
            "name": NAME,
            "namespace": key,
            "annotations": {"kubernetes.io/description": DESCRIPTION},
        }
        if known is not None:
            if known.get("data") == data and (known["metadata"].get("annotations") or {}).get(
                "kubernetes.io/description"
            ):
                return
            await self.client.update(CONFIG_MAPS, {**known, "data": data})
            return
        doc = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data}
        try:
            await self.client.create(CONFIG_MAPS, doc)
        except StatusError as e:
            if e.code not in (403, 404, 409):
                raise
