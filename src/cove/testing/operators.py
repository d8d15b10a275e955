"""An operator under test: at work on a cluster of its own.

::

    async with operating(op) as world:
        await world.create(Cache(metadata=ObjectMeta(name="a"), spec=CacheSpec(size=3)))
        await world.eventually(lambda: world.get(Cache, "a").status.ready == 3)

On a fork of a cluster that is given, so that tests do not see each other; on a new one
otherwise.  Nothing of it runs afterwards.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cove.client import Client, Clock, kubeconfig
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

if TYPE_CHECKING:
    from cove.engines._running import Running
    from cove.server.faults import Faults

__all__ = ["OperatorWorld", "operating", "operator_fixture"]

Doc = dict[str, Any]
E = TypeVar("E", bound=Entity)
NAMESPACE = "default"
EVENTS = GVR("", "v1", "events")
ACCOUNTS = GVR("", "v1", "serviceaccounts")
# Seconds between two looks at what no watch tells of.
TICK = 0.05


class OperatorWorld:
    """An operator at work, and what a test does: as the cluster's administrator.

    ``client`` is the administrator's, ``audit`` has every request of the operator, ``clock``
    is what both go by where the cluster has one (``await world.clock.advance(60)``).
    """

    def __init__(
        self,
        cluster: Running,
        op: Operator,
        runtime: Runtime,
        stores: Stores,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self.cluster = cluster
        self.client: Client = cluster.client
        self.op = op
        self.runtime = runtime
        self.audit = audit
        self.clock = clock
        self._stores = stores
        self._followed: list[type[Entity]] = []
        self._changed = asyncio.Event()

    @property
    def faults(self) -> Faults:
        """What is to go wrong: ``with world.faults.error(500, verbs="patch", count=3): …``."""
        return self.cluster.faults

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
        """Create it, in ``default`` unless it says another namespace; the object as it is then."""
        said = info(obj)
        if said.namespaced and not obj.metadata.namespace:
            obj.metadata.namespace = NAMESPACE
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

    def get(self, cls: type[E], name: str, namespace: str = NAMESPACE) -> E:
        """An object as it was last told of.  Raises LookupError if there is none."""
        found = self.find(cls, name, namespace)
        if found is None:
            raise LookupError(f"{info(cls).kind} {namespace}/{name} is not there")
        return found

    def find(self, cls: type[E], name: str, namespace: str = NAMESPACE) -> E | None:
        """As :meth:`get`, None if there is none."""
        if cls not in self._followed:
            raise LookupError(
                f"nobody follows {info(cls).kind}: await world.follow({cls.__name__}) first"
            )
        place = namespace if info(cls).namespaced else None
        return self._stores.store(cls).get(name, place)

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
        for event in (await self.client.list(EVENTS)).items:
            if event.get("type") == "Warning":
                about = event["involvedObject"]
                where = f"{about.get('kind')} {about.get('name')}"
                lines.append(f"{where}: {event.get('reason')}: {event.get('message')}")
        for use, count in self.audit.refused.items():
            lines.append(f"refused {count} times: {use}")
        return "\n".join(lines)

    def report(self) -> Report:
        """What the operator used, against the roles that are generated for it."""
        return self.audit.report(roles(self.op, NAMESPACE))


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
    cluster: Running | None = None,
    *,
    namespaces: Sequence[str] = (),
    clock: Clock | None = None,
    rbac: bool = False,
    follow: Sequence[type[Entity]] = (),
    fork: bool = True,
) -> AsyncIterator[OperatorWorld]:
    """The operator at work, its kinds installed and its webhooks registered.

    ``cluster`` None makes one, without nodes; one that is given is forked, unless ``fork`` says
    that it is the test's own already.  ``namespaces``
    empty are those of its settings; ``clock`` None is the cluster's.  ``rbac`` has it run as a
    service account with exactly the roles that are generated for it.  ``follow`` are more kinds
    that the test wants to see.
    """
    async with AsyncExitStack() as stack:
        if cluster is None:
            from cove.engines.embedded import embedded

            running: Running = await stack.enter_async_context(embedded(nodes=0))
        elif fork:
            running = await stack.enter_async_context(cluster.fork())
        else:
            running = cluster
        await install(op, running.client)
        client = running.client
        if rbac:
            client = await stack.enter_async_context(await _as_account(running, op))
        every = [*kinds(op), *(c for spec in op.controllers for c in spec.owns)]
        every += [w.cls for spec in op.controllers for w in spec.watches]
        audit = Audit(client.transport, every)
        audited = audit.client(client)
        hours = clock or running.clock
        if op.validators or op.mutators or op.converters:
            from cove.operator.webhooks import Webhooks

            # Registered by the administrator: in a cluster, another Service is registered.
            await stack.enter_async_context(Webhooks(op, running.client, clock=hours))
        stores = await stack.enter_async_context(Stores(running.client, clock=hours))
        runtime = await stack.enter_async_context(
            op.runtime(audited, namespaces=namespaces, clock=hours)
        )
        world = OperatorWorld(running, op, runtime, stores, audit, hours)
        work = asyncio.create_task(runtime.work(), name=f"{op.name} under test")
        stack.push_async_callback(_ended, work)
        await world.follow(*dict.fromkeys([*every, *follow]))
        await _unless_it_ends(runtime.synced(), work)
        yield world
        if work.done():
            work.result()


async def _as_account(running: Running, op: Operator) -> Client:
    """A client with the token of a service account that has the operator's roles."""
    admin = running.client
    for doc in (service_account(op, NAMESPACE), *roles(op, NAMESPACE)):
        resource = await admin.resource_of(doc)
        await admin.apply(resource.gvr, doc, field_manager=op.name, force=True)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = await admin.create(ACCOUNTS, request, NAMESPACE, name=op.name, subresource="token")
    import yaml

    connection = replace(
        kubeconfig.load(yaml.safe_load(running.kubeconfig)),
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
