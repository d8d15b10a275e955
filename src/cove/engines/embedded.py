"""The embedded engine: API server, controllers, scheduler and nodes in this process.

:func:`embedded` is the front door for programs and tests; the background process of
``cove up`` runs the same :class:`EmbeddedCluster` over a folder.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from cove.client import Client, InProcessTransport
from cove.engines.credentials import ADMIN, HOST, SubnetError, authority_of, issue, subnet
from cove.engines.home import ClusterFolder, Settings
from cove.engines.kubeconfig import admin_kubeconfig
from cove.pki import Credentials, server_context
from cove.server import Config, fork_api, make_api
from cove.server.bootstrap import bootstrap
from cove.server.http import HttpServer, PortTakenError
from cove.server.identity import TokenKeys
from cove.server.index import index_of
from cove.server.request import Request, User
from cove.server.store import Journal, Store

if TYPE_CHECKING:
    from cove.pki.authority import Authority
    from cove.server.api import Api

__all__ = ["EmbeddedCluster", "Fork", "SubnetError", "embedded"]

ADMIN_USER = User(ADMIN, ("system:masters", "system:authenticated"))
# Controllers and nodes speak as administrators: they are the cluster.
SYSTEM = User("system:apiserver", ("system:masters", "system:authenticated"))


class _Headers(dict[str, str]):
    """Headers of an in-process request, looked up by their canonical names."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.title(): value for name, value in headers.items()})


def in_process_client(api: Api, user: User, user_agent: str) -> Client:
    """A client that calls the Api directly, as ``user``."""

    def make(
        method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Request:
        return Request(method, path, query=query, headers=_Headers(headers), body=body, user=user)

    return Client(InProcessTransport(api.handle, make), user_agent=user_agent)


class Running:
    """What a cluster and its forks have in common: an Api, clients, a kubeconfig."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def _take(self, api: Api) -> None:
        self.api = api
        self.client: Client = in_process_client(api, ADMIN_USER, "cove")

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig, YAML."""
        raise NotImplementedError

    @property
    def kubeconfig_path(self) -> Path:
        """The administrator's kubeconfig in a file, for programs that want one.

        The file is gone when the cluster is left.
        """
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="cove-")
            path = Path(self._temporary.name) / "kubeconfig"
            path.touch(mode=0o600)
            path.write_text(self.kubeconfig)
            self._stack.callback(self._forget)
        return Path(self._temporary.name) / "kubeconfig"

    def _forget(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _fork(self, controllers: bool | None) -> Fork:
        raise NotImplementedError

    @asynccontextmanager
    async def fork(self, *, controllers: bool | None = None) -> AsyncIterator[Fork]:
        """A copy of the cluster as it is now, in constant time, whatever it holds.

        What is written to either is not seen by the other.  ``controllers`` None means
        as the cluster itself has them.  A fork can be forked again.
        """
        async with self._fork(controllers) as fork:
            yield fork

    async def _run(self, settings: Settings, authority: bytes) -> None:
        """Start controllers and nodes; they end with the stack."""
        from cove.controllers import Manager
        from cove.node import SimulatedNodes

        system = in_process_client(self.api, SYSTEM, "kube-controller-manager")
        manager = await self._stack.enter_async_context(Manager(system, ca=authority.decode()))
        if settings.nodes:
            await self._stack.enter_async_context(
                SimulatedNodes(
                    system,
                    settings.nodes,
                    pod_subnet=subnet("--pod-subnet", settings.pod_subnet),
                    informers=manager.informers,
                )
            )


class Fork(Running):
    """A copy of a cluster that goes its own way; made with :meth:`EmbeddedCluster.fork`.

    Its ``kubeconfig`` (YAML) works for any client: the server is the same, the path
    differs.
    """

    def __init__(
        self, cluster: EmbeddedCluster, source: Api, identifier: str, *, controllers: bool
    ) -> None:
        super().__init__()
        api = fork_api(source)
        api.server_address = source.server_address
        self._take(api)
        self.id = identifier
        self._cluster = cluster
        self._controllers = controllers

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT/forks/ID``."""
        return f"{self._cluster.url}/forks/{self.id}"

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig, YAML."""
        return self._cluster.kubeconfig_for(self.url, f"{self._cluster.name}-{self.id}")

    def _fork(self, controllers: bool | None) -> Fork:
        run = self._controllers if controllers is None else controllers
        return Fork(self._cluster, self.api, uuid4().hex[:12], controllers=run)

    async def __aenter__(self) -> Self:
        forks = self._cluster.server.forks
        forks[self.id] = self.api
        # Left in reverse: controllers first, then the address, then who still watches.
        self._stack.callback(self.api.store.disconnect)
        self._stack.callback(forks.pop, self.id, None)
        try:
            if self._controllers:
                await self._run(self._cluster.settings, self._cluster.credentials.authority)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()


class EmbeddedCluster(Running):
    """A cluster in this process: entered it serves, left everything of it is gone.

    ``folder`` None keeps certificates and objects in memory; ``credentials`` None makes
    them.  Raises CorruptStoreError, PortTakenError, UnknownPluginError,
    :class:`SubnetError`; nothing is left of it then.
    """

    def __init__(
        self,
        name: str = "cove",
        settings: Settings | None = None,
        *,
        folder: ClusterFolder | None = None,
        credentials: Credentials | None = None,
        controllers: bool = True,
    ) -> None:
        super().__init__()
        self.name = name
        self.settings = settings or Settings(in_memory=True)
        self.folder = folder
        self._given = credentials
        self._authority: Authority | None = None
        self._controllers = controllers

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
        settings = self.settings
        service_subnet = subnet("--service-subnet", settings.service_subnet)
        pod_subnet = subnet("--pod-subnet", settings.pod_subnet)
        store, keys = self._open()
        self.credentials = self._given or issue(self.authority, settings.service_subnet)
        config = Config(
            service_subnet=service_subnet,
            pod_subnet=pod_subnet,
            enable_admission=frozenset(settings.enable_admission),
            disable_admission=frozenset(settings.disable_admission),
        )
        api = make_api(store, config, keys=keys)
        self._take(api)
        bootstrap(api)
        tls = server_context(self.credentials.authority, self.credentials.server)
        await self._listen(api, tls)
        api.server_address = f"{HOST}:{self.server.port}"
        if self._controllers:
            await self._run(settings, self.credentials.authority)

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
            return Store(), TokenKeys()
        keys = TokenKeys(self.folder.path / "sa.key")
        if self.settings.in_memory:
            return Store(), keys
        journal = Journal.open(self.folder.store)
        self._stack.callback(journal.close)
        state = journal.load(index_of)
        return Store(state, journal), keys

    @property
    def authority(self) -> Authority:
        """The cluster's certificate authority, loaded when somebody signs with it."""
        if self._authority is None:
            self._authority = authority_of(self.folder)
        return self._authority

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _fork(self, controllers: bool | None) -> Fork:
        run = self._controllers if controllers is None else controllers
        return Fork(self, self.api, uuid4().hex[:12], controllers=run)


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
) -> EmbeddedCluster:
    """A cluster in memory, in this process::

        async with cove.embedded() as cluster:
            await cluster.client.create(GVR("", "v1", "namespaces"), {"metadata": …})
            async with cluster.fork() as fork: ...

    ``port`` 0 takes a free one.  ``nodes`` 0 has none: pods stay pending.
    ``controllers`` False serves the API alone.
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
        ),
        controllers=controllers,
    )
