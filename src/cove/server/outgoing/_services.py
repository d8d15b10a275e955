"""From a Service to an address: what a proxy on the API server's machine would do.

Pods and services of the cluster are asked of the store; whether their addresses can be
reached is the client's business.

Source: ``pkg/util/proxy`` of apiserver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.outgoing._target import Service

__all__ = ["ResolveError", "ready_endpoints", "resolve"]

SLICES = "endpointslices.discovery.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"

Choose = Callable[[int], int]


class ResolveError(CoveError):
    """A service has no address to call: it, its port or its endpoints are missing."""


def resolve(api: Api, service: Service, choose: Choose) -> tuple[str, int]:
    """(host, port) of one of the service's endpoints; ``choose`` picks of so many.

    Raises :class:`ResolveError`.
    """
    if service[:2] == ("default", "kubernetes") and service.port == 443 and api.server_address:
        host, _, port = api.server_address.rpartition(":")
        return host, int(port)
    stored = api.store.state.get("services", service.namespace, service.name)
    if stored is None:
        raise ResolveError(f'service "{service.name}" not found')
    spec = orjson.loads(stored.data).get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or ""), service.port
    wanted = next((p for p in spec.get("ports") or () if p.get("port") == service.port), None)
    if wanted is None:
        raise ResolveError(f'no service port {service.port} found for service "{service.name}"')
    families = spec.get("ipFamilies") or [""]
    found = ready_endpoints(api, service, wanted.get("name") or "", families[0])
    if not found:
        raise ResolveError(f'no endpoints available for service "{service.name}"')
    return found[choose(len(found))]


def ready_endpoints(api: Api, service: Service, port: str, family: str) -> list[tuple[str, int]]:
    """Where a port, by its name, is ready: of the service's first family if there is any."""
    slices = [
        orjson.loads(s.data)
        for s in api.store.state.list(SLICES, service.namespace)
        if (s.labels or {}).get(SERVICE_NAME) == service.name
    ]
    if not slices:
        # Endpoints written by hand are mirrored by a controller, which may not run.
        return list(_of_endpoints(api, service, port))
    preferred = [s for s in slices if s.get("addressType") == family]
    for group in (preferred, [s for s in slices if s.get("addressType") != family]):
        found = [place for doc in group for place in _of_slice(doc, port)]
        if found:
            return found
    return []


def _of_slice(doc: Mapping[str, Any], port: str) -> Iterator[tuple[str, int]]:
    number = _port(doc.get("ports"), port)
    if number is None:
        return
    for endpoint in doc.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        addresses = endpoint.get("addresses")
        if addresses:
            yield str(addresses[0]), number


def _of_endpoints(api: Api, service: Service, port: str) -> Iterator[tuple[str, int]]:
    stored = api.store.state.get("endpoints", service.namespace, service.name)
    if stored is None:
        return
    for subset in orjson.loads(stored.data).get("subsets") or ():
        number = _port(subset.get("ports"), port)
        if number is not None:
            for address in subset.get("addresses") or ():
                yield str(address["ip"]), number


def _port(ports: Any, name: str) -> int | None:
    for port in ports or ():
        if (port.get("name") or "") == name and port.get("port"):
            return int(port["port"])
    return None
