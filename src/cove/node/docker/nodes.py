"""ContainerNodes: nodes whose pods run, on one container engine.

Every node of a cluster is the same machine under another name and address; what a node
can take is what the engine has, so that a pod that fits one node fits.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from cove.client import Client, Clock, Informers, Recorder, SystemClock, Tasks
from cove.client.recorder import reference
from cove.kube.gvk import GVR
from cove.node.agent import NodeAgent
from cove.node.docker.connection import Engine
from cove.node.docker.driver import DockerDriver
from cove.node.docker.images import itself
from cove.node.docker.kubelet import DockerKubelet
from cove.node.docker.network import DockerNetwork
from cove.node.network.bridge import Bridge
from cove.node.nodes import CAPACITY, NodeSpec
from cove.node.pods.env import Around
from cove.node.pods.volumes import PROVISIONED, Volumes

__all__ = ["ContainerNodes"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]

CONFIG_MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
SERVICES = GVR("", "v1", "services")
PODS = GVR("", "v1", "pods")
CLAIMS = GVR("", "v1", "persistentvolumeclaims")
VOLUMES = GVR("", "v1", "persistentvolumes")


def _host_resolv_conf(_pod: Doc) -> str:
    """Without a cluster DNS: what the host asks, but for resolvers on its loopback."""
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        return ""
    return "\n".join(line for line in lines if not line.startswith("nameserver 127.")) + "\n"


class ContainerNodes:
    """``async with ContainerNodes(client, engine, network, 1, …)``: they run until it is left.

    ``engine`` and ``network`` are entered already.  ``cluster`` is what its objects in the
    engine are marked with; ``folder`` where what pods have on the host is kept.  ``ca`` gives
    the cluster's certificate.  ``resolv_conf`` writes a pod's (None: as the host resolves),
    ``local`` says under which name the engine finds an image.  Leaving removes every
    container.
    """

    def __init__(
        self,
        client: Client,
        engine: Engine,
        network: DockerNetwork,
        count: int,
        *,
        cluster: str,
        folder: Path,
        ca: Callable[[], str],
        informers: Informers,
        resolv_conf: Callable[[Doc], str] | None = None,
        local: Callable[[str], Awaitable[str]] = itself,
        clock: Clock | None = None,
    ) -> None:
        self.engine = engine
        self.cluster = cluster
        self.resolv_conf = resolv_conf or _host_resolv_conf
        self.local = local
        self._network = network
        self._client = client.named("kubelet")
        self._count = count
        self._subnet = network.bridge.subnet
        self._folder = folder
        self._ca = ca
        self._informers = informers
        self._clock = clock or SystemClock()
        self._stack = AsyncExitStack()

    @property
    def bridge(self) -> Bridge:
        """The network the pods are on."""
        return self._network.bridge

    @property
    def kubelet(self) -> DockerKubelet:
        """For the API server."""
        return self._kubelet

    @property
    def quiet(self) -> bool:
        """Whether the agent has nothing to do."""
        return self.agent.quiet

    def claims(self, address: object) -> bool:
        """Whether an address of the pod subnet is a pod's that runs."""
        return str(address) in self.driver.addresses or str(address) == str(self.bridge.gateway)

    def addresses(self) -> list[str]:
        """The nodes' own: the bridge's gateway, then aliases from the end of the subnet."""
        last = int(self._subnet.broadcast_address)
        aliases = [str(IPv4Address(last - index)) for index in range(1, self._count)]
        return [str(self._subnet[1]), *aliases]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._recorder = await stack.enter_async_context(
                Recorder(self._client, "kubelet", clock=self._clock)
            )
            self._tasks = await stack.enter_async_context(Tasks())
            await self._alias()
            self.driver = self._make_driver()
            await stack.enter_async_context(self.driver)
            await self._watch_configuration(stack)
            self.agent = await stack.enter_async_context(
                NodeAgent(
                    self._client,
                    self.driver,
                    self._specs(),
                    self._subnet,
                    informers=self._informers,
                    clock=self._clock,
                )
            )
            for address in self.addresses():
                self.agent.reserve(address)
            self._kubelet = DockerKubelet(self.driver, lambda: list(self.agent.nodes), self._clock)
            await self._reap()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    # -- parts

    def _specs(self) -> list[NodeSpec]:
        info = self.engine.info
        capacity = {
            "cpu": str(info.get("NCPU") or CAPACITY["cpu"]),
            "memory": f"{int(info.get('MemTotal') or 0) // 1024}Ki",
            "ephemeral-storage": f"{shutil.disk_usage('/').total // 1024}Ki",
        }
        return [
            NodeSpec(name=f"node-{index}", address=address, capacity=capacity)
            for index, address in enumerate(self.addresses())
        ]

    async def _alias(self) -> None:
        """Give the host the other nodes' addresses; it takes root, and only they need it."""
        for address in self.addresses()[1:]:
            process = await asyncio.create_subprocess_exec(
                *("ip", "address", "replace", f"{address}/32", "dev", self.bridge.interface),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await process.communicate()
            if process.returncode:
                log.warning("node address %s is not reachable: %s", address, said.decode().strip())

    def _make_driver(self) -> DockerDriver:
        informer = self._informers.informer
        config_maps, secrets = informer(CONFIG_MAPS), informer(SECRETS)
        self._config_maps, self._secrets = config_maps, secrets
        self._services, self._volumes = informer(SERVICES), informer(VOLUMES)
        volumes = Volumes(
            self._client,
            self._folder / "pods",
            self._folder / "volumes",
            config_maps=config_maps,
            secrets=secrets,
            claims=informer(CLAIMS),
            volumes=self._volumes,
            clock=self._clock,
            ca=self._ca,
        )
        return DockerDriver(
            self.engine,
            cluster=self.cluster,
            network=self._network.name,
            labels=self._network.labels,
            volumes=volumes,
            clock=self._clock,
            around=self._around,
            resolv_conf=self.resolv_conf,
            host_of=self._host_of,
            secrets=self._pull_secrets,
            event=self._event,
            health=self._health,
            local=self.local,
        )

    async def _watch_configuration(self, stack: AsyncExitStack) -> None:
        """Be told of what pods name, and know it before the first of them starts."""
        for kind, source in (("ConfigMap", self._config_maps), ("Secret", self._secrets)):
            handler = self._refresher(kind)
            source.add_handler(handler)
            stack.callback(source.remove_handler, handler)
            await source.synced.wait()
        await self._services.synced.wait()
        self._volumes.add_handler(self._volume_changed)
        stack.callback(self._volumes.remove_handler, self._volume_changed)

    def _volume_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """What was provisioned goes with its PersistentVolume."""
        if new is None and old is not None:
            path = (old["spec"].get("hostPath") or {}).get("path", "")
            name = path.removeprefix(PROVISIONED)
            if path.startswith(PROVISIONED) and name and "/" not in name:
                self._tasks.start(f"removal of volume {name}", self._remove_volume(name))

    async def _remove_volume(self, name: str) -> None:
        place = self._folder / "volumes" / name
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def _refresher(self, kind: str) -> Any:
        def changed(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
            obj = new or old
            if not initial and obj is not None:
                metadata = obj["metadata"]
                self.driver.refresh(kind, metadata["namespace"], metadata["name"])

        return changed

    def _host_of(self, pod: Mapping[str, Any]) -> str:
        addresses = {s.name: s.address for s in self._specs()}
        return addresses.get(pod["spec"].get("nodeName", ""), str(self.bridge.gateway))

    def _around(self, pod: Doc, address: str) -> Around:
        namespace = pod["metadata"]["namespace"]
        host = self._host_of(pod)
        linked: list[Doc] = []
        for service in self._services:
            metadata = service["metadata"]
            own = metadata["namespace"] == namespace
            api = (metadata["namespace"], metadata["name"]) == ("default", "kubernetes")
            if api or (own and pod["spec"].get("enableServiceLinks", True)):
                linked.append(service)
        return Around(
            address=host if pod["spec"].get("hostNetwork") else address,
            host=host,
            allocatable=self._specs()[0].capacity,
            config_map=lambda name: self._config_maps.get(namespace, name),
            secret=lambda name: self._secrets.get(namespace, name),
            services=linked,
        )

    def _pull_secrets(self, pod: Doc) -> list[Mapping[str, Any]]:
        namespace = pod["metadata"]["namespace"]
        names = [r["name"] for r in pod["spec"].get("imagePullSecrets") or () if r.get("name")]
        found = (self._secrets.get(namespace, name) for name in names)
        return [s for s in found if s is not None]

    def _event(self, pod: Doc, type: str, reason: str, message: str, container: str) -> None:
        involved = reference(pod, "v1", "Pod")
        if container:
            spec = pod["spec"]
            kinds = ("containers", "initContainers", "ephemeralContainers")
            kind = next(k for k in kinds if any(c["name"] == container for c in spec.get(k) or ()))
            involved["fieldPath"] = f"spec.{kind}{{{container}}}"
        self._recorder.event(involved, type, reason, message)

    def _health(self, why: str) -> None:
        self.agent.set_health(why)

    async def _reap(self) -> None:
        """Remove what pods of before have left that are no more."""
        pods = self._informers.informer(PODS)
        count = await self.driver.reap({p["metadata"]["uid"] for p in pods})
        if count:
            log.info("%d containers of pods that are gone were removed", count)
