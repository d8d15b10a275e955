"""A FlowSchema says whether its priority level is there: the condition Dangling.

Upstream's config consumer applies it in the background; here it follows the write at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube.apply import Context, apply
from cove.kube.kinds._kind import Obj
from cove.server.flowcontrol import LEVELS, SCHEMAS
from cove.server.registry import Hook
from cove.server.verbs._write import store_object

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["FlowSchemaHook", "PriorityLevelHook", "settle_all"]

MANAGER = "api-priority-and-fairness-config-consumer-v1"


class FlowSchemaHook(Hook):
    """After a FlowSchema was written."""

    def wrote(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Tell whether its level exists."""
        if "deletionTimestamp" not in obj["metadata"]:
            _settle(api, endpoint, obj)


class PriorityLevelHook(Hook):
    """After a priority level came or went."""

    def wrote(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Tell the schemas that name it."""
        settle_all(api, obj["metadata"]["name"])

    def ended(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Tell the schemas that name it."""
        settle_all(api, obj["metadata"]["name"])


def settle_all(api: Api, level: str = "") -> None:
    """Settle every FlowSchema, or those that name a level."""
    endpoint = api.registry.builtin("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
    assert endpoint is not None
    for stored in api.store.state.list(SCHEMAS):
        obj = endpoint.load(stored.data)
        if not level or obj["spec"]["priorityLevelConfiguration"]["name"] == level:
            _settle(api, endpoint, obj)


def _settle(api: Api, endpoint: Endpoint, obj: Obj) -> None:
    name = obj["spec"]["priorityLevelConfiguration"]["name"]
    there = api.store.state.get(LEVELS, "", name) is not None
    status = "False" if there else "True"
    known = (obj.get("status") or {}).get("conditions") or ()
    before = next((c for c in known if c["type"] == "Dangling"), None)
    if before is not None and before["status"] == status:
        return
    what = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}" '
    condition = {
        "type": "Dangling",
        "status": status,
        "lastTransitionTime": api.timestamp(),
        "reason": "Found" if there else "NotFound",
        "message": what + ("and it exists" if there else "but there is no such object"),
    }
    context = Context(
        manager=MANAGER,
        api_version=endpoint.api_version,
        schema=endpoint.schema,
        now=api.timestamp(),
        subresource="status",
    )
    config = {
        "kind": endpoint.kind_name,
        "apiVersion": endpoint.api_version,
        "metadata": {"name": obj["metadata"]["name"]},
        "status": {"conditions": [condition]},
    }
    store_object(api, endpoint, apply(obj, config, context, force=True))
