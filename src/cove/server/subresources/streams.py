"""pods/exec, attach and portforward, where pods are simulated: a clear error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube import status as st
from cove.server.request import Request, Response
from cove.server.subresources._common import container_of, stored_or_404

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["stream"]


async def stream(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """exec, attach and port-forward: need a container that runs."""
    stored = stored_or_404(api, request, endpoint)
    pod = endpoint.load(stored.data)
    action = request.info.subresource
    if action != "portforward":
        container_of(request, pod)
    if not pod["spec"].get("nodeName"):
        raise st.bad_request(f"pod {stored.name} does not have a host assigned")
    raise st.bad_request(
        f"pod {stored.namespace}/{stored.name} is simulated: {action} needs a node that runs "
        "containers"
    )
