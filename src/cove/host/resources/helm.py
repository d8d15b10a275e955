"""HelmResource: a Helm release in a cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cove.host.errors import AppError
from cove.host.references import meant
from cove.host.resource import Resource

if TYPE_CHECKING:
    from cove.host.helm import Driver, Release
    from cove.host.resources.cluster import ClusterResource
    from cove.host.run import Run

__all__ = ["DRIVERS", "HelmResource"]

DRIVERS = ("auto", "sdk", "cli", "container")


class HelmResource(Resource):
    """A release of a chart; completes when it is deployed and ready.

    The options are those of :class:`cove.host.helm.Release`; paths are relative to the
    application's folder, and read when it starts.  ``release`` is its name in the cluster,
    the resource's own unless said.  ``driver`` is which Helm: ``sdk``, the one in
    ``cove[helm]``; ``cli``, the one on PATH; ``container``, the image that the cluster calls
    ``helm`` (alpine/helm unless its ``images`` say another); ``auto``, sdk or else cli.
    ``images`` are values that name images of the application: ``{"gateway.image": "gateway"}``.
    The value becomes the image's name, or, where the chart has a mapping there, its
    ``repository`` and ``tag``.
    """

    kind: ClassVar[str] = "helm"
    completes: ClassVar[bool] = True

    def __init__(
        self,
        cluster: ClusterResource,
        name: str,
        *,
        chart: str | Path,
        repo: str | None,
        version: str | None,
        namespace: str,
        release: str,
        values: Mapping[str, Any],
        values_files: Sequence[str | Path],
        set: Mapping[str, Any],
        timeout: float,
        wait: bool,
        plain_http: bool,
        driver: str,
        images: Mapping[str, str],
        explicit_start: bool,
    ) -> None:
        from cove.host.helm import Release

        if driver not in DRIVERS:
            raise AppError(f'driver "{driver}" of {name}: it is {", ".join(DRIVERS)}')
        self.driver = driver
        self.release = Release(
            release,
            chart,
            namespace=namespace,
            version=version,
            repo=repo,
            values=values,
            values_files=values_files,
            set=set,
            timeout=timeout,
            wait=wait,
            plain_http=plain_http,
        )
        app = cluster.app
        chart_path = self.release.local
        self.release = replace(
            self.release,
            chart=os.fspath(chart) if chart_path is None else app.path(chart_path),
            values_files=[app.path(os.fspath(file)) for file in self.release.values_files],
        )
        self._cluster = cluster
        super().__init__(app, name, parent=cluster, explicit_start=explicit_start)
        self.images = dict(images)
        self.after(*dict.fromkeys(self.images.values()))

    @property
    def properties(self) -> Mapping[str, str]:
        """Release, chart, namespace and version."""
        release = self.release
        return {
            "release": release.name,
            "chart": Path(release.chart).name if release.local else str(release.chart),
            "namespace": release.namespace,
            "version": release.version or "latest",
        }

    async def run(self, run: Run) -> int | None:
        """Deploy it; see Resource.run."""
        from cove.host.helm import deploy

        cluster = run.cluster
        await run.starting(f"release {self.release.name} is being deployed")
        release = await asyncio.to_thread(self._with_images)
        deployed = await deploy(
            replace(release, namespace=meant(release.namespace, cluster)),
            kubeconfig=cluster.kubeconfig_path,
            client=cluster.client,
            log=run.log,
            driver=await self._driver(run),
            clock=run.clock,
        )
        await run.tell(
            version=deployed.version,
            revision=str(deployed.revision),
            appVersion=deployed.app_version,
        )
        run.log(f"release {deployed.name} revision {deployed.revision} is {deployed.status}")
        if deployed.notes.strip():
            run.log(deployed.notes.strip())
        return None

    def _with_images(self) -> Release:
        """The release with the names of its images among its values."""
        from cove.host.helm import HelmError
        from cove.host.helm import values as given
        from cove.host.images import Built, defaults, in_values

        if not self.images:
            return self.release
        release = self.release
        built = {}
        for path, name in self.images.items():
            repository, _, tag = str(getattr(self.app.resources[name], "built", "")).rpartition(":")
            built[path] = Built(name, repository, tag)
        try:
            own = given.merged(release.values_files, release.values, release.set)
        except given.ValuesError as e:
            raise HelmError(f'release "{release.name}": {e}') from e
        more = in_values(own, defaults(release.local), built, lambda image: None)
        return replace(release, values=given.merge(own, more), values_files=(), set={})

    async def _driver(self, run: Run) -> Any:
        """What is handed to deploy: a name, or a Helm in a container."""
        if self.driver != "container":
            return self.driver
        return await self._container(run)

    async def _container(self, run: Run) -> Driver:
        from cove.host.helm import ContainerHelm

        engine = await run.host.engines.get()
        network = await run.host.engines.network()
        cluster = run.cluster
        networks = cluster.container_networks
        image = self._cluster.options.images.get("helm")
        folder = await cluster.container_kubeconfig(network)
        return ContainerHelm(
            engine,
            kubeconfig_folder=folder,
            network=networks[0] if networks else network,
            extra_hosts=["host.docker.internal:host-gateway"],
            labels=run.host.engines.labels(self.name),
            **({"image": image} if image else {}),
        )
