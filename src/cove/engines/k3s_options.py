"""K3sOptions: how k3s is run, where the faces want it differently; pure values.

The defaults are those of an application's cluster, which is to be as k3s comes and may take
its time.  :func:`for_tests` are those of a cluster for tests.  docs/engines.md has both, side
by side, with the reason of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.engines.cluster import ClusterOptions

__all__ = ["REGISTRIES", "K3sOptions", "OptionError", "for_tests", "mirrors_of"]

# The registries that images of clusters come from, mostly.
REGISTRIES = (
    "docker.io",
    "ghcr.io",
    "quay.io",
    "registry.k8s.io",
    "public.ecr.aws",
    "gcr.io",
    "mcr.microsoft.com",
)
TEST_POD_SUBNET = "10.44.0.0/16"
TEST_SERVICE_SUBNET = "10.45.0.0/16"
_NO_PORTS: Mapping[int, int] = MappingProxyType({})


class OptionError(CoveError):
    """An option of a cluster is wrong, or the engine cannot do what it asks for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class K3sOptions:
    """What only k3s is asked.  Every other engine leaves it unread.

    ``ready_timeout``: seconds from the first container to the last node that is ready, those
    for fetching k3s' own image not counted.  ``registry`` runs an image registry in the
    cluster, ``NAME.internal:5000`` for its network, nodes and pods; ``ingress`` cove's proxy on
    ports 80 and 443 in place of k3s' own, which ``domains`` ask for, too.  ``authority`` is a
    folder with ``ca.crt`` and ``ca.key`` to sign the domains' certificate, None the cluster's
    own.  ``ports`` publishes more ports of the server on loopback: its port to that of this
    machine, 0 any free one; it also fixes 80, 443 and 5000.

    ``resolver`` is whom pods ask for names outside: "" leaves it to k3s, ``gateway`` is the
    container's default gateway, anything else the address of a name server.  ``cluster_dns``,
    ``flannel_backend`` and ``proxy_mode`` (of kube-proxy) None are k3s' own.

    ``airgap`` are archives of images (``k3s-airgap-images-….tar.zst``) that every node loads
    when it starts; ``load`` are images of the container engine that every node is given before
    the cluster is ready.

    ``native`` runs the program ``k3s`` of this machine (Linux, as root) in place of containers;
    what needs one is told and left out.
    """

    ready_timeout: float = 600.0
    registry: bool = False
    ingress: bool = False
    authority: Path | None = None
    ports: Mapping[int, int] = field(default_factory=lambda: _NO_PORTS)
    resolver: str = ""
    cluster_dns: str | None = None
    flannel_backend: str | None = None
    proxy_mode: str | None = None
    airgap: tuple[Path, ...] = ()
    load: tuple[str, ...] = ()
    native: bool = False

    def __post_init__(self) -> None:
        if self.ready_timeout <= 0:
            raise OptionError(f"k3s ready_timeout is {self.ready_timeout:g}: seconds, more than 0")
        for inside, outside in self.ports.items():
            if not 1 <= inside <= 65535 or not 0 <= outside <= 65535:
                raise OptionError(
                    f"k3s ports {inside}: {outside}: a port of the server (1–65535) to one of this "
                    "machine (0 any free one)"
                )
            if inside == 6443:
                raise OptionError("k3s ports 6443: that is the API's, which api_port says")
        if self.resolver not in ("", "gateway"):
            _address("k3s resolver", self.resolver)
        if self.cluster_dns is not None:
            _address("k3s cluster_dns", self.cluster_dns)
        if any(not image.strip() for image in self.load):
            raise OptionError("k3s load holds a blank name: name the image")


def _address(option: str, text: str) -> None:
    try:
        ip_address(text)
    except ValueError as e:
        raise OptionError(f'{option} "{text}" is no address: {e}') from e


def for_tests(
    options: ClusterOptions, *, ready_timeout: float = 120.0, registry: bool = True
) -> ClusterOptions:
    """The options of a test's cluster: what they do not say is as tests want it.

    What was asked for (subnets, disabled parts, anything of ``k3s`` that is no default) stays.
    """
    off = {part for part in options.disable if part in ("ingress", "traefik")}
    service_subnet = options.service_subnet or TEST_SERVICE_SUBNET
    asked, default = options.k3s, K3sOptions()
    wanted = K3sOptions(
        ready_timeout=ready_timeout,
        registry=registry and "registry" not in options.disable,
        ingress=not off,
        resolver="gateway",
        cluster_dns=_tenth(service_subnet),
        flannel_backend="host-gw",
        proxy_mode="nftables",
    )
    kept = {
        name: getattr(asked, name)
        for name in K3sOptions.__slots__
        if getattr(asked, name) != getattr(default, name)
    }
    return replace(
        options,
        pod_subnet=options.pod_subnet or TEST_POD_SUBNET,
        service_subnet=service_subnet,
        disable=tuple(dict.fromkeys((*options.disable, "traefik"))) if off else options.disable,
        k3s=replace(wanted, **kept),
    )


def _tenth(subnet: str) -> str | None:
    """The address that cluster DNS has by custom; None where there are two families."""
    try:
        return str(ip_network(subnet)[10])
    except (ValueError, IndexError):
        return None


def mirrors_of(mirrors: Mapping[str, str] | str | None) -> dict[str, str]:
    """Mirrors by host: as they are, or one for all of :data:`REGISTRIES`.

    ``"http://cache.test/{host}"`` has the registry's host put in; one without ``{host}`` is
    the same for all, who are told apart by the ``ns`` that containerd adds.
    """
    if isinstance(mirrors, str):
        return {host: mirrors.replace("{host}", host) for host in REGISTRIES}
    return dict(mirrors or {})
