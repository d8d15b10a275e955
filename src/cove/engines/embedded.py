"""The embedded engine: API server, controllers, scheduler and nodes in this process.

:func:`embedded` is the front door for programs and tests; the background process of
``cove up`` runs the same :class:`EmbeddedCluster` over a folder.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from cove.engines import snapshots
from cove.engines._running import Running, in_process_client
from cove.engines._slumber import Slumber
from cove.engines.credentials import HOST, SubnetError, authority_of, issue, subnet
from cove.engines.home import HISTORY, HISTORY_MIB, ClusterFolder, Settings
from cove.engines.kubeconfig import admin_kubeconfig
from cove.engines.snapshots import Snapshot
from cove.pki import Credentials, server_context
from cove.server import Config, make_api
from cove.server.aggregation import Availability, publish
from cove.server.bootstrap import bootstrap
from cove.server.faults import EVERYBODY
from cove.server.http import HttpServer, PortTakenError
from cove.server.identity import TokenKeys
from cove.server.index import index_of
from cove.server.store import Journal, State, Store, Window

if TYPE_CHECKING:
    from cove.client import Client, Informers
    from cove.engines._running import Quiet
    from cove.engines.containers import Containers
    from cove.pki.authority import Authority
    from cove.server.api import Api

# Pods are simulated whatever the environment says.
NONE = ("none", "simulated")

__all__ = ["EmbeddedCluster", "Fork", "Running", "SubnetError", "embedded", "in_process_client"]


class Fork(Running):
    """A copy of a cluster that goes its own way; made with :meth:`EmbeddedCluster.fork`.

    Its ``kubeconfig`` (YAML) works for any client: the server is the same, the path
    differs.
    """

    def __init__(
        self,
        cluster: EmbeddedCluster,
        source: Running,
        *,
        controllers: bool,
        revision: int | None,
    ) -> None:
        super().__init__(ahead=source.clock.ahead)
        api = source.api.fork(self.clock, revision=revision)
        api.server_address = source.api.server_address
        self._take(api)
        self.id = uuid4().hex[:12]
        self._cluster = cluster
        self._controllers = controllers
        # Nobody had anything to do where it comes from: controllers may start later.  Nodes that
        # run containers there are simulated here, which is something to do.
        self._rested = revision is None and cluster.containers is None and source._rests()
        self._slumber: Slumber | None = None

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT/forks/ID``."""
        return f"{self._cluster.url}/forks/{self.id}"

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig, YAML."""
        return self._cluster.kubeconfig_for(self.url, f"{self._cluster.name}-{self.id}")

    @property
    def authority(self) -> Authority:
        """The cluster's: certificates of one are good for the other."""
        return self._cluster.authority

    def _fork(self, controllers: bool | None, revision: int | None) -> Fork:
        run = self._controllers if controllers is None else controllers
        return Fork(self._cluster, self, controllers=run, revision=revision)

    async def __aenter__(self) -> Self:
        forks = self._cluster.server.forks
        forks[self.id] = self.api
        # Left in reverse: controllers first, then the address, then who still watches.
        self._stack.callback(self.api.store.disconnect)
        self._stack.callback(forks.pop, self.id, None)
        try:
            await self._stack.enter_async_context(Availability(self.api))
            if self._controllers and self._rested:
                self._slumber = await self._stack.enter_async_context(
                    Slumber(self.api.store, self._wake)
                )
            elif self._controllers:
                await self._wake(self._stack)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _wake(self, stack: AsyncExitStack) -> None:
        cluster = self._cluster
        await self._run(cluster.settings, cluster.credentials.authority, stack)

    async def settle(self) -> None:
        """See :meth:`Running.settle`; controllers that were not needed so far are started."""
        if self._slumber is not None:
            await self._slumber.awake()
        await super().settle()

    def _rests(self) -> bool:
        if self._slumber is not None and self._slumber.asleep:
            return self.api.store.told()
        return not (self._slumber is not None and self._slumber.waking) and super()._rests()

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()


class EmbeddedCluster(Running):
    """A cluster in this process: entered it serves, left everything of it is gone.

    ``folder`` None keeps certificates and objects in memory; ``credentials`` and ``authority``
    None makes them.  In memory it starts with the objects of ``snapshot``, None: with none.
    Raises CorruptStoreError, PortTakenError, UnknownPluginError,
    :class:`SubnetError`; nothing is left of it then.
    """

    def __init__(
        self,
        name: str = "cove",
        settings: Settings | None = None,
        *,
        folder: ClusterFolder | None = None,
        credentials: Credentials | None = None,
        authority: Authority | None = None,
        snapshot: Snapshot | None = None,
        data: Path | None = None,
        controllers: bool = True,
    ) -> None:
        super().__init__(ahead=0.0 if snapshot is None else snapshot.ahead)
        self.name = name
        self.settings = settings or Settings(in_memory=True)
        self.folder = folder
        # Where what runs beside pods keeps its data; None: in the folder, else in none that lasts.
        self.data = data
        self._given = credentials
        self._authority = authority
        self._snapshot = snapshot
        self._controllers = controllers and self.settings.controllers
        # What runs the pods; None where they are simulated.
        self.containers: Containers | None = None

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``."""
        return self.server.url

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig, YAML."""
        return self.kubeconfig_for(self.url, self.name)

    @property
    def kubeconfig_path(self) -> Path:
        """The administrator's kubeconfig in a file, for programs that want one."""
        return self.folder.kubeconfig if self.folder is not None else super().kubeconfig_path

    def kubeconfig_for(self, url: str, context: str) -> str:
        """The administrator's kubeconfig for a URL of this server."""
        return admin_kubeconfig(url, context, self.credentials.authority, self.credentials.admin)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        # Those of a cluster in a folder were chosen by whoever started its process.
        if self.folder is None and self.settings.container_engine not in NONE:
            from cove.engines.subnets import planned

            self.settings = planned(self.settings, self.folder)
        settings = self.settings
        service_subnet = subnet("--service-subnet", settings.service_subnet)
        pod_subnet = subnet("--pod-subnet", settings.pod_subnet)
        store, keys = self._open()
        self.credentials = self._given or issue(
            self.authority, settings.service_subnet, [self.name]
        )
        config = Config(
            service_subnet=service_subnet,
            pod_subnet=pod_subnet,
            clock=self.clock,
            enable_admission=frozenset(settings.enable_admission),
            disable_admission=frozenset(settings.disable_admission),
        )
        api = make_api(store, config, keys=keys)
        # After the server: what it serves may wait for an answer.
        self._stack.push_async_callback(api.outgoing.aclose)
        api.outgoing.identity = self.credentials.front_proxy.client
        self._take(api)
        if self.folder is not None:
            api.extra["snapshots"] = snapshots.serve(self, self.folder)
        bootstrap(api, storage_class=settings.nodes > 0)
        publish(api, self.credentials.authority, self.credentials.front_proxy.authority)
        tls = server_context(self.credentials.authority, self.credentials.server)
        await self._listen(api, tls)
        api.server_address = f"{HOST}:{self.server.port}"
        await self._stack.enter_async_context(Availability(api))
        if self._controllers:
            await self._run(settings, self.credentials.authority, self._stack)

    async def _start_nodes(
        self, settings: Settings, system: Client, informers: Informers, stack: AsyncExitStack
    ) -> Quiet:
        """Nodes that run containers, where an engine was found or asked for."""
        from cove.node.docker import find_engine

        address = find_engine(settings.container_engine)
        if address is None:
            return await super()._start_nodes(settings, system, informers, stack)
        from cove.engines.containers import Containers

        self.containers = await stack.enter_async_context(
            Containers(self, address, system, informers)
        )
        return self.containers

    async def listen_at(self, host: str, stack: AsyncExitStack, port: int = 0) -> int:
        """Serve on another address as well, for as long as ``stack`` lives; the port.

        Raises PortTakenError.
        """
        tls = server_context(self.credentials.authority, self.credentials.server)
        server = HttpServer(self.api, tls, host=host, port=port)
        server.forks = self.server.forks
        return (await stack.enter_async_context(server)).port

    def publish(self) -> None:
        """Write into the folder what other processes go by: settings, address, credentials."""
        assert self.folder is not None, "a cluster in memory has no folder"
        self.folder.save(self.settings)
        beside = {}
        if self.containers is not None:
            containers = self.containers
            beside = {"addresses": containers.addresses, "missing": containers.missing}
        self.folder.write("containers.json", json.dumps(beside).encode())
        self.folder.write("kubeconfig", self.kubeconfig.encode())

    async def _listen(self, api: Api, tls: ssl.SSLContext) -> None:
        """Serve on the port that was asked for, else on the last one, else on any free one.

        The same port again keeps copies of the kubeconfig good.
        """
        settings = self.settings
        last = 0 if self.folder is None or settings.port else self.folder.last_port
        if last:
            self.server = HttpServer(api, tls, host=HOST, port=last)
            try:
                await self._stack.enter_async_context(self.server)
            except PortTakenError:
                last = 0
        if not last:
            self.server = HttpServer(api, tls, host=HOST, port=settings.port)
            await self._stack.enter_async_context(self.server)

    def _open(self) -> tuple[Store, TokenKeys]:
        if self.folder is None:
            snapshot = self._snapshot
            return self._store(None if snapshot is None else snapshot.state), TokenKeys()
        keys = TokenKeys(self.folder.path / "sa.key")
        if self.settings.in_memory:
            return self._store(), keys
        volume = self.folder.hold_volume()
        if volume is not None:
            self._stack.callback(os.close, volume)
        journal = Journal.open(self.folder.store)
        self._stack.callback(journal.close)
        state = journal.load(index_of)
        return self._store(state, journal), keys

    def _store(self, state: State | None = None, journal: Journal | None = None) -> Store:
        events, mebibytes = self.settings.history, self.settings.history_mib
        return Store(state, journal, window=Window(events, mebibytes * 1024 * 1024))

    async def restart(self, *, downtime: float = 0.0) -> None:
        """Restart the API server: watches end, connections are closed, the port stays.

        For ``downtime`` seconds of the cluster's clock nobody is answered, controllers and
        nodes included.  The objects stay; watches of before have to list again (410), as
        after a restart that finds its cache empty.  Forks are restarted with it.
        """
        with self.faults.reset(users=EVERYBODY):
            await self.server.stop()
            self.api.store.compact()
            if downtime:
                await self.clock.sleep(downtime)
        await self.server.start()

    @property
    def authority(self) -> Authority:
        """The cluster's certificate authority, loaded when somebody signs with it."""
        if self._authority is None:
            self._authority = authority_of(self.folder)
        return self._authority

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _fork(self, controllers: bool | None, revision: int | None) -> Fork:
        run = self._controllers if controllers is None else controllers
        return Fork(self, self, controllers=run, revision=revision)


def embedded(
    name: str = "cove",
    *,
    nodes: int = 1,
    port: int = 0,
    service_subnet: str = "10.96.0.0/12",
    pod_subnet: str = "10.244.0.0/16",
    enable_admission: Iterable[str] = (),
    disable_admission: Iterable[str] = (),
    controllers: bool = True,
    history: int = HISTORY,
    history_mib: int = HISTORY_MIB,
    container_engine: str = "none",
    ingress: bool = False,
    registry: bool = False,
    mirrors: Mapping[str, str] | None = None,
) -> EmbeddedCluster:
    """A cluster in memory, in this process::

        async with cove.embedded() as cluster:
            await cluster.client.create(GVR("", "v1", "namespaces"), {"metadata": …})
            async with cluster.fork() as fork: ...

    ``port`` 0 takes a free one.  ``nodes`` 0 has none: pods stay pending.
    ``controllers`` False serves the API alone.  ``history`` is how many writes are
    remembered, as long as they fit into ``history_mib`` mebibytes: so far back watches
    start, and :meth:`EmbeddedCluster.history` and :meth:`EmbeddedCluster.at` see.
    ``container_engine`` runs pods in containers: ``auto`` takes the engine that is found, if
    any; ``docker``, ``podman`` or an address name one.  Forks' pods are simulated always.
    Raises EngineError for one that does not answer.  ``ingress`` and ``registry`` run these
    beside such pods; ``mirrors`` are registries that it fetches from in place of the
    engine, as ``{"docker.io": "https://registry-1.docker.io"}``.
    """
    return EmbeddedCluster(
        name,
        Settings(
            port=port,
            nodes=nodes,
            service_subnet=service_subnet,
            pod_subnet=pod_subnet,
            enable_admission=tuple(enable_admission),
            disable_admission=tuple(disable_admission),
            in_memory=True,
            history=history,
            history_mib=history_mib,
            container_engine=container_engine,
            ingress=ingress,
            registry=registry,
            mirrors=tuple(f"{host}={url}" for host, url in (mirrors or {}).items()),
        ),
        controllers=controllers,
    )
