"""Warm state: a declared cluster as ``setup`` left it, and the copies that tests start from.

What a copy is depends on the cluster: with simulated pods a fork of it in constant time; where
pods run in containers, a cluster of its own with the same objects, images, addresses and
certificates, whose pods are started anew; on clusters that are not in this process a namespace
of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from cove.client import Client, Transport
from cove.engines._running import SYSTEM, in_process_client
from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.embedded import EmbeddedCluster
from cove.engines.home import ClusterFolder, Settings
from cove.engines.k3s_options import for_tests
from cove.engines.local import settings_of
from cove.engines.select import chosen, open_cluster
from cove.engines.snapshots import Snapshot
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError
from cove.testing.place import Place, Tape
from cove.testing.recording import RecordingTransport, ServerTap
from cove.testing.restarted import copied, is_ready, ready_in, restarted

if TYPE_CHECKING:
    from cove.engines._running import Running
    from cove.engines.cluster import Cluster
    from cove.testing.bridge import Bridge
    from cove.testing.declarations import ClusterDeclaration
    from cove.testing.timeline import Timeline

__all__ = ["WarmCluster", "WarmError", "warm_cluster"]

log = logging.getLogger("cove.testing")

NAMESPACES = GVR("", "v1", "namespaces")
PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")
# What all namespaces of tests have, so that those of runs that crashed can be found.
LABEL = "dev.cove.testing/run"

Doc = dict[str, Any]


class WarmError(CoveError):
    """The cluster of an environment could not be had."""


def warm_cluster(
    name: str,
    declared: ClusterDeclaration,
    *,
    prefix: str,
    engine: str | None,
    context: str | None,
    bridge: Bridge,
    folder: Path,
    root: Path,
) -> WarmCluster:
    """The cluster that a declaration asks for, not opened yet.

    ``engine`` and ``context`` are what the run was told; ``folder`` is where it may keep files,
    ``prefix`` what names on this machine begin with, ``root`` what paths are relative to.  Raises OptionError.
    """
    which = chosen(declared.engine or ("embedded" if declared.recording else engine))
    if declared.recording is not None:
        if which != "embedded" or declared.pods == "containers":
            raise OptionError(
                f"{name}: a recording is replayed on the embedded engine, with simulated pods"
            )
        declared = replace(declared, recording=root / declared.recording)
        return ReplayedCluster(
            name, declared, _options(declared, which, context), prefix, bridge, folder
        )
    options = _options(declared, which, context)
    if which != "embedded":
        return SharedCluster(name, declared, options, which, prefix, bridge)
    pods = declared.pods or ("containers" if declared.ingress_domains else "simulated")
    if pods not in ("simulated", "containers"):
        raise OptionError(f'{name}: pods is "{pods}": it is "simulated" or "containers"')
    kind = ContainersCluster if pods == "containers" else ForkedCluster
    return kind(name, declared, options, prefix, bridge, folder)


def _options(declared: ClusterDeclaration, engine: str, context: str | None) -> ClusterOptions:
    if engine == "existing":
        # How it was made is not for a test to say.
        return ClusterOptions(context=declared.context or context, kubeconfig=declared.kubeconfig)
    disable = declared.disable
    if not declared.registry and engine == "embedded" and "registry" not in disable:
        disable = (*disable, "registry")
    options = ClusterOptions(
        version=declared.version,
        agents=max(0, declared.nodes - 1),
        disable=disable,
        extra_args=declared.extra_args,
        domains=declared.ingress_domains,
        mirrors=dict(declared.mirrors),
        images=dict(declared.images),
        container_engine=declared.container_engine,
        k3s=declared.k3s,
    )
    if engine != "k3s":
        return options
    return for_tests(options, ready_timeout=declared.ready_timeout, registry=declared.registry)


class WarmCluster(ABC):
    """Opened it runs; captured, copies of it can be had; closed nothing of it is left."""

    # Whether the warm state can be captured, and handed to other processes of the run.
    captures = True
    portable = False

    def __init__(
        self, name: str, declared: ClusterDeclaration, options: ClusterOptions, bridge: Bridge
    ) -> None:
        self.name = name
        self.declared = declared
        self.options = options
        self.bridge = bridge
        self._stack = AsyncExitStack()

    @abstractmethod
    async def open(self) -> None:
        """Have it run, empty."""

    async def close(self) -> None:
        """End it."""
        await self._stack.aclose()

    @abstractmethod
    def place(self, tape: Tape) -> Place:
        """The cluster itself, for setup."""

    async def capture(self) -> None:  # noqa: B027 — where nothing can be captured, nothing is
        """Take what it is now as the warm state."""

    @abstractmethod
    def copy(self, tape: Tape, start: Snapshot | None = None) -> AbstractAsyncContextManager[Place]:
        """One test's own: ``async with warm.copy(tape) as place``.

        ``start`` begins with another state than the warm one: what a test left behind.
        """

    async def save(self, folder: Path) -> None:
        """Write the warm state for other processes of the run."""
        raise NotImplementedError

    async def load(self, folder: Path) -> None:
        """Open it in the state that another process has saved."""
        raise NotImplementedError


class _Embedded(WarmCluster):
    """What both kinds of embedded clusters have in common."""

    def __init__(
        self,
        name: str,
        declared: ClusterDeclaration,
        options: ClusterOptions,
        prefix: str,
        bridge: Bridge,
        folder: Path,
    ) -> None:
        super().__init__(name, declared, options, bridge)
        self._prefix = prefix
        self._folder = folder
        self.settings = replace(self._settings(), in_memory=True, nodes=declared.nodes)
        self._cluster: EmbeddedCluster | None = None

    def _settings(self) -> Settings:
        return replace(
            settings_of(self.options), container_engine="none", ingress=False, registry=False
        )

    @property
    def cluster(self) -> EmbeddedCluster:
        """It, running."""
        if self._cluster is None:
            raise WarmError(f"the cluster {self.name} does not run")
        return self._cluster

    async def open(self) -> None:
        self._cluster = await self._stack.enter_async_context(
            EmbeddedCluster(self.name, self.settings)
        )

    def place(self, tape: Tape) -> Place:
        return self._place(self.cluster, tape)

    @contextmanager
    def _tapped(self, running: Running, tape: Tape) -> Iterator[Place]:
        """The place of a cluster all of whose calls are recorded."""
        with ServerTap(running.api, tape) as tap:
            yield self._place(running, tape, tap)

    def _place(self, running: Running, tape: Tape, tap: ServerTap | None = None) -> Place:
        return Place(
            self.name,
            "embedded",
            running.url,  # type: ignore[attr-defined]
            recorded(running.client, tape, tap),
            # The system's calls are neither recorded nor struck by faults.
            in_process_client(running.api, SYSTEM, "cove-testing"),
            lambda: running.kubeconfig_path,
            self.bridge,
            tape=tape,
            running=running,
        )


def recorded(client: Client, tape: Tape, tap: ServerTap | None = None) -> Client:
    """A client over the same connection whose calls are recorded.

    ``tap`` is what records on the server's side, None: nothing does.
    """
    return RecordingTransport(client.transport, tape, tap=tap).client(client)


class ForkedCluster(_Embedded):
    """Pods are simulated: copies are forks."""

    portable = True

    async def capture(self) -> None:
        await self.cluster.settle()

    @asynccontextmanager
    async def copy(self, tape: Tape, start: Snapshot | None = None) -> AsyncIterator[Place]:
        await self._mend()
        async with self.cluster.fork() as fork:
            if start is not None:
                fork.clock.ahead = max(fork.clock.ahead, start.ahead)
                await fork.restore(start)
            with self._tapped(fork, tape) as place:
                yield place

    async def _mend(self) -> None:
        """Serve again, if a test has stopped the server."""
        server = self.cluster.server
        if not server.serving:
            log.warning("the server of %s was stopped; it is started again", self.name)
            await server.start()

    async def save(self, folder: Path) -> None:
        snapshot = self.cluster.snapshot()
        await asyncio.to_thread(snapshot.save, folder / f"{self.name}.db")
        about = orjson.dumps({"ahead": snapshot.ahead})
        (folder / f"{self.name}.json").write_bytes(about)

    async def load(self, folder: Path) -> None:
        await self.open()
        await self._restore(folder)

    async def _restore(self, folder: Path) -> None:
        about = orjson.loads((folder / f"{self.name}.json").read_bytes())
        snapshot = await asyncio.to_thread(Snapshot.load, folder / f"{self.name}.db")
        self.cluster.clock.ahead = about["ahead"]
        await self.cluster.restore(snapshot)


class ReplayedCluster(ForkedCluster):
    """What a recording tells of; nothing moves in it by itself."""

    async def open(self) -> None:
        from cove.testing.replay import replayed

        declared = self.declared
        assert declared.recording is not None, "it is replayed"
        try:
            self._cluster = await self._stack.enter_async_context(
                replayed(declared.recording, name=self.name)
            )
        except (LookupError, OSError) as e:
            raise WarmError(f"{self.name} cannot be replayed: {e}") from e

    async def load(self, folder: Path) -> None:
        self._cluster = await self._stack.enter_async_context(
            EmbeddedCluster(self.name, replace(self.settings, nodes=0), controllers=False)
        )
        await self._restore(folder)


class ContainersCluster(_Embedded):
    """Pods run: copies are clusters of their own, one at a time.

    All of them have the same subnets, which are held as long as the environment is; and the same
    certificates, so that who trusts one trusts all.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._home = ClusterFolder(f"{self._prefix}-{self.name}"[:60].strip("-"), self._folder)
        self._data = self._home.path / "data"
        self._captured: Snapshot | None = None
        self._ready: list[tuple[str, str]] = []
        self._using = asyncio.Lock()

    def _settings(self) -> Settings:
        engine = self.options.container_engine or os.environ.get("COVE_CONTAINER_ENGINE") or "auto"
        return replace(settings_of(self.options), container_engine=engine)

    async def open(self) -> None:
        from cove.engines.subnets import planned
        from cove.node.docker import EngineError, find_engine

        asked = self.settings.container_engine
        try:
            found = await asyncio.to_thread(find_engine, asked)
        except EngineError as e:
            raise WarmError(f"the pods of {self.name} are to run, but {e}") from e
        if found is None:
            raise WarmError(
                f"the pods of {self.name} are to run in containers, and no container engine was "
                "found: start Docker or Podman (COVE_CONTAINER_ENGINE names another), or declare "
                'the cluster with pods="simulated"'
            )
        self._home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings = await asyncio.to_thread(planned, self.settings, self._home)
        # As long as this file is there nobody else takes the subnets.
        (self._home.path / "cluster.json").write_text(self.settings.to_json())
        self._cluster = await self._stack.enter_async_context(
            EmbeddedCluster(self.name, self.settings, data=self._fresh(None))
        )
        self._tell(self._cluster)

    def _tell(self, cluster: EmbeddedCluster) -> None:
        for sentence in cluster.containers.missing if cluster.containers else ():
            log.warning("%s: %s", self.name, sentence)

    def _fresh(self, source: Path | None) -> Path:
        """A folder for the data of one cluster, with a copy of what the warm one had."""
        folder = Path(tempfile.mkdtemp(prefix="data-", dir=self._home.path))
        if source is not None and (source / "registry").exists():
            shutil.copytree(source / "registry", folder / "registry", copy_function=copied)
        return folder

    async def close(self) -> None:
        await super().close()
        await asyncio.to_thread(shutil.rmtree, self._home.path, ignore_errors=True)

    async def capture(self) -> None:
        cluster = self.cluster
        await cluster.settle()
        snapshot = cluster.snapshot()
        self._credentials, self._authority = cluster.credentials, cluster.authority
        pods = (await cluster.client.list(PODS)).items
        self._ready = [
            (p["metadata"]["namespace"], p["metadata"]["name"]) for p in pods if is_ready(p)
        ]
        source = cluster.data
        # It makes way for the copies, which have its addresses.
        self._cluster = None
        await self._stack.aclose()
        if source is not None:
            source.rename(self._data)
        self._captured = replace(snapshot, state=restarted(snapshot, self._ready))

    @asynccontextmanager
    async def copy(self, tape: Tape, start: Snapshot | None = None) -> AsyncIterator[Place]:
        if self._captured is None:
            raise WarmError(f"the warm state of {self.name} was not captured")
        ready = self._ready
        snapshot = self._captured
        if start is not None:
            ready = ready_in(start)
            snapshot = replace(start, state=restarted(start, ready))
        if self._using.locked():
            raise WarmError(
                f"the pods of {self.name} run, so that only one copy of it can be had at a time; "
                "another test or scope has it: give both the same scope"
            )
        async with self._using:
            data = await asyncio.to_thread(self._fresh, self._data)
            try:
                async with EmbeddedCluster(
                    self.name,
                    self.settings,
                    credentials=self._credentials,
                    authority=self._authority,
                    snapshot=snapshot,
                    data=data,
                ) as cluster:
                    await self._until_ready(cluster, ready)
                    with self._tapped(cluster, tape) as place:
                        yield place
            finally:
                await asyncio.to_thread(shutil.rmtree, data, ignore_errors=True)

    async def _until_ready(self, cluster: EmbeddedCluster, ready: list[tuple[str, str]]) -> None:
        """Return when the pods that were ready are so again."""
        from cove.host.rollout import Rollout, Target
        from cove.testing.diagnosis import situation

        wanted = [Target(PODS, "Pod", namespace, name) for namespace, name in ready]
        if not wanted:
            return
        try:
            async with (
                asyncio.timeout(self.declared.ready_timeout),
                Rollout(cluster.client, wanted) as rollout,
            ):
                await rollout.synced()
                while any(not m.absent for m in rollout.missing()):
                    await rollout.changed()
        except TimeoutError:
            told = "\n".join((await situation(cluster.client)).lines)
            raise WarmError(
                f"the pods of {self.name} were not ready again within "
                f"{self.declared.ready_timeout:g} s\n{told}"
            ) from None
        await cluster.settle()

    def _place(self, running: Running, tape: Tape, tap: ServerTap | None = None) -> Place:
        place = super()._place(running, tape, tap)
        containers = getattr(running, "containers", None)
        if containers is not None:
            place.addresses = dict(containers.addresses)
        place.domains = self.declared.ingress_domains
        if self.declared.ingress_domains and "https" in place.addresses:
            place.authority = running.credentials.authority.decode()  # type: ignore[attr-defined]
        return place


class SharedCluster(WarmCluster):
    """k3s, or a cluster that exists: copies are namespaces, deleted with what tests made."""

    captures = False

    def __init__(
        self,
        name: str,
        declared: ClusterDeclaration,
        options: ClusterOptions,
        engine: str,
        prefix: str,
        bridge: Bridge,
    ) -> None:
        super().__init__(name, declared, options, bridge)
        self._engine = engine
        self._prefix = prefix
        self._cluster: Cluster | None = None

    async def open(self) -> None:
        # k3s knows the limit itself, and tells what it was waiting for.
        limit = None if self._engine == "k3s" else self.declared.ready_timeout
        async with asyncio.timeout(limit):
            self._cluster = await self._stack.enter_async_context(
                open_cluster(
                    f"{self._prefix}-{self.name}"[:60].strip("-"),
                    self.options,
                    engine=self._engine,
                    log=lambda text: log.info("%s: %s", self.name, text),
                )
            )

    @property
    def cluster(self) -> Cluster:
        """It, running."""
        if self._cluster is None:
            raise WarmError(f"the cluster {self.name} does not run")
        return self._cluster

    def place(self, tape: Tape) -> Place:
        return Place(
            self.name,
            self.cluster.engine,
            self.cluster.url,
            recorded(self.cluster.client, tape),
            self.cluster.client,
            lambda: self.cluster.kubeconfig_path,
            self.bridge,
            tape=tape,
            addresses=dict(self.cluster.addresses),
            authority=getattr(self.cluster, "authority", ""),
            domains=self.declared.ingress_domains,
            register=getattr(self.cluster, "register_host", None),
        )

    @asynccontextmanager
    async def copy(self, tape: Tape, start: Snapshot | None = None) -> AsyncIterator[Place]:
        place = self.place(tape)
        client = self.cluster.client
        place.namespace = f"{self._prefix}-{uuid4().hex[:6]}"
        labels = {LABEL: str(os.getpid())}
        await client.create(NAMESPACES, {"metadata": {"name": place.namespace, "labels": labels}})
        try:
            async with self._recorded(place) as path:
                place.find_kubeconfig = lambda: path
                yield place
        finally:
            if not place.kept:
                await self._clean(place)

    def by_agent(self, place: Place, transport: Transport) -> RecordingTransport:
        """What records calls of others than the test itself, by what they call themselves."""
        return RecordingTransport(transport, place.tape, agent=None)

    @asynccontextmanager
    async def _recorded(self, place: Place) -> AsyncIterator[Path]:
        """A kubeconfig for programs and clients of others: through here, to be recorded."""
        from cove.testing.replay import RecordingProxy

        transport = self.by_agent(place, self.cluster.client.transport)
        with tempfile.TemporaryDirectory(prefix="cove-test-") as folder:
            async with RecordingProxy(
                transport,
                None,
                context=self.name,
                namespace=place.namespace,
                companions=False,
            ) as proxy:
                path = Path(folder) / "kubeconfig"
                path.touch(mode=0o600)
                path.write_text(proxy.kubeconfig)
                yield path

    async def _clean(self, place: Place) -> None:
        client = self.cluster.client
        for gvr, namespace, name in _made_outside(place.tape.all, place.namespace):
            try:
                await client.delete(gvr, name, namespace)
            except StatusError as e:
                if e.code != 404:
                    log.warning("%s %s was left behind: %s", gvr.resource, name, e)
        try:
            await client.delete(NAMESPACES, place.namespace)
        except StatusError as e:
            if e.code != 404:
                log.warning("the namespace %s was left behind: %s", place.namespace, e)


def _made_outside(timelines: list[Timeline], namespace: str) -> list[tuple[GVR, str | None, str]]:
    """What tests created elsewhere than in their namespace, last first: not to be left behind."""
    found: dict[tuple[GVR, str | None, str], None] = {}
    for call in (call for timeline in timelines for call in timeline.calls):
        made = call.verb == "create" or (call.verb == "patch" and call.status == 201)
        if not made or call.subresource or call.namespace == namespace or call.status >= 300:
            continue
        answer = call.response if isinstance(call.response, dict) else {}
        name = call.name or (answer.get("metadata") or {}).get("name", "")
        if name and call.kind == "kube":
            gvr = GVR(call.group, call.version, call.resource)
            found[(gvr, call.namespace or None, name)] = None
    return list(reversed(found))
