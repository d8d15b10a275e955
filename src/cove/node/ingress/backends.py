"""Backends: what a Service is when a request for it arrives.

Pure: Services and EndpointSlices in, a :data:`Target` and a table of addresses out.

Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["SIMULATED", "Backends", "External", "Nobody", "Pool", "Target"]

Doc = dict[str, Any]

SIMULATED = "the pods of this cluster are simulated"
# The suffix that no other name has, so that one never answers for another.
SUFFIX = "endpoints.cove.internal."
_CLUSTER = (".svc.cluster.local", ".svc")
# Protocols by what services say of a port (KEP-3726 and what came before it).
PROTOCOLS = {
    "kubernetes.io/h2c": "h2c",
    "grpc": "h2c",
    "h2c": "h2c",
    "https": "https",
    "kubernetes.io/wss": "https",
    "grpcs": "https",
}


class Pool(NamedTuple):
    """Endpoints, found by ``names``: pairs of a name and the port of its addresses."""

    names: tuple[tuple[str, int], ...]
    ipv6: bool = False
    protocol: str = "http"


class External(NamedTuple):
    """Somebody outside: ``address`` is HOST:PORT."""

    address: str
    protocol: str = "http"


class Nobody(NamedTuple):
    """Nothing to send a request to: 503 with ``text``."""

    text: str


Target = Pool | External | Nobody


class Backends:
    """The backends of one moment.

    ``services`` gives a Service by ``namespace/name``, ``slices`` its EndpointSlices.
    ``claims`` says whether an address is a real one: others are never dialled.
    ``table`` fills with the addresses of the pools that were found, ``used`` with the keys
    of the services that were asked for, there or not.
    """

    def __init__(
        self,
        services: Callable[[str], Doc | None],
        slices: Callable[[str], Iterable[Doc]],
        claims: Callable[[str], bool],
    ) -> None:
        self._services = services
        self._slices = slices
        self._claims = claims
        self.table: dict[str, tuple[str, ...]] = {}
        self.used: set[str] = set()
        self._found: dict[tuple[str, str, str | int], Target] = {}

    def find(self, namespace: str, backend: Doc) -> Target:
        """What an IngressBackend document leads to."""
        service = backend.get("service")
        if service is None:
            return Nobody("resource backends are not supported")
        port = service.get("port") or {}
        wanted: str | int = port.get("name") or port.get("number") or 0
        return self._of(namespace, service["name"], wanted, follow=True)

    def _of(self, namespace: str, name: str, wanted: str | int, *, follow: bool) -> Target:
        key = (namespace, name, wanted)
        target = self._found.get(key)
        if target is None:
            target = self._found[key] = self._look(namespace, name, wanted, follow)
        return target

    def _look(self, namespace: str, name: str, wanted: str | int, follow: bool) -> Target:
        key = f"{namespace}/{name}"
        self.used.add(key)
        service = self._services(key)
        if service is None:
            return Nobody(f"there is no service {key}")
        spec = service["spec"]
        port = next(
            (p for p in spec.get("ports") or () if wanted in (p.get("name") or None, p["port"])),
            None,
        )
        if spec.get("type") == "ExternalName":
            number = port["port"] if port is not None else wanted
            if not isinstance(number, int):
                return Nobody(f"service {key} has no port {wanted}")
            return self._external(spec["externalName"].rstrip("."), number, port, follow)
        if port is None:
            return Nobody(f"service {key} has no port {wanted}")
        return self._pool(key, port)

    def _external(self, host: str, number: int, port: Doc | None, follow: bool) -> Target:
        for suffix in _CLUSTER:
            # Another service of this cluster: the machine's resolver does not know it.
            name, _, namespace = host.removesuffix(suffix).partition(".")
            if host.endswith(suffix) and namespace and "." not in namespace and follow:
                return self._of(namespace, name, number, follow=False)
        return External(f"{host}:{number}", _protocol(port or {}))

    def _pool(self, key: str, port: Doc) -> Target:
        addresses: dict[int, dict[str, None]] = {}
        ready = False
        for piece in self._slices(key):
            if piece.get("addressType") == "FQDN":
                continue
            number = next(
                (
                    p.get("port")
                    for p in piece.get("ports") or ()
                    if (p.get("name") or "") == (port.get("name") or "")
                ),
                None,
            )
            if number is None:
                continue
            for endpoint in piece.get("endpoints") or ():
                # Unknown counts as ready, as the API says.
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                ready = True
                for address in endpoint["addresses"]:
                    if self._claims(address):
                        addresses.setdefault(number, {})[address] = None
        if not addresses:
            return Nobody(SIMULATED if ready else f"service {key} has no ready endpoints")
        namespace, _, service = key.partition("/")
        names = []
        for number in sorted(addresses):
            name = f"p{number}.s{port['port']}.{service}.{namespace}.{SUFFIX}"
            self.table[name] = tuple(sorted(addresses[number]))
            names.append((name, number))
        versions = {ipaddress.ip_address(a).version for a in self._all(addresses)}
        return Pool(tuple(names), 6 in versions, _protocol(port))

    @staticmethod
    def _all(addresses: Mapping[int, Iterable[str]]) -> list[str]:
        return [a for some in addresses.values() for a in some]


def _protocol(port: Doc) -> str:
    return PROTOCOLS.get(port.get("appProtocol") or "", "http")
