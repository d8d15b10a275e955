"""ContainerHelm: Helm out of an image, for machines that have neither SDK nor binary.

What the container sees of this machine — the kubeconfig, the chart, the values — is
mounted read-only; :func:`container` builds what the engine is told.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.host.helm._cli import arguments, reason, write_values
from cove.host.helm._drivers import Order, RefusedError

if TYPE_CHECKING:
    from cove.node.docker.connection import Engine

__all__ = ["IMAGE", "ContainerHelm", "container"]

IMAGE = "alpine/helm:latest"
# Where things are inside.
KUBECONFIG = "/cove/kubeconfig"
CHART = "/cove/chart"
VALUES = "/cove/values"
# Seconds to note the release as failed before the container is made to end.
GRACE = 5.0


def container(
    order: Order,
    *,
    image: str,
    kubeconfig_folder: Path,
    values_folder: Path,
    network: str = "",
    extra_hosts: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the engine is told to run; every mount is read-only."""
    mounts = [(kubeconfig_folder, KUBECONFIG), (values_folder, VALUES)]
    chart = order.chart
    local = order.local
    if local is not None and chart:
        # Helm tells a packed chart by its name.
        chart = f"{CHART}/{local.name}" if local.suffix == ".tgz" else CHART
        mounts.append((local.resolve(), chart))
    return {
        "Image": image,
        "Entrypoint": ["helm"],
        "Cmd": arguments(
            order,
            kubeconfig=f"{KUBECONFIG}/kubeconfig.yaml",
            chart=chart,
            values=f"{VALUES}/values.yaml",
        ),
        "Env": [
            "HELM_DRIVER=secret",
            "HELM_CACHE_HOME=/tmp/helm/cache",
            "HELM_CONFIG_HOME=/tmp/helm/config",
            "HELM_DATA_HOME=/tmp/helm/data",
        ],
        "Labels": dict(labels or {}),
        "HostConfig": {
            "Mounts": [
                {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True}
                for source, target in mounts
            ],
            "NetworkMode": network or "default",
            "ExtraHosts": list(extra_hosts),
            # Hands signals on: the first process of a container is deaf to them otherwise.
            "Init": True,
        },
    }


class ContainerHelm:
    """Runs Helm in a container of ``engine``.

    ``kubeconfig_folder`` holds nothing but a ``kubeconfig.yaml`` whose address works from
    containers on ``network``; ``labels`` tell whoever cleans up whose it is.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        kubeconfig_folder: Path,
        image: str = IMAGE,
        network: str = "",
        extra_hosts: Sequence[str] = ("host.docker.internal:host-gateway",),
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._engine = engine
        self._folder = kubeconfig_folder
        self._image = image
        self._network = network
        self._hosts = tuple(extra_hosts)
        self._labels = dict(labels or {})

    async def run(self, order: Order) -> None:
        """Return when it is done; raises RefusedError with Helm's reason."""
        from cove.node.docker.connection import DockerError, EngineDownError

        with tempfile.TemporaryDirectory(prefix="cove-helm-") as folder:
            write_values(Path(folder), order)
            config = container(
                order,
                image=self._image,
                kubeconfig_folder=self._folder,
                values_folder=Path(folder),
                network=self._network,
                extra_hosts=self._hosts,
                labels=self._labels,
            )
            try:
                await self._fetch()
                code, said = await self._run(f"cove-helm-{order.name}-{os.getpid()}", config)
            except (DockerError, EngineDownError) as e:
                raise RefusedError(f"the helper container ({self._image}): {e}") from e
        if code != 0:
            raise RefusedError(reason(said, code))

    async def _fetch(self) -> None:
        if await self._engine.image(self._image) is None:
            await self._engine.pull(self._image)

    async def _run(self, name: str, config: Mapping[str, Any]) -> tuple[int, str]:
        from cove.node.docker.connection import DockerError, EngineDownError

        try:
            id = await self._engine.create(name, config)
            await self._engine.start(id)
            waiting = self._engine.docker.containers.container(id)
            try:
                code = int((await waiting.wait())["StatusCode"])
            except asyncio.CancelledError:
                # Helm notes the release as failed, if it is given the time.
                with suppress(TimeoutError, DockerError, EngineDownError):
                    async with asyncio.timeout(GRACE):
                        await self._engine.kill(id, "SIGTERM")
                        await waiting.wait()
                raise
            return code, await self._said(id)
        finally:
            # Who is cancelled once more still leaves nothing behind.
            await asyncio.shield(self._engine.remove(name))

    async def _said(self, id: str) -> str:
        from cove.node.docker.logs import frames

        async with self._engine.log(id, {"stderr": "true"}) as content:
            return b"".join([piece async for piece in frames(content, False)]).decode(
                errors="replace"
            )
