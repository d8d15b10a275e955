"""The objects that metrics-server brings along: its APIService and who may read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.server import apiservices
from cove.server.metrics._answer import GROUP, PRIORITY, VERSION

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["publish_metrics"]

READER = "system:aggregated-metrics-reader"


def publish_metrics(api: Api) -> None:
    """Make or remove them, as ``api.kubelet`` is set or not; for a cluster that starts.

    Who may view a namespace may then read what its pods use.
    """
    if api.kubelet is None:
        apiservices.remove(api, GROUP, VERSION)
        return
    from cove.server.bootstrap import seed

    apiservices.ensure(api, GROUP, VERSION, priority=PRIORITY)
    if api.store.state.get("clusterroles.rbac.authorization.k8s.io", "", READER) is None:
        seed(api, "rbac.authorization.k8s.io", "v1", "clusterroles", _reader())


def _reader() -> dict[str, Any]:
    labels = {
        f"rbac.authorization.k8s.io/aggregate-to-{role}": "true"
        for role in ("admin", "edit", "view")
    }
    rule = {"apiGroups": [GROUP], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}
    return {"metadata": {"name": READER, "labels": labels}, "rules": [rule]}
