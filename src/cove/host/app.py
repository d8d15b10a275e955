"""App: the declaration of an application, in a few lines of Python::

app = cove.App("shop")
k8s = app.cluster("k8s")
web = k8s.manifests("web", "deploy")
url = k8s.endpoint("url", service="web", port=80).after(web)
app.process("api", ["python", "-m", "api"]).reference(k8s, url).wait_for(url)

async with app.run() as host:
    await host.wait("api")
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.host.errors import InvalidNameError
from cove.host.graph import Graph
from cove.host.resource import Resource, checked_name

if TYPE_CHECKING:
    from cove.client import Clock
    from cove.engines.cluster import Lifetime
    from cove.engines.k3s_options import K3sOptions
    from cove.host.health import Check
    from cove.host.host import Host
    from cove.host.resources.cluster import ClusterResource
    from cove.host.resources.container import ContainerResource
    from cove.host.resources.image import ImageResource
    from cove.host.resources.process import ProcessResource, Restart

__all__ = ["App"]

PathLike = str | Path


class App:
    """An application: resources by name, and what they need of each other.

    ``root`` is the folder that relative paths are relative to; None takes that of the file
    which declares the application.  Nothing happens until :meth:`run`; wrong names are
    refused where they are given (InvalidNameError), the graph is checked as a whole before
    anything starts (GraphError).
    """

    def __init__(self, name: str, *, root: PathLike | None = None) -> None:
        self.name = checked_name("an application", name)
        if root is None:
            file = sys._getframe(1).f_globals.get("__file__")
            root = Path(file).parent if file else Path.cwd()
        self.root = Path(root).resolve()
        self._resources: dict[str, Resource] = {}

    def __repr__(self) -> str:
        return f"<App {self.name}: {', '.join(self._resources) or 'nothing yet'}>"

    @property
    def resources(self) -> Mapping[str, Resource]:
        """Everything that is declared, by name, in that order."""
        return self._resources

    def declare(self, resource: Resource) -> None:
        """Take a resource in; raises InvalidNameError if its name is taken."""
        other = self._resources.get(resource.name)
        if other is not None:
            raise InvalidNameError(
                f'"{resource.name}" is already the name of a {other.kind} of "{self.name}": every '
                "resource has a name of its own"
            )
        self._resources[resource.name] = resource

    def path(self, path: PathLike) -> Path:
        """A path of the declaration, absolute."""
        return self.root / Path(path).expanduser()

    @property
    def graph(self) -> Graph:
        """Who needs whom, as declared so far."""
        return Graph(
            [resource.node for resource in self._resources.values()],
            [edge for resource in self._resources.values() for edge in resource.edges],
        )

    def check(self) -> None:
        """Raises GraphError, with everything that is wrong, if this can never start."""
        self.graph.check(self.name)

    def run(
        self,
        *,
        engine: str | None = None,
        container_engine: str | None = None,
        context: str | None = None,
        clock: Clock | None = None,
    ) -> Host:
        """The application, running: ``async with app.run() as host``.

        ``engine`` is where clusters come from that name none themselves: embedded, k3s or
        existing; None takes ``COVE_ENGINE``, else embedded.  ``container_engine`` is what
        runs containers, as in :func:`cove.embedded`; ``context`` the one of an existing cluster
        for those that name none.  Leaving the block ends everything in reverse order.
        """
        from cove.host.host import Host

        return Host(
            self, engine=engine, container_engine=container_engine, context=context, clock=clock
        )

    # -- what can be declared

    def cluster(
        self,
        name: str,
        *,
        engine: str | None = None,
        agents: int = 0,
        version: str | None = None,
        api_port: int = 0,
        pod_subnet: str | None = None,
        service_subnet: str | None = None,
        disable: Iterable[str] = (),
        extra_args: Iterable[str] = (),
        data_volume: bool | str = False,
        lifetime: Lifetime = "session",
        ingress_domains: Iterable[str] = (),
        mirrors: Mapping[str, str] | str | None = None,
        images: Mapping[str, str] | None = None,
        context: str | None = None,
        namespace: str | None = None,
        k3s: K3sOptions | None = None,
        ports: Mapping[int, int] | None = None,
        registry_port: int = 0,
        explicit_start: bool = False,
    ) -> ClusterResource:
        """A Kubernetes cluster, of any engine; see ClusterResource for the options."""
        from cove.host.resources.cluster import ClusterResource

        cluster = ClusterResource(
            self,
            name,
            engine=engine,
            agents=agents,
            version=version,
            api_port=api_port,
            pod_subnet=pod_subnet,
            service_subnet=service_subnet,
            extra_args=extra_args,
            lifetime=lifetime,
            ingress_domains=ingress_domains,
            mirrors=mirrors or {},
            images=images or {},
            context=context,
            namespace=namespace,
            k3s=k3s,
            ports=ports or {},
            registry_port=registry_port,
            explicit_start=explicit_start,
        )
        cluster.disable(*disable)
        if data_volume is not False:
            cluster.data_volume(None if data_volume is True else data_volume)
        return cluster

    def process(
        self,
        name: str,
        command: Sequence[str],
        *,
        cwd: PathLike | None = None,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        port_env: str = "PORT",
        url: str | None = None,
        health: Check | None = None,
        ready_within: float | None = None,
        restart: Restart = "never",
        grace: float = 10.0,
        watch: Sequence[str] = ("**/*.py", "pyproject.toml"),
        explicit_start: bool = False,
    ) -> ProcessResource:
        """A program on this machine; see ProcessResource for the options."""
        from cove.host.resources.process import ProcessResource

        return ProcessResource(
            self,
            name,
            command,
            cwd=cwd,
            env=env or {},
            port=port,
            port_env=port_env,
            url=url,
            health=health,
            ready_within=ready_within,
            restart=restart,
            grace=grace,
            watch=watch,
            explicit_start=explicit_start,
        )

    def container(self, name: str, image: str | ImageResource, **options: Any) -> ContainerResource:
        """A container in Docker or Podman; see ContainerResource for the options."""
        from cove.host.resources.container import ContainerResource

        return ContainerResource(self, name, image, **options)

    def image(self, name: str, context: PathLike = ".", **options: Any) -> ImageResource:
        """An image that is built before who uses it starts; see ImageResource."""
        from cove.host.resources.image import ImageResource

        return ImageResource(self, name, context, **options)
