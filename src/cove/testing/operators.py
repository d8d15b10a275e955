"""An operator under test: at work on a cluster of its own.

::

    async with operating(op) as world:
        await world.create(Cache(metadata=ObjectMeta(name="a"), spec=CacheSpec(size=3)))
        await world.eventually(lambda: world.get(Cache, "a").status.ready == 3)

On a fork of an embedded cluster that is given, so that tests do not see each other; on a
cluster of another engine in a namespace of the test's; on a new one otherwise.  Nothing of it
runs afterwards, and nothing of it is left.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from cove.client import Client, Clock, SystemClock, Transport, kubeconfig
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator.commands.install import install
from cove.operator.entities import Entity, from_document, info, to_document
from cove.operator.generate.generators import kinds
from cove.operator.operator import Operator
from cove.operator.rbac import Audit, Report, roles, service_account
from cove.operator.runtime.controller import Controller
from cove.operator.runtime.runtime import Runtime
from cove.operator.runtime.stores import Stores
from cove.operator.settings import Settings
from cove.testing.installed import LABEL, installed
from cove.testing.place import NotHereError

if TYPE_CHECKING:
    from cove.engines._running import Running
    from cove.engines.cluster import Cluster
    from cove.server.faults import Faults

__all__ = ["OperatorWorld", "operating", "operator_fixture"]

log = logging.getLogger("cove.testing")

Doc = dict[str, Any]
E = TypeVar("E", bound=Entity)
NAMESPACE = "default"
EVENTS = GVR("", "v1", "events")
NAMESPACES = GVR("", "v1", "namespaces")
ACCOUNTS = GVR("", "v1", "serviceaccounts")
# Seconds that an operator has to take its finalizers off what a test has left.
LEAVE = 10.0
# Seconds between two looks at what no watch tells of.
TICK = 0.05


class OperatorWorld:
    """An operator at work, and what a test does: as the cluster's administrator.

    ``client`` is the administrator's, ``audit`` has every request of the operator, ``clock``
    is what both go by where the cluster has one (``await world.clock.advance(60)``).
    ``namespace`` is what is meant where none is named.
    """

    def __init__(
        self,
        cluster: Running | Cluster,
        op: Operator,
        runtime: Runtime,
        stores: Stores,
        audit: Audit,
        clock: Clock,
        namespace: str = NAMESPACE,
        settings: Settings | None = None,
    ) -> None:
        self.cluster = cluster
        self.client: Client = cluster.client
        self.namespace = namespace
        self._settings = settings
        self.op = op
        self.runtime = runtime
        self.audit = audit
        self.clock = clock
        self._stores = stores
        self._followed: list[type[Entity]] = []
        self._changed = asyncio.Event()

    @property
    def faults(self) -> Faults:
        """What is to go wrong: ``with world.faults.error(500, verbs="patch", count=3): …``.

        Raises NotHereError where the cluster is not an embedded one.
        """
        found: Faults | None = getattr(self.cluster, "faults", None)
        if found is None:
            engine = getattr(self.cluster, "engine", "another")
            raise NotHereError(f"faults need the embedded engine; the operator is on {engine}")
        return found

    async def follow(self, *classes: type[Entity]) -> None:
        """Have these kinds seen by :meth:`get`, too; those the operator speaks of are."""
        stores = []
        for cls in classes:
            if cls not in self._followed:
                self._followed.append(cls)
                store = self._stores.store(cls)
                store.follow(self._told)
                stores.append(store)
        await asyncio.gather(*(store.wait() for store in stores))

    def _told(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._changed.set()

    # -- objects

    async def create(self, obj: E) -> E:
        """Create it, in :attr:`namespace` unless it says another; the object as it is then."""
        said = info(obj)
        if said.namespaced and not obj.metadata.namespace:
            obj.metadata.namespace = self.namespace
        return self._wrote(type(obj), await self.client.create(said.gvr, to_document(obj)))

    async def patch(self, obj: E, patch: Doc) -> E:
        """Change it by a merge patch; the object as it is then."""
        said, metadata = info(obj), obj.metadata
        made = await self.client.patch(said.gvr, metadata.name, patch, metadata.namespace or None)
        return self._wrote(type(obj), made)

    def _wrote(self, cls: type[E], doc: Doc) -> E:
        for store in self._stores.of(info(cls).gvr):
            store.wrote(doc)
        return from_document(cls, doc)

    async def delete(self, obj: Entity) -> None:
        """Ask for it to go; see :meth:`finalize`."""
        said, metadata = info(obj), obj.metadata
        await self.client.delete(said.gvr, metadata.name, metadata.namespace or None)

    def get(self, cls: type[E], name: str, namespace: str | None = None) -> E:
        """An object as it was last told of.  Raises LookupError if there is none."""
        found = self.find(cls, name, namespace)
        if found is None:
            where = self.namespace if namespace is None else namespace
            raise LookupError(f"{info(cls).kind} {where}/{name} is not there")
        return found

    def find(self, cls: type[E], name: str, namespace: str | None = None) -> E | None:
        """As :meth:`get`, None if there is none."""
        if cls not in self._followed:
            raise LookupError(
                f"nobody follows {info(cls).kind}: await world.follow({cls.__name__}) first"
            )
        where = self.namespace if namespace is None else namespace
        return self._stores.store(cls).get(name, where if info(cls).namespaced else None)

    # -- what the operator does

    def enqueue(self, obj: Entity) -> None:
        """Have the operator's controllers of its kind look at an object now."""
        metadata = obj.metadata
        key = f"{metadata.namespace}/{metadata.name}".lstrip("/")
        for controller in self._controllers(type(obj)):
            controller.add(key)

    def _controllers(self, cls: type[Entity]) -> list[Controller]:
        found = [c for c in self.runtime.controllers if c.spec.cls is cls]
        if not found:
            raise LookupError(f"{self.op.name} has no controller of {info(cls).kind}")
        return found

    async def finalize(self, obj: Entity, timeout: float = 10.0) -> None:
        """Delete it, and return when all finalizers have run and it is gone."""
        cls, metadata = type(obj), obj.metadata
        await self.follow(cls)
        await self.delete(obj)
        await self.eventually(
            lambda: self.find(cls, metadata.name, metadata.namespace or "") is None, timeout
        )

    async def settled(self, timeout: float = 10.0) -> None:
        """Return when the operator has nothing to do, and what it wrote has arrived."""
        calm = 0

        def quiet() -> bool:
            nonlocal calm
            calm = calm + 1 if self.runtime.idle else 0
            return calm > 3

        await self.eventually(quiet, timeout)

    async def eventually(
        self, what: Callable[[], bool | Awaitable[bool]], timeout: float = 10.0
    ) -> None:
        """Return when it is so; it is looked at whenever something changes.

        An object that is not there yet makes it not so.  After ``timeout`` seconds of this machine
        AssertionError tells what there is, and what the operator has complained of.
        """
        problem = ""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    self._changed.clear()
                    try:
                        said = what()
                        if inspect.isawaitable(said):
                            said = await said
                        problem = ""
                    except LookupError as e:
                        said, problem = False, str(e)
                    except StatusError as e:
                        if e.code != 404:
                            raise
                        said, problem = False, str(e)
                    if said:
                        return
                    await self._change()
        except TimeoutError:
            raise AssertionError(await self._told_so_far(timeout, problem)) from None

    async def _change(self) -> None:
        try:
            async with asyncio.timeout(TICK):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _told_so_far(self, timeout: float, problem: str) -> str:
        lines = [f"not so after {timeout:g} s" + (f": {problem}" if problem else "")]
        for cls in self._followed:
            for doc in self._stores.store(cls).documents() if not info(cls).builtin else ():
                lines.append(f"last seen: {_brief(info(cls).kind, doc)}")
        everywhere = hasattr(self.cluster, "faults")
        found = await self.client.list(EVENTS, None if everywhere else self.namespace)
        for event in found.items:
            if event.get("type") == "Warning":
                about = event["involvedObject"]
                where = f"{about.get('kind')} {about.get('name')}"
                lines.append(f"{where}: {event.get('reason')}: {event.get('message')}")
        for use, count in self.audit.refused.items():
            lines.append(f"refused {count} times: {use}")
        return "\n".join(lines)

    def report(self) -> Report:
        """What the operator used, against the roles that are generated for it."""
        return self.audit.report(roles(self.op, self.namespace, settings=self._settings))


def _brief(kind: str, doc: Doc) -> str:
    metadata = doc["metadata"]
    name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
    rest = {k: v for k, v in doc.items() if k not in ("apiVersion", "kind", "metadata")}
    for key in ("finalizers", "deletionTimestamp"):
        if metadata.get(key):
            rest[key] = metadata[key]
    return f"{kind} {name}: {json.dumps(rest, ensure_ascii=False)}"


@asynccontextmanager
async def operating(
    op: Operator,
    cluster: Running | Cluster | None = None,
    *,
    namespaces: Sequence[str] = (),
    clock: Clock | None = None,
    rbac: bool = False,
    follow: Sequence[type[Entity]] = (),
    fork: bool = True,
    namespace: str | None = None,
    record: Callable[[Transport], Transport] | None = None,
) -> AsyncIterator[OperatorWorld]:
    """The operator at work, its kinds installed and its webhooks registered.

    ``cluster`` None is one of the engine that ``COVE_ENGINE`` names, an embedded one without nodes
    unless it does; an embedded one that is given is forked, unless ``fork`` says that it is the test's own already.  ``namespaces``
    empty are those of its settings; ``clock`` None is the cluster's.  ``rbac`` has it run as a
    service account with exactly the roles that are generated for it.  ``follow`` are more kinds
    that the test wants to see.

    On a cluster of another engine it sees one namespace alone: ``namespace``, which is the
    caller's, or one that is made for it.  What is left there of its kinds is deleted while it still
    works, and the kinds go with the last test that needs them, unless they were there before.
    ``record`` is put around the transport of its requests.
    """
    from cove.engines._running import Running

    async with AsyncExitStack() as stack:
        on = await _entered(op, cluster, stack, fork=fork)
        settings: Settings | None = None
        space: str
        if isinstance(on, Running):
            hours = clock or on.clock
            space = namespace or NAMESPACE
            await install(op, on.client)
        else:
            hours = clock or SystemClock()
            if namespace is None:
                namespace = await stack.enter_async_context(_own_namespace(op, on.client))
            space = namespace
            namespaces = namespaces or (space,)
            settings = replace(op.settings, namespaces=tuple(namespaces))
            await stack.enter_async_context(installed(op, on.client))
        client = on.client if record is None else _over(on.client, record)
        if rbac:
            account = await _as_account(on, op, space, settings, client, stack)
            client = await stack.enter_async_context(account)
            client = client if record is None else _over(client, record)
        every = [*kinds(op), *(c for spec in op.controllers for c in spec.owns)]
        every += [w.cls for spec in op.controllers for w in spec.watches]
        audit = Audit(client.transport, every)
        audited = audit.client(client)
        if op.validators or op.mutators or op.converters:
            from cove.operator.webhooks import Webhooks

            # Registered by the administrator: in a cluster, another Service is registered.
            await stack.enter_async_context(Webhooks(op, on.client, clock=hours))
        stores = await stack.enter_async_context(Stores(on.client, clock=hours))
        runtime = await stack.enter_async_context(
            op.runtime(audited, namespaces=namespaces, clock=hours)
        )
        world = OperatorWorld(
            on, op, runtime, stores, audit, hours, namespace=space, settings=settings
        )
        work = asyncio.create_task(runtime.work(), name=f"{op.name} under test")
        stack.push_async_callback(_ended, work)
        await world.follow(*dict.fromkeys([*every, *follow]))
        await _unless_it_ends(runtime.synced(), work)
        if not isinstance(on, Running):
            stack.push_async_callback(_leave, world)
        yield world
        if work.done():
            work.result()


async def _entered(
    op: Operator, cluster: Running | Cluster | None, stack: AsyncExitStack, *, fork: bool
) -> Running | Cluster:
    """The cluster that the operator works on: new, a fork of the one that was given, or that."""
    from cove.engines._running import Running

    if isinstance(cluster, Running) and fork:
        return await stack.enter_async_context(cluster.fork())
    if cluster is not None:
        return cluster
    from cove.engines.select import chosen, open_cluster

    which = chosen()
    if which == "embedded":
        from cove.engines.embedded import embedded

        return await stack.enter_async_context(embedded(nodes=0))
    from cove.engines.cluster import ClusterOptions
    from cove.engines.k3s_options import for_tests

    options = ClusterOptions()
    if which == "k3s":
        options = for_tests(options, registry=False)
    name = f"test-{op.name}-{os.getpid()}"[:60].strip("-")
    return await stack.enter_async_context(open_cluster(name, options, engine=which, log=log.info))


@asynccontextmanager
async def _own_namespace(op: Operator, client: Client) -> AsyncIterator[str]:
    """A namespace for one test of the operator."""
    name = f"test-{op.name}"[:50].rstrip("-") + f"-{uuid4().hex[:6]}"
    labels = {LABEL: str(os.getpid())}
    await client.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
    try:
        yield name
    finally:
        await client.delete(NAMESPACES, name)


def _over(client: Client, record: Callable[[Transport], Transport]) -> Client:
    transport = record(client.transport)
    return Client(transport, user_agent=client.user_agent, namespace=client.namespace)


async def _leave(world: OperatorWorld) -> None:
    """Delete what is left of the operator's kinds in the test's namespace, finalizers and all.

    Those that the operator does not take off are taken off here: nobody else would.
    """
    client = world.client
    for cls in kinds(world.op):
        said = info(cls)
        if not said.namespaced:
            continue
        await client.delete_collection(said.gvr, world.namespace)
        store = world._stores.store(cls)
        try:
            await world.eventually(
                lambda store=store: (
                    not any(  # type: ignore[misc]
                        doc["metadata"].get("namespace") == world.namespace
                        for doc in store.documents()
                    )
                ),
                LEAVE,
            )
        except AssertionError:
            for doc in (await client.list(said.gvr, world.namespace)).items:
                name = doc["metadata"]["name"]
                await client.patch(
                    said.gvr, name, {"metadata": {"finalizers": None}}, world.namespace
                )


async def _as_account(
    cluster: Running | Cluster,
    op: Operator,
    namespace: str,
    settings: Settings | None,
    admin: Client,
    stack: AsyncExitStack,
) -> Client:
    """A client with the token of a service account that has the operator's roles.

    On a cluster that others use what is in no namespace goes with the stack.
    """
    # What is in no namespace is named after the one it is for.
    name = op.name if settings is None else f"{op.name}-{namespace}"[:63].rstrip("-")
    for doc in (
        service_account(op, namespace, name=name),
        *roles(op, namespace, settings=settings, name=name),
    ):
        resource = await admin.resource_of(doc)
        await admin.apply(resource.gvr, doc, field_manager=op.name, force=True)
        if settings is not None and not resource.namespaced:
            stack.push_async_callback(cluster.client.delete, resource.gvr, name)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = await admin.create(ACCOUNTS, request, namespace, name=name, subresource="token")
    connection = replace(
        kubeconfig.load(cluster.kubeconfig_path),
        client_certificate=b"",
        client_key=b"",
        token=token["status"]["token"],
    )
    return Client.connect(connection)


async def _unless_it_ends(what: Awaitable[None], work: asyncio.Task[None]) -> None:
    waiting = asyncio.ensure_future(what)
    try:
        await asyncio.wait((waiting, work), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        await waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _ended(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def operator_fixture(op: Operator, **options: Any) -> Any:
    """A fixture for pytest-asyncio: ``world = operator_fixture(op)``; options as of operating."""
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def world() -> AsyncIterator[OperatorWorld]:
        async with operating(op, **options) as made:
            yield made

    return world
