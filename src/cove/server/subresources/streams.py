"""pods/log, exec, attach, portforward and proxies: what the node answers.

A node that runs containers registers a :class:`Backend`; without one the pod is
simulated, and log says so in a line while the others say so in an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.kube import status as st
from cove.server.request import Request, Response
from cove.server.subresources._common import stored_or_404

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["log", "proxy", "stream"]


def _container(request: Request, endpoint: Endpoint, pod: dict[str, object]) -> str:
    """The container that is asked for, or the only one; raises 400."""
    spec = pod["spec"]
    assert isinstance(spec, dict)
    name = request.info.name
    ordinary = [c["name"] for c in spec.get("containers", ())]
    init = [c["name"] for c in spec.get("initContainers", ())]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers", ())]
    asked = request.param("container")
    if asked:
        if asked not in (*ordinary, *init, *ephemeral):
            raise st.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(ordinary) == 1:
        return str(ordinary[0])
    choices = f"[{' '.join(ordinary)}]"
    text = f"a container name must be specified for pod {name}, choose one of: {choices}"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise st.bad_request(text)


async def log(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """GET of a container's log."""
    stored = stored_or_404(api, request, endpoint)
    pod = endpoint.load(stored.data)
    container = _container(request, endpoint, pod)
    if not pod["spec"].get("nodeName"):
        return Response(200, b"", "text/plain")
    line = (
        f"cove: container {container} of pod {stored.namespace}/{stored.name} is simulated: "
        "nothing runs in it, so it writes no log\n"
    )
    return Response(200, line.encode(), "text/plain")


async def stream(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """exec, attach and port-forward: need a container that runs."""
    stored = stored_or_404(api, request, endpoint)
    pod = endpoint.load(stored.data)
    action = request.info.subresource
    if action != "portforward":
        _container(request, endpoint, pod)
    if not pod["spec"].get("nodeName"):
        raise st.bad_request(f"pod {stored.name} does not have a host assigned")
    raise st.bad_request(
        f"pod {stored.namespace}/{stored.name} is simulated: {action} needs a node that runs "
        "containers"
    )


async def proxy(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """Proxies to pods, services and nodes: need something that listens."""
    name = request.info.name
    if ":" in name:
        parts = name.split(":")
        name = parts[1] if len(parts) == 3 else parts[0]
    namespace = request.info.namespace if endpoint.namespaced else ""
    if api.store.state.get(endpoint.storage, namespace, name) is None:
        raise endpoint.not_found(name)
    raise st.StatusError(
        503,
        "ServiceUnavailable",
        f'{endpoint.plural} "{name}" cannot be reached: the pods of this cluster are simulated',
    )
