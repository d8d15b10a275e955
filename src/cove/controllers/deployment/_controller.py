"""The Deployment controller: which step a Deployment needs now, and taking it.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import controller_of, key_of
from cove.controllers._controller import Context, Controller
from cove.controllers._pods import (
    by_controller,
    is_active,
)
from cove.controllers._resources import DEPLOYMENTS, PODS, REPLICA_SETS
from cove.controllers.deployment._sync import Sync
from cove.kube.labels import from_document

__all__ = ["DeploymentController"]

Doc = dict[str, Any]


class DeploymentController(Controller):
    """Rolls templates out over ReplicaSets."""

    name = "deployment-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.deployments = self.informer(DEPLOYMENTS)
        self.sets = self.informer(REPLICA_SETS)
        self.sets.add_index("controller", by_controller)
        self.pods = self.informer(PODS)
        self.pods.add_index("controller", by_controller)
        self.recorder = context.recorder(self.name)
        self.watch_own(self.deployments)
        self.watch_owned(self.sets, "Deployment")
        self.sets.add_handler(self._orphan_changed)
        self.pods.add_handler(self._pod_gone)

    def _orphan_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None or controller_of(new) is not None:
            return
        metadata = new["metadata"]
        for deployment in self.deployments.list(metadata["namespace"]):
            selector = from_document(deployment["spec"].get("selector"))
            if not selector.empty and selector.matches(metadata.get("labels")):
                self.queue.add(key_of(deployment))

    def _pod_gone(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """Recreate waits for the last old pod."""
        pod = old if new is None else new
        if pod is None or (new is not None and is_active(new)):
            return
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "ReplicaSet":
            return
        namespace = pod["metadata"]["namespace"]
        rs = self.sets.get(namespace, owner["name"])
        parent = controller_of(rs) if rs is not None else None
        if parent is None:
            return
        deployment = self.deployments.get(namespace, parent["name"])
        if deployment and deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            self.queue.add(key_of(deployment))

    async def sync(self, key: str) -> None:
        """One Deployment."""
        found = self.deployments.get_key(key)
        if found is None:
            return
        await Sync(self, key, dict(found)).run()
