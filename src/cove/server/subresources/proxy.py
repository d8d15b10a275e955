"""The proxies to services, pods and nodes: a request handed on, an answer handed back.

``/api/v1/namespaces/NS/services/[SCHEME:]NAME[:PORT]/proxy/PATH``.  Addresses of simulated
pods are not connected to.

Source: ``ResourceLocation`` of pkg/registry/core/{service,pod,node},
``UpgradeAwareHandler`` of apimachinery.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from cove.kube import status as st
from cove.kube.status import StatusError
from cove.server.outgoing import (
    CallError,
    Trust,
    answer_of,
    handed_on,
    ready_endpoints,
    relay,
)
from cove.server.outgoing._target import Service
from cove.server.request import Request, Response

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["proxy"]

_PATH = re.compile(r"(?P<front>.*?/(?:services|pods|nodes)/[^/]+/proxy)(?P<path>/.*)?")
# Nobody signed for what runs in a cluster: upstream does not verify it either.
_TRUST = Trust(insecure=True)


class _Name(NamedTuple):
    scheme: str
    name: str
    port: str


def _split(text: str) -> _Name | None:
    """``https:web:443`` in its parts, None for what is no such name."""
    parts = text.split(":")
    if len(parts) == 1:
        found = _Name("", parts[0], "")
    elif len(parts) == 2:
        found = _Name("", parts[0], parts[1])
    elif len(parts) == 3:
        found = _Name(*parts)
    else:
        return None
    return found if found.name and found.scheme in ("", "http", "https") else None


def _unavailable(why: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", why)


async def proxy(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """Hand the request on; 503 where nobody answers, 301 for a path without its slash."""
    name = _split(request.info.name)
    if name is None:
        kind = endpoint.kind_name.lower()
        raise st.bad_request(f'invalid {kind} request "{request.info.name}"')
    host, port = _PLACES[endpoint.storage](api, request, endpoint, name)
    if not api.outgoing.reachable(host):
        raise _unavailable(
            f"error trying to reach service: dial tcp {_joined(host, port)}: connect: no route to "
            "host: the pods of this cluster are simulated"
        )
    match = _PATH.fullmatch(request.path)
    assert match is not None
    front, path = match["front"], match["path"]
    query = f"?{request.query_string}" if request.query_string else ""
    if not path and request.method in ("GET", "HEAD"):
        return Response(301, headers=[("Location", f"{request.path}/{query}")], content_type="")
    scheme = name.scheme or "http"
    url = f"{scheme}://{_joined(host, port)}{path or '/'}{query}"
    headers = handed_on(request)
    headers += [
        ("X-Forwarded-Uri", request.path),
        ("X-Forwarded-Host", request.headers.get("Host") or api.server_address),
        ("X-Forwarded-Proto", "https"),
    ]
    if request.headers.get("Upgrade"):
        return await relay(api.outgoing, request, url, headers, _TRUST)
    try:
        response = await api.outgoing.open(
            request.method, url, headers=headers, body=request.body, trust=_TRUST
        )
    except CallError as error:
        raise _unavailable(f"error trying to reach service: {error}") from error
    answer = await answer_of(response)
    answer.headers = [
        (key, _moved(value, url, front) if key.lower() == "location" else value)
        for key, value in answer.headers
    ]
    return answer


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _moved(location: str, url: str, front: str) -> str:
    """Where a redirect leads, seen from before the proxy; elsewhere stays elsewhere."""
    there, here = urlsplit(location), urlsplit(url)
    if there.netloc and there.netloc != here.netloc:
        return location
    if not there.path.startswith("/"):
        return location
    return urlunsplit(("", "", front + there.path, there.query, there.fragment))


def _service(api: Api, request: Request, endpoint: Endpoint, name: _Name) -> tuple[str, int]:
    namespace = request.info.namespace
    stored = api.store.state.get("services", namespace, name.name)
    if stored is None:
        raise endpoint.not_found(name.name)
    spec = endpoint.load(stored.data)["spec"]
    port = name.port
    if port.isdecimal():
        declared = [p for p in spec.get("ports", ()) if p["port"] == int(port)]
        if not declared:
            raise _unavailable(f'no service port {int(port)} found for service "{name.name}"')
        port = declared[0].get("name", "")
    families = spec.get("ipFamilies") or [""]
    service = Service(namespace, name.name, 0)
    found = ready_endpoints(api, service, port, families[0])
    if not found:
        raise _unavailable(f'no endpoints available for service "{request.info.name}"')
    return api.config.rng.choice(found)


def _pod(api: Api, request: Request, endpoint: Endpoint, name: _Name) -> tuple[str, int]:
    stored = api.store.state.get("pods", request.info.namespace, name.name)
    if stored is None:
        raise endpoint.not_found(name.name)
    pod = endpoint.load(stored.data)
    address = pod.get("status", {}).get("podIP")
    if not address or not _proxyable(address):
        raise st.bad_request("address not allowed")
    if name.port:
        if not name.port.isdecimal():
            raise st.bad_request(f'invalid pod request "{request.info.name}"')
        return str(address), int(name.port)
    ports = (p for c in pod["spec"]["containers"] for p in c.get("ports", ()))
    first = next(ports, None)
    return str(address), int(first["containerPort"]) if first else 80


def _proxyable(address: str) -> bool:
    """Not the machine of the API server itself: what listens there is nobody's pod."""
    ip = ip_address(address)
    return not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified)


def _node(api: Api, request: Request, endpoint: Endpoint, name: _Name) -> tuple[str, int]:
    stored = api.store.state.get("nodes", "", name.name)
    if stored is None:
        raise endpoint.not_found(name.name)
    raise _unavailable(
        f'nodes "{name.name}" cannot be reached: the nodes of this cluster are simulated'
    )


_PLACES: dict[str, Any] = {"services": _service, "pods": _pod, "nodes": _node}
