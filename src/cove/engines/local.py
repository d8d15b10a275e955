"""The embedded engine as a :class:`~cove.engines.cluster.Cluster`.

For a session it runs in this process, for longer in the background process that ``cove
up`` starts, too.  Both are over the cluster's folder, so that ``cove status``, ``cove env``
and ``cove kubeconfig`` see them.  No container engine is needed before somebody asks for
:meth:`~cove.engines.cluster.Cluster.container_kubeconfig`.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cove.client import Client, kubeconfig
from cove.engines._work import finished
from cove.engines.cluster import Cluster, ClusterOptions, EngineName, Health, OptionError
from cove.engines.credentials import HOST_OF_CONTAINERS
from cove.engines.door import Relay, door_host, engine_for
from cove.engines.health import health_of
from cove.engines.home import ClusterFolder, Settings
from cove.engines.process import Started, start, stop
from cove.engines.subnets import planned
from cove.engines.variants import Variants, readdressed
from cove.kube.version import KUBERNETES, MAJOR, MINOR
from cove.node.docker import EngineError, find_engine

if TYPE_CHECKING:
    from cove.engines.embedded import EmbeddedCluster

__all__ = ["BackgroundCluster", "LocalCluster", "SessionCluster", "local_cluster", "settings_of"]

_VERSION = re.compile(r"v?(\d+)\.(\d+)(\..*)?")
# What the embedded engine can do without, by cove's names and by those of k3s.
_PARTS = {"ingress": "ingress", "traefik": "ingress", "registry": "registry"}
# Who made the folder for one session writes this into it: what has it, ends with its process.
_MARK = "session"


def settings_of(options: ClusterOptions, last: Settings | None = None) -> Settings:
    """What the embedded engine is started with; subnets are those of the last time.

    Raises OptionError for what this engine cannot do.
    """
    if options.version is not None:
        _check_version(options.version)
    if options.extra_args:
        raise OptionError(
            f"extra_args {' '.join(options.extra_args)}: the embedded engine has no command line "
            "to put them on; leave them out, or take the engine k3s"
        )
    parts = {_part(name) for name in options.disable}
    kept = last or Settings()
    return Settings(
        port=options.api_port,
        nodes=1 + options.agents,
        pod_subnet=options.pod_subnet or kept.pod_subnet,
        service_subnet=options.service_subnet or kept.service_subnet,
        in_memory=options.data_volume is None and options.lifetime == "session",
        container_engine=options.container_engine,
        ingress="ingress" not in parts,
        registry="registry" not in parts,
        domains=options.domains,
        mirrors=tuple(f"{host}={url}" for host, url in options.mirrors.items()),
        ports=tuple(f"{port}:{node_port}" for port, node_port in options.ports.items()),
        registry_port=options.registry_port,
    )


def _check_version(version: str) -> None:
    found = _VERSION.fullmatch(version)
    if found is None or found.group(1, 2) != (MAJOR, MINOR):
        raise OptionError(
            f'version "{version}": the embedded engine is Kubernetes {MAJOR}.{MINOR} '
            f"({KUBERNETES}); leave the version out, or take the engine k3s"
        )


def _part(name: str) -> str:
    if name not in _PARTS:
        known = ", ".join(_PARTS)
        raise OptionError(
            f'disable "{name}": the embedded engine knows no such part to go without; it knows '
            f"{known}"
        )
    return _PARTS[name]


def local_cluster(
    name: str, options: ClusterOptions, *, log: Callable[[str], None]
) -> LocalCluster:
    """An embedded cluster of the lifetime that the options say, not entered yet.

    Raises OptionError, InvalidNameError.
    """
    kind = BackgroundCluster if options.lifetime == "persistent" else SessionCluster
    return kind(name, options, log=log)


class LocalCluster(Cluster):
    """What both lifetimes have in common: a folder, a client over HTTPS, a door."""

    engine: EngineName = "embedded"

    def __init__(self, name: str, options: ClusterOptions, *, log: Callable[[str], None]) -> None:
        self.name = name
        self.options = options
        self.folder = ClusterFolder(name)
        self._log = log
        self._wanted = settings_of(options)
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._url = ""
        self._opening = asyncio.Lock()
        # Where containers reach the server: a port of host.docker.internal, once asked for.
        self._door: int | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            connection = await asyncio.to_thread(kubeconfig.load, self.kubeconfig_path)
            self._url = connection.server
            self._client = await stack.enter_async_context(Client.connect(connection))
            self._stack = stack.pop_all()
        for sentence in self.folder.missing:
            self._log(sentence)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @abstractmethod
    async def _start(self, stack: AsyncExitStack) -> None:
        """Have the cluster serve, its kubeconfig in the folder."""

    @abstractmethod
    async def _listen(self, host: str) -> int:
        """Be reached at an address of this machine as well; the port."""

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``."""
        return self._url

    @property
    def client(self) -> Client:
        """An administrator's client over HTTPS."""
        assert self._client is not None, "the cluster was not entered"
        return self._client

    @property
    def kubeconfig_path(self) -> Path:
        """The one in the cluster's folder."""
        return self.folder.kubeconfig

    async def container_kubeconfig(self, network: str) -> Path:
        """See :class:`Cluster`; works from any network of the engine on this machine."""
        async with self._opening:
            if self._door is None:
                what = f"containers cannot reach the cluster {self.name}"
                engine = await finished(engine_for, self.options.container_engine, what)
                host = await door_host(engine)
                self._door = await self._listen(host)
        server = f"https://{HOST_OF_CONTAINERS}:{self._door}"
        text = readdressed(self.kubeconfig_path.read_text(), server)
        return await asyncio.to_thread(Variants(self.folder.path).put_container, text)

    @property
    def container_networks(self) -> tuple[str, ...]:
        """None: containers reach it through the machine."""
        return ()

    @property
    def addresses(self) -> Mapping[str, str]:
        """See :class:`Cluster`; as the server has noted them down."""
        return self.folder.addresses

    @property
    def properties(self) -> Mapping[str, str]:
        """Engine, version, what runs the pods, where what runs beside them is."""
        return {
            "engine": self.engine,
            "version": KUBERNETES,
            "pods": "containers" if self.folder.pods_run else "simulated",
            "folder": str(self.folder.path),
            **self.folder.addresses,
        }

    async def load(self, image: str) -> None:
        """See :class:`Cluster`: pods that run use the engine's own images."""
        if not self.folder.pods_run:
            await super().load(image)

    async def health(self) -> Health:
        """Whether the server's node and all agents are ready."""
        return await health_of(self.client, 1 + self.options.agents)


class SessionCluster(LocalCluster):
    """Runs in this process and ends with it; its folder too, unless objects are kept.

    :attr:`embedded` is the cluster itself: forks, time, faults.
    """

    def __init__(self, name: str, options: ClusterOptions, *, log: Callable[[str], None]) -> None:
        super().__init__(name, options, log=log)
        self._embedded: EmbeddedCluster | None = None

    @property
    def embedded(self) -> EmbeddedCluster:
        """The cluster in this process."""
        assert self._embedded is not None, "the cluster was not entered"
        return self._embedded

    async def _start(self, stack: AsyncExitStack) -> None:
        from cove.engines.embedded import EmbeddedCluster

        settings = await finished(self._take_folder, stack)
        self._embedded = await stack.enter_async_context(
            EmbeddedCluster(self.name, settings, folder=self.folder)
        )
        self._embedded.publish()

    def _take_folder(self, stack: AsyncExitStack) -> Settings:
        """Make the folder this process's own until the stack is left; what to start with."""
        folder, volume = self.folder, self.options.data_volume
        self._refuse_to_shadow()
        folder.create()
        descriptor = folder.acquire()
        if descriptor is None:
            raise OptionError(
                f'the cluster "{self.name}" is running already (pid {folder.serving()}): use it '
                f"with lifetime persistent, end it with `cove down -n {self.name}`, or choose "
                "another name"
            )
        stack.callback(os.close, descriptor)
        if volume is None:
            stack.callback(folder.remove)
            # A session that crashed left it.
            (folder.path / "cluster.json").unlink(missing_ok=True)
            folder.write(_MARK, f"{os.getpid()}\n".encode())
        else:
            (folder.path / _MARK).unlink(missing_ok=True)
            if volume:
                folder.use_volume(volume)
        (folder.path / "door").unlink(missing_ok=True)
        kept = settings_of(self.options, folder.settings if volume is not None else None)
        return planned(kept, folder)

    def _refuse_to_shadow(self) -> None:
        """A cluster that somebody keeps is not to be run without its objects, nor removed."""
        folder = self.folder
        if self.options.data_volume is not None or not folder.exists:
            return
        if not (folder.path / _MARK).exists() and folder.serving() is None:
            raise OptionError(
                f'a cluster "{self.name}" is kept in {folder.path}: run it with lifetime '
                "persistent, go on with its objects (data_volume), delete it with "
                f"`cove reset -n {self.name}`, or choose another name"
            )

    async def _listen(self, host: str) -> int:
        if host == "127.0.0.1":
            return self.embedded.server.port
        return await self.embedded.listen_at(host, self._stack)


class BackgroundCluster(LocalCluster):
    """Runs in a process of its own, which stays when this one leaves it."""

    _discarded = False

    def discard(self) -> None:
        """See :class:`Cluster`."""
        self._discarded = True

    async def _stop(self) -> None:
        if self._discarded:
            await asyncio.to_thread(stop, self.name)

    async def _start(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self._stop)
        settings = await finished(self._settings)
        started = await _started(self.name, settings)
        if started.already:
            self._compare(self.folder.settings)
            self._log(f"the cluster {self.name} is running already (pid {started.pid})")

    def _settings(self) -> Settings:
        self.folder.create()
        if self.options.data_volume and self.folder.serving() is None:
            self.folder.use_volume(self.options.data_volume)
        last = self.folder.settings if self.folder.exists else None
        try:
            door = find_engine(self.options.container_engine) is not None
        except EngineError:
            door = False  # whoever asks for the door is told
        return replace(settings_of(self.options, last), door=door)

    def _compare(self, runs: Settings) -> None:
        """Tell which of the options that were asked for are not those it runs with."""
        asked, options = self._wanted, self.options
        pairs = [
            ("agents", options.agents, runs.nodes - 1, True),
            ("api_port", options.api_port, self.folder.last_port, bool(options.api_port)),
            ("pod_subnet", asked.pod_subnet, runs.pod_subnet, bool(options.pod_subnet)),
            (
                "service_subnet",
                asked.service_subnet,
                runs.service_subnet,
                bool(options.service_subnet),
            ),
            ("ingress", asked.ingress, runs.ingress, True),
            ("registry", asked.registry, runs.registry, True),
            ("domains", asked.domains, runs.domains, True),
            ("mirrors", asked.mirrors, runs.mirrors, True),
            ("ports", asked.ports, runs.ports, bool(options.ports)),
            (
                "container_engine",
                options.container_engine,
                runs.container_engine,
                options.container_engine is not None,
            ),
        ]
        differ = [
            f"{name} is {_shown(had)}, not {_shown(wanted)}"
            for name, wanted, had, matters in pairs
            if matters and wanted != had
        ]
        if differ:
            self._log(
                f"the cluster {self.name} goes on as it was started: {'; '.join(differ)}. "
                f"`cove down -n {self.name}`, then start it again, to change that"
            )

    async def _listen(self, host: str) -> int:
        port = self.folder.last_port
        if host == "127.0.0.1":
            return port
        door = self.folder.door
        if door is not None and door[0] == host and self.folder.settings.door:
            return door[1]
        relay = await self._stack.enter_async_context(Relay(host, ("127.0.0.1", port)))
        self._log(
            f"the cluster {self.name} was started without a door for containers: they reach it "
            "as long as this session lasts"
        )
        return relay.port


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return (
        {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


async def _started(name: str, settings: Settings) -> Started:
    """The background process, started in a thread; who is cancelled leaves none behind."""
    processes: list[subprocess.Popen[bytes]] = []
    cancelled = threading.Event()

    def began(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        if cancelled.is_set():
            process.kill()

    work = asyncio.ensure_future(asyncio.to_thread(start, name, settings, began=began))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancelled.set()
        for process in processes:
            process.kill()
        with suppress(Exception):
            # It was ready at the same moment: what was not running before does not now.
            if not (await work).already:
                await asyncio.to_thread(stop, name)
        raise
