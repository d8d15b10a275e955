"""References: what a process or a container is given of what it refers to.

Names are those of the reference integration: ``KUBECONFIG`` for clusters, and
``services__NAME__url`` for everything that has a URL, so that standard tools and service
discovery work unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cove.engines.cluster import Cluster

__all__ = [
    "KUBECONFIG",
    "ClusterReference",
    "ContainerParts",
    "Provider",
    "UrlReference",
    "environment",
    "image_reference",
    "meant",
]

KUBECONFIG = "KUBECONFIG"
# Where containers find the kubeconfig of a cluster, by its name.
MOUNTED = "/var/run/cove"


def meant(namespace: str, cluster: Cluster) -> str:
    """The namespace of a resource: where it names none, the cluster says which one that is."""
    return cluster.namespace if namespace == "default" else namespace


@dataclass(frozen=True, slots=True)
class ContainerParts:
    """What a reference adds to a container.

    ``mounts`` are folders of this machine by their place inside, read-only always;
    ``networks`` those it has to be on; ``host_gateway`` whether ``host.docker.internal`` has
    to lead to this machine.
    """

    environment: Mapping[str, str]
    mounts: Mapping[str, Path]
    networks: tuple[str, ...] = ()
    host_gateway: bool = False


class Provider(Protocol):
    """What a resource gives those who refer to it, while it runs."""

    def for_process(self) -> Mapping[str, str]:
        """Environment of a process on this machine."""

    async def for_container(self, network: str) -> ContainerParts:
        """What a container on the engine's ``network`` is given; raises CoveError."""


@dataclass(frozen=True, slots=True)
class ClusterReference:
    """A cluster: its kubeconfig, in the variant for who reads it."""

    name: str
    kubeconfig: Callable[[], Path]
    # A folder that holds nothing but kubeconfig.yaml, for containers on a network.
    folder: Callable[[str], Awaitable[Path]]
    networks: Callable[[], tuple[str, ...]]

    def for_process(self) -> Mapping[str, str]:
        """KUBECONFIG."""
        return {KUBECONFIG: str(self.kubeconfig())}

    async def for_container(self, network: str) -> ContainerParts:
        """KUBECONFIG, in a read-only folder: a rename into it is seen inside."""
        place = f"{MOUNTED}/{self.name}"
        return ContainerParts(
            {KUBECONFIG: f"{place}/kubeconfig.yaml"},
            {place: await self.folder(network)},
            self.networks(),
            host_gateway=True,
        )


@dataclass(frozen=True, slots=True)
class UrlReference:
    """Something with a URL: ``services__NAME__url``.

    ``url`` and ``container_url`` are asked for when a reference is made.
    """

    name: str
    url: Callable[[], str]
    container_url: Callable[[], str]

    def for_process(self) -> Mapping[str, str]:
        """The URL on this machine."""
        return {f"services__{self.name}__url": self.url()}

    async def for_container(self, network: str) -> ContainerParts:
        """The URL as containers reach it."""
        url = self.container_url()
        return ContainerParts({f"services__{self.name}__url": url}, {}, host_gateway=True)


def image_reference(name: str, reference: str) -> Mapping[str, str]:
    """An image of the application: what pods, or containers, call it."""
    return {f"images__{name}__reference": reference}


def environment(parts: Iterable[Mapping[str, str]], separator: str = os.pathsep) -> dict[str, str]:
    """The environment that several references make; several clusters are one KUBECONFIG.

    kubectl and all that is built like it merge the files that are named there.
    """
    out: dict[str, str] = {}
    for part in parts:
        for key, value in part.items():
            if key == KUBECONFIG and key in out:
                if value not in out[key].split(separator):
                    out[key] = f"{out[key]}{separator}{value}"
            else:
                out[key] = value
    return out
