"""TTL: how long kubelets may keep what they read of Secrets and ConfigMaps.

The larger the cluster, the longer: an annotation of every node says so.

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/controller/ttl
"""

from __future__ import annotations

from typing import Any

from cove.controllers._controller import Context, Controller
from cove.controllers._resources import NODES
from cove.kube.status import StatusError

__all__ = ["TTLController"]

Doc = dict[str, Any]

ANNOTATION = "node.alpha.kubernetes.io/ttl"
# (least nodes, most nodes, seconds): the bounds overlap so that a value does not flap.
BOUNDS = (
    (0, 100, 0),
    (90, 500, 15),
    (450, 1000, 30),
    (900, 2000, 60),
    (1800, 10000, 300),
    (9000, 2**31, 600),
)


class TTLController(Controller):
    """Keys are nodes."""

    name = "ttl-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.informer(NODES)
        self._step = 0
        self.nodes.add_handler(self._node_changed)

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        count, before = len(self.nodes), self._step
        while count > BOUNDS[self._step][1]:
            self._step += 1
        while count < BOUNDS[self._step][0]:
            self._step -= 1
        if self._step != before:
            for node in self.nodes:
                self.queue.add(node["metadata"]["name"])
        elif new is not None and (old is None or _written(old) != _written(new)):
            self.queue.add(new["metadata"]["name"])

    async def sync(self, key: str) -> None:
        """One node."""
        node = self.nodes.get(None, key)
        wanted = str(BOUNDS[self._step][2])
        if node is None or _written(node) == wanted:
            return
        try:
            await self.client.patch(NODES, key, {"metadata": {"annotations": {ANNOTATION: wanted}}})
        except StatusError as e:
            if e.code != 404:
                raise


def _written(node: Doc) -> str:
    return str((node["metadata"].get("annotations") or {}).get(ANNOTATION, ""))
