"""What a cluster in this process and its forks have in common."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cove.client import Client, Informers, InProcessTransport, Tasks, TravelClock
from cove.client.history import Version, history
from cove.engines.credentials import ADMIN, subnet
from cove.engines.home import Settings
from cove.engines.snapshots import Snapshot
from cove.kube import status as st
from cove.kube.gvk import GVR
from cove.server.expiry import EventExpiry
from cove.server.history import past_path
from cove.server.request import Request, User
from cove.server.store import Expired

if TYPE_CHECKING:
    from cove.controllers import Manager
    from cove.engines.embedded import Fork
    from cove.pki.authority import Authority
    from cove.server.api import Api
    from cove.server.faults import Faults

__all__ = ["Running", "in_process_client"]

ADMIN_USER = User(ADMIN, ("system:masters", "system:authenticated"))
# Controllers and nodes speak as administrators: they are the cluster.
SYSTEM = User("system:apiserver", ("system:masters", "system:authenticated"))

# The event loop turned this often without a write, and nobody has anything to do: it is quiet.
QUIET = 5
# This often without a write while somebody is at work: it is not for the cluster to end.
PATIENCE = 1000


class Quiet(Protocol):
    """Nodes, as far as :meth:`Running.settle` is concerned."""

    @property
    def quiet(self) -> bool:
        """Whether they have nothing to do."""


class _Headers(dict[str, str]):
    """Headers of an in-process request, looked up by their canonical names."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.title(): value for name, value in headers.items()})


def in_process_client(api: Api, user: User, user_agent: str, prefix: str = "") -> Client:
    """A client that calls the Api directly, as ``user``; ``prefix`` goes before every path."""

    def make(
        method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Request:
        return Request(
            method,
            prefix + path,
            query=query,
            headers=_Headers(headers),
            body=body,
            user=user,
        )

    return Client(InProcessTransport(api.handle, make), user_agent=user_agent)


class Running:
    """What a cluster and its forks have in common: an Api, clients, a kubeconfig, a clock."""

    def __init__(self, *, ahead: float = 0.0) -> None:
        # What everything in the cluster goes by; ``await cluster.clock.advance(3600)``.
        self.clock = TravelClock(self.settle, ahead=ahead)
        self._manager: Manager | None = None
        self._nodes: Quiet | None = None
        self._stack = AsyncExitStack()
        self._stack.callback(self.clock.close)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def _take(self, api: Api) -> None:
        self.api = api
        self.client: Client = in_process_client(api, ADMIN_USER, "cove")

    @property
    def faults(self) -> Faults:
        """What is to go wrong: ``with cluster.faults.error(429, verbs="create", count=3): …``."""
        return self.api.faults

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

    async def settle(self) -> None:
        """Return when controllers and nodes have done what there is to do now.

        What they will do later, at a time or after a delay, is not waited for.  Gives up
        after half a second in which nothing was written although somebody is at work: with
        a webhook that does not answer, say.
        """
        quiet = idle = 0
        revision = self.api.store.revision
        while quiet < QUIET and idle < PATIENCE:
            await asyncio.sleep(0 if idle < PATIENCE // 2 else 0.001)
            if self.api.store.revision != revision:
                revision = self.api.store.revision
                quiet = idle = 0
                continue
            idle += 1
            quiet += 1
            if quiet == QUIET and not self._quiet():
                quiet = 0

    def _rests(self) -> bool:
        """Whether controllers run, and nobody has anything to do."""
        return self._manager is not None and self._quiet()

    def _quiet(self) -> bool:
        return (
            self.api.store.told()
            and (self._manager is None or self._manager.quiet)
            and (self._nodes is None or self._nodes.quiet)
        )

    @property
    def authority(self) -> Authority:
        """The cluster's certificate authority, loaded when somebody signs with it."""
        raise NotImplementedError

    async def history(
        self, of: GVR | Mapping[str, Any], name: str = "", namespace: str | None = None
    ) -> list[Version]:
        """The versions of an object, oldest first, as far as the cluster remembers.

        ``of`` is the object itself (apiVersion, kind and metadata are enough), or its
        resource with ``name`` and ``namespace``; a resource alone gives every write to it.
        Raises StatusError 404 for what neither is nor was.
        """
        if isinstance(of, GVR):
            return await history(self.client, of, name, namespace)
        resource = await self.client.discovery.for_kind(of["apiVersion"], of["kind"])
        metadata = of["metadata"]
        return await history(
            self.client,
            resource.gvr,
            metadata["name"],
            (metadata.get("namespace") or "default") if resource.namespaced else None,
        )

    def at(self, revision: int) -> Client:
        """A client that reads the cluster as it was at ``revision``.

        Any resourceVersion that was given out within the window; others are answered 410.
        Over HTTPS the same is at ``{url}/revisions/{revision}``.
        """
        return in_process_client(self.api, ADMIN_USER, "cove", past_path(revision))

    def snapshot(self) -> Snapshot:
        """The cluster's objects as they are now, to come back to: :meth:`restore`.

        Takes no time and, until something changes, no memory.
        """
        return Snapshot(self.api.store.state, self.clock.now(), self.clock.ahead)

    async def restore(self, snapshot: Snapshot) -> None:
        """Make the objects of a snapshot, of this cluster or another, the cluster's own.

        What was written since is gone.  Everybody who watches lists again, and this returns
        when the cluster's own controllers have: see :meth:`settle`.
        """
        self.api.store.restore(snapshot.state)
        await self.settle()

    def _fork(self, controllers: bool | None, revision: int | None) -> Fork:
        raise NotImplementedError

    @asynccontextmanager
    async def fork(
        self, *, controllers: bool | None = None, revision: int | None = None
    ) -> AsyncIterator[Fork]:
        """A copy of the cluster as it is now, in constant time, whatever it holds.

        What is written to either is not seen by the other.  ``controllers`` None means
        as the cluster itself has them; those of a cluster that had nothing to do start in the
        fork with the first write that concerns them, after a second at the latest.  ``revision`` copies the cluster as it was then
        (any resourceVersion that was given out since); raises StatusError 410 for one that is
        too long ago and ValueError for one that is yet to come.  A fork can be forked again.
        """
        if revision is not None and revision > self.api.store.revision:
            raise ValueError(f"revision {revision} is yet to come: it is {self.api.store.revision}")
        try:
            made = self._fork(controllers, revision)
        except Expired as e:
            raise st.expired(f"too old resource version: {revision} ({e.oldest})") from e
        async with made as fork:
            yield fork

    async def _run(self, settings: Settings, authority: bytes, stack: AsyncExitStack) -> None:
        """Start controllers and nodes; they end with the stack."""
        tasks = await stack.enter_async_context(Tasks())
        tasks.start("expiry of events", EventExpiry(self.api).run())
        from cove.controllers import Manager

        system = in_process_client(self.api, SYSTEM, "kube-controller-manager")
        manager = self._manager = await stack.enter_async_context(
            Manager(
                system,
                ca=authority.decode(),
                authority=lambda: self.authority,
                clock=self.clock,
            )
        )
        if settings.nodes:
            assert manager.informers is not None
            self._nodes = await self._start_nodes(settings, system, manager.informers, stack)

    async def _start_nodes(
        self, settings: Settings, system: Client, informers: Informers, stack: AsyncExitStack
    ) -> Quiet:
        """The nodes, started; they end with the stack."""
        from cove.node import SimulatedNodes

        return await stack.enter_async_context(
            SimulatedNodes(
                system,
                settings.nodes,
                pod_subnet=subnet("--pod-subnet", settings.pod_subnet),
                informers=informers,
                clock=self.clock,
            )
        )
