"""ClusterResource: a Kubernetes cluster, and what is declared in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from cove.engines.cluster import ClusterOptions, Lifetime, OptionError
from cove.engines.k3s_options import K3sOptions, mirrors_of
from cove.host.errors import AppError
from cove.host.references import ClusterReference
from cove.host.resource import Resource, checked_name

if TYPE_CHECKING:
    from cove.engines.cluster import Cluster
    from cove.host.app import App
    from cove.host.resources.endpoint import EndpointResource
    from cove.host.resources.helm import HelmResource
    from cove.host.resources.manifests import ManifestsResource
    from cove.host.run import Run

__all__ = ["ClusterResource"]

# Seconds between two looks at the health of a cluster.
TICK = 5.0


class ClusterResource(Resource):
    """A Kubernetes cluster of any engine; its children are declared by its methods.

    ``engine`` None leaves it to who runs the application.  ``agents`` are nodes besides the
    server's.  ``version`` None is the engine's own.  ``api_port`` 0 takes a free one, the
    subnets None are the engine's (k3s: 10.42.0.0/16 and 10.43.0.0/16).  ``data_volume`` keeps
    the objects for the next session, ``lifetime`` ``persistent`` leaves the cluster running
    after this one.  ``ingress_domains`` lead to Ingresses.  ``mirrors`` are registries to
    fetch images from, by host, or one for all that are common (``"http://cache.test/{host}"``);
    ``images`` override those that the engine and its helpers use (``server``, ``helm``).
    ``context`` names the one of an existing cluster, ``namespace`` what stands there for
    ``default``: made for the session, and deleted with it; ``k3s`` is what that engine alone reads.
    ``ports`` are ports of this machine and the NodePorts they lead to, ``{8080: 30051}``;
    ``registry_port`` is where its registry is to be, another one if that is taken.

    Healthy when its API server answers and 1 + ``agents`` nodes are Ready.
    """

    kind: ClassVar[str] = "cluster"

    def __init__(
        self,
        app: App,
        name: str,
        *,
        engine: str | None,
        agents: int,
        version: str | None,
        api_port: int,
        pod_subnet: str | None,
        service_subnet: str | None,
        extra_args: Iterable[str],
        lifetime: Lifetime,
        ingress_domains: Iterable[str],
        mirrors: Mapping[str, str] | str,
        images: Mapping[str, str],
        context: str | None,
        namespace: str | None,
        k3s: K3sOptions | None,
        ports: Mapping[int, int],
        registry_port: int,
        explicit_start: bool,
    ) -> None:
        self.engine = engine
        try:
            self.options = ClusterOptions(
                version=version,
                agents=agents,
                api_port=api_port,
                pod_subnet=pod_subnet,
                service_subnet=service_subnet,
                extra_args=tuple(extra_args),
                lifetime=lifetime,
                domains=tuple(ingress_domains),
                mirrors=mirrors_of(mirrors),
                images=dict(images),
                context=context,
                namespace=namespace,
                k3s=k3s or K3sOptions(),
                ports=dict(ports),
                registry_port=registry_port,
            )
        except OptionError as e:
            raise AppError(f"cluster {name}: {e}") from e
        super().__init__(app, name, explicit_start=explicit_start)

    def _with(self, **options: Any) -> Self:
        try:
            self.options = replace(self.options, **options)
        except OptionError as e:
            raise AppError(f"cluster {self.name}: {e}") from e
        return self

    def disable(self, *components: str) -> Self:
        """Go without these components; naming one twice changes nothing."""
        return self._with(disable=tuple(dict.fromkeys((*self.options.disable, *components))))

    def data_volume(self, name: str | None = None) -> Self:
        """Keep the objects from one session to the next, in a volume of that name.

        None names it after the cluster.  Saying it again changes nothing.
        """
        if self.options.data_volume is not None:
            return self
        if name is not None and not name.strip():
            raise AppError(f"the data volume of {self.name} is blank: name it, or leave it out")
        return self._with(data_volume=name or "")

    def lifetime(self, lifetime: Lifetime) -> Self:
        """``session`` or ``persistent``; of all its nodes, however they were declared."""
        return self._with(lifetime=lifetime)

    def version(self, version: str) -> Self:
        """The version of all its nodes."""
        return self._with(version=version)

    @property
    def cluster_name(self) -> str:
        """What the cluster is called on this machine: ``cove env --name`` …"""
        return checked_name("a cluster", f"{self.app.name}-{self.name}")

    @property
    def properties(self) -> Mapping[str, str]:
        """What it is called on this machine."""
        return {"cluster": self.cluster_name}

    # -- its life

    async def run(self, run: Run) -> int | None:
        """Run it; see Resource.run."""
        from cove.engines.select import open_cluster

        host, options = run.host, self.options
        options = replace(
            options,
            container_engine=options.container_engine or host.container_engine,
            context=options.context or host.context,
        )
        cluster = open_cluster(
            self.cluster_name,
            options,
            engine=self.engine or host.engine,
            log=run.log,
            clock=run.clock,
        )
        async with cluster:
            host.register(self.name, cluster)
            run.provide(
                ClusterReference(
                    self.name,
                    lambda: cluster.kubeconfig_path,
                    cluster.container_kubeconfig,
                    lambda: cluster.container_networks,
                )
            )
            await run.tell(**{"engine": cluster.engine, **cluster.properties})
            await self._watch(run, cluster)
        return None

    async def _watch(self, run: Run, cluster: Cluster) -> None:
        """Tell how it is, for as long as it runs."""
        while True:
            health = await cluster.health()
            if health.healthy:
                await run.running(url=cluster.url)
                await run.clock.sleep(TICK)
            elif run.was_running:
                await run.unhealthy(health.reason)
                await run.clock.sleep(1.0)
            else:
                await run.starting(health.reason)
                await run.clock.sleep(0.1)

    # -- what is declared in it

    def helm(
        self,
        name: str,
        *,
        chart: str | Path,
        repo: str | None = None,
        version: str | None = None,
        namespace: str = "default",
        release: str | None = None,
        values: Mapping[str, Any] | None = None,
        values_files: Sequence[str | Path] = (),
        set: Mapping[str, Any] | None = None,
        timeout: float = 600.0,
        wait: bool = True,
        plain_http: bool = False,
        driver: str = "auto",
        images: Mapping[str, str] | None = None,
        explicit_start: bool = False,
    ) -> HelmResource:
        """A Helm release in this cluster; see HelmResource."""
        from cove.host.resources.helm import HelmResource

        return HelmResource(
            self,
            name,
            chart=chart,
            repo=repo,
            version=version,
            namespace=namespace,
            release=release or name,
            values=values or {},
            values_files=values_files,
            set=set or {},
            timeout=timeout,
            wait=wait,
            plain_http=plain_http,
            driver=driver,
            images=images or {},
            explicit_start=explicit_start,
        )

    def manifests(
        self,
        name: str,
        path: str | Path,
        *,
        namespace: str = "default",
        prune: bool = False,
        watch: bool = False,
        wait: bool = False,
        crd_timeout: float = 300.0,
        images: Mapping[str, str] | None = None,
        explicit_start: bool = False,
    ) -> ManifestsResource:
        """A file, a directory or a kustomization, applied to this cluster; see ManifestsResource."""
        from cove.host.resources.manifests import ManifestsResource

        return ManifestsResource(
            self,
            name,
            path,
            namespace=namespace,
            prune=prune,
            watch=watch,
            wait=wait,
            crd_timeout=crd_timeout,
            images=images or {},
            explicit_start=explicit_start,
        )

    def endpoint(
        self,
        name: str,
        *,
        service: str,
        port: int | str,
        namespace: str = "default",
        scheme: str | None = None,
        host_port: int = 0,
        explicit_start: bool = False,
    ) -> EndpointResource:
        """A Service of this cluster, forwarded to this machine; see EndpointResource."""
        from cove.host.resources.endpoint import EndpointResource

        return EndpointResource(
            self,
            name,
            service=service,
            port=port,
            namespace=namespace,
            scheme=scheme,
            host_port=host_port,
            explicit_start=explicit_start,
        )
