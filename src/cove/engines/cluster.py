"""Cluster: what every engine gives, and all that the faces above know of it.

An engine is chosen by name — ``embedded``, ``k3s``, ``existing`` — and gives a
:class:`Cluster`; nothing above asks which one it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from cove.engines.k3s_options import K3sOptions, OptionError

if TYPE_CHECKING:
    from cove.client import Client

__all__ = [
    "Cluster",
    "ClusterOptions",
    "EngineName",
    "Health",
    "K3sOptions",
    "Lifetime",
    "OptionError",
]

EngineName = Literal["embedded", "k3s", "existing"]
Lifetime = Literal["session", "persistent"]
_NOTHING: Mapping[str, str] = MappingProxyType({})
_NOWHERE: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterOptions:
    """What is asked of a cluster, whatever the engine.

    ``version`` is a Kubernetes version or the tag of k3s' image, None the engine's default.
    ``agents`` is how many nodes there are besides the server's own (0: that one alone).
    ``api_port`` 0 takes a free one.  Subnets None are the engine's default.  ``disable`` are
    components to go without, ``extra_args`` more arguments of the server's command line.
    ``data_volume`` keeps the objects from one session to the next: None does not, "" in a
    volume named by cove, else in the one of that name.  ``lifetime`` ``session`` ends the
    cluster with who started it, ``persistent`` leaves it running.  ``domains`` lead to
    Ingresses; ``mirrors`` are registries to fetch from, by host; ``images`` override the
    images that the engine itself starts, by role (``server`` …).  ``container_engine`` is
    what runs containers (docker, podman, an address, none); None leaves it to the environment.
    ``context`` is the one of an existing cluster, ``kubeconfig`` where it is described.
    ``namespace`` is what stands for ``default`` on an existing cluster, which others use, too:
    made if there is none, and then taken back with the session; other engines do not read it.
    ``k3s`` is what only that engine is asked, and only it reads.
    ``ports`` are ports of this machine and the NodePorts they lead to; ``registry_port`` is
    where the registry is to be, another one if somebody has that, 0 any.
    """

    version: str | None = None
    agents: int = 0
    api_port: int = 0
    pod_subnet: str | None = None
    service_subnet: str | None = None
    disable: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()
    data_volume: str | None = None
    lifetime: Lifetime = "session"
    domains: tuple[str, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    images: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    container_engine: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None
    namespace: str | None = None
    k3s: K3sOptions = field(default_factory=K3sOptions)
    ports: Mapping[int, int] = field(default_factory=lambda: _NOWHERE)
    registry_port: int = 0

    def __post_init__(self) -> None:
        if self.agents < 0:
            raise OptionError(f"agents is {self.agents}: a cluster has 0 or more")
        if not 0 <= self.api_port <= 65535:
            raise OptionError(f"api_port is {self.api_port}: ports are 1–65535, 0 any free one")
        for port in (*self.ports, *self.ports.values()):
            if not 1 <= port <= 65535:
                raise OptionError(f"ports names {port}: ports are 1–65535")
        if not 0 <= self.registry_port <= 65535:
            raise OptionError(f"registry_port is {self.registry_port}: ports are 1–65535, 0 any")
        if any(not name.strip() for name in self.disable):
            raise OptionError("disable holds a blank name: name the component")
        for host, url in self.mirrors.items():
            if not host.strip() or "://" not in url:
                raise OptionError(
                    f'mirrors "{host}": "{url}": a registry\'s host, and the URL of its mirror'
                )
        if self.namespace is not None and not self.namespace.strip():
            raise OptionError("namespace is blank: name it, or leave it out")
        if self.lifetime not in ("session", "persistent"):
            raise OptionError(f'lifetime is "{self.lifetime}": it is session or persistent')


class Health(NamedTuple):
    """Whether a cluster answers with all its nodes ready, and if not, why not."""

    healthy: bool
    reason: str = ""


class Cluster(ABC):
    """A cluster: entered it answers, left nothing of this session's is running any more.

    Entering raises CoveError with the cause; nothing is left then.  A persistent cluster
    that runs is taken as it is, and stays when it is left.
    """

    engine: EngineName
    name: str

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @property
    @abstractmethod
    def url(self) -> str:
        """Where this machine reaches the API server, ``https://127.0.0.1:PORT``."""

    @property
    @abstractmethod
    def client(self) -> Client:
        """An administrator's client over HTTPS, closed with the cluster."""

    @property
    @abstractmethod
    def kubeconfig_path(self) -> Path:
        """The kubeconfig for programs on this machine."""

    @abstractmethod
    async def container_kubeconfig(self, network: str) -> Path:
        """A folder that holds nothing but ``kubeconfig.yaml``, to be mounted read-only.

        Its server's address works from containers on the engine's network of that name,
        with ``host.docker.internal`` as host-gateway where :attr:`container_networks` is empty.
        Raises CoveError where containers cannot reach the cluster.
        """

    @property
    @abstractmethod
    def container_networks(self) -> tuple[str, ...]:
        """Networks of the engine that a container must be on to reach the API server."""

    @property
    def properties(self) -> Mapping[str, str]:
        """What a person may want to know: version, engine, what runs the pods …"""
        return {}

    @property
    def namespace(self) -> str:
        """What is meant where no namespace is named."""
        return "default"

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where what runs beside the pods is, for this machine: registry, http, https …

        Without what there is not.
        """
        return {}

    @abstractmethod
    async def health(self) -> Health:
        """Ask the API server now; never raises, leaks nothing however often it is asked."""

    async def load(self, image: str) -> None:
        """Give an image of this machine's container engine to all nodes, without a registry.

        Raises OptionError where nodes cannot be given one.
        """
        raise OptionError(
            f"the nodes of {self.name} cannot be given the image {image}: push it to a registry "
            "that they pull from"
        )

    def discard(self) -> None:  # noqa: B027 — most have nothing that outlives them
        """Have leaving end it, although it is persistent; its objects stay in their volume."""
