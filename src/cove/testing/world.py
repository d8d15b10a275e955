"""World: an environment as one test has it — its clusters, services and fakes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from cove.host.app import App
from cove.testing.declarations import (
    ClusterDeclaration,
    Declaration,
    Environment,
    Fake,
    OperatorDeclaration,
    Service,
)
from cove.testing.kubernetes import Kubernetes
from cove.testing.place import NotHereError, Place, Tape
from cove.testing.warm import SharedCluster

if TYPE_CHECKING:
    from cove.engines.snapshots import Snapshot
    from cove.host.host import Host
    from cove.operator.rbac import Report
    from cove.testing.bridge import Bridge
    from cove.testing.operators import OperatorWorld
    from cove.testing.warm import WarmCluster

__all__ = ["Running", "Services", "Working", "World", "made_fake", "run_setup"]

# Seconds that services of an environment may take to be ready.
READY = 120.0


class Running:
    """A process, container or endpoint of the environment, as a test sees it."""

    def __init__(self, name: str, host: Host, bridge: Bridge) -> None:
        self.name = name
        self._host, self._bridge = host, bridge

    def __repr__(self) -> str:
        return f"<{self.name}: {self.status}>"

    @property
    def url(self) -> str:
        """Where it is reached; raises LookupError if it has no address."""
        return self._bridge.do(lambda: self._host.url(self.name))

    @property
    def status(self) -> str:
        """``running``, ``exited`` …"""
        return str(self._bridge.do(lambda: self._host.status(self.name))[0].state)

    def wait(self, want: Any = "healthy", timeout: float = 30.0) -> None:
        """Return when it is ``healthy``, ``completed`` …; raises with what it waits for."""
        self._bridge.call(self._host.wait(self.name, want, timeout))

    def stop(self) -> None:
        """End it."""
        self._bridge.call(self._host.stop(self.name))

    def start(self) -> None:
        """Start it again."""
        self._bridge.call(self._host.start(self.name))

    def restart(self) -> None:
        """End it and start it again."""
        self._bridge.call(self._host.restart(self.name))


class Working:
    """An operator of the environment, as a test sees it; ``world`` is what it is on the loop."""

    def __init__(self, world: OperatorWorld, bridge: Bridge) -> None:
        self.world = world
        self._bridge = bridge

    def settled(self, timeout: float = 10.0) -> None:
        """Return when it has nothing to do; AssertionError after ``timeout`` seconds."""
        self._bridge.call(self.world.settled(timeout))

    def report(self) -> Report:
        """What it asked for, held against what it declares: see :class:`cove.operator.rbac.Audit`."""
        return self._bridge.do(self.world.report)


class Services:
    """Declared services, run as an application of the host face; ``async with`` on the loop.

    ``places`` are the clusters that they refer to.
    """

    def __init__(
        self, env: Environment, services: Mapping[str, Service], places: Mapping[str, Place]
    ) -> None:
        self._env, self._services, self._places = env, services, places
        self._stack = AsyncExitStack()
        self._made: dict[int, Any] = {}
        self.host: Host | None = None

    async def __aenter__(self) -> Services:
        if self._services:
            app = self._application()
            # Every cluster of it is one that is there.
            self.host = await self._stack.enter_async_context(app.run(engine="existing"))
            try:
                await self.host.ready(READY)
            except BaseException:
                await self._stack.aclose()
                raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _application(self) -> App:
        app = App(f"{self._env.name}-{uuid4().hex[:6]}", root=self._env.root)
        for service in self._services.values():
            self._resource(app, service)
        return app

    def _resource(self, app: App, declared: Declaration) -> Any:
        """The resource that a declaration stands for, made when it is first spoken of."""
        known = self._made.get(id(declared))
        if known is not None:
            return known
        if isinstance(declared, ClusterDeclaration):
            made: Any = self._cluster(app, declared)
        elif isinstance(declared, Service):
            made = self._service(app, declared)
        else:
            raise TypeError(f"a service cannot refer to {declared.name}, which is a fake")
        self._made[id(declared)] = made
        return made

    def _cluster(self, app: App, declared: ClusterDeclaration) -> Any:
        place = self._places[declared.name]
        resource = app.cluster(declared.name, engine="existing")
        return resource._with(kubeconfig=place.kubeconfig)

    def _service(self, app: App, declared: Service) -> Any:
        owner: Any = app if declared.parent is None else self._resource(app, declared.parent)
        args = [self._given(app, arg) for arg in declared.args]
        options = {k: self._given(app, v) for k, v in declared.options.items()}
        made = getattr(owner, declared.kind)(declared.name, *args, **options)
        self._made[id(declared)] = made
        for method, given, named in declared.calls:
            getattr(made, method)(
                *(self._given(app, arg) for arg in given),
                **{k: self._given(app, v) for k, v in named.items()},
            )
        return made

    def _given(self, app: App, value: Any) -> Any:
        return self._resource(app, value) if isinstance(value, Declaration) else value


class World:
    """``with World(…) as world``: made on the thread of the tests, where fakes live.

    ``instance`` is the environment's own class with its attributes in place of declarations.
    """

    def __init__(
        self,
        env: Environment,
        bridge: Bridge,
        clusters: Mapping[str, WarmCluster],
        shared: Mapping[str, Any],
        *,
        start: Mapping[str, Snapshot] | None = None,
    ) -> None:
        self.env = env
        self.bridge = bridge
        self.tape = Tape()
        self.places: dict[str, Place] = {}
        self.attributes: dict[str, Any] = dict(shared)
        self._clusters = clusters
        self._start = start or {}
        self._from_another = start is not None
        self._async = AsyncExitStack()
        self._sync = ExitStack()

    def __enter__(self) -> World:
        try:
            self.bridge.call(self._enter())
            self._fakes()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, in reverse order."""
        try:
            self._sync.close()
        finally:
            self.bridge.call(self._async.aclose())

    async def _enter(self) -> None:
        for name, warm in self._clusters.items():
            if self._from_another and not warm.captures:
                raise NotHereError(
                    f"a test can start from another's end on the embedded engine; {name} is on "
                    "another one"
                )
            copy = warm.copy(self.tape, self._start.get(name))
            place = self.places[name] = await self._async.enter_async_context(copy)
            self.attributes[name] = Kubernetes(place)
        for name, declared in self.env.operators.items():
            self.attributes[name] = await self._operator(name, declared)
        services = self.env.services(per_test=True)
        if services:
            # Those they refer to are ready: an application starts what it has.
            running = await self._async.enter_async_context(
                Services(self.env, services, self.places)
            )
            assert running.host is not None, "there are services"
            for name in services:
                self.attributes[name] = Running(name, running.host, self.bridge)

    async def _operator(self, name: str, declared: OperatorDeclaration) -> Working:
        from cove.testing.operators import operating

        place = self.first if declared.cluster is None else self.places[declared.cluster.name]
        if place.running is not None:
            working = operating(declared.operator, place.running, rbac=declared.rbac, fork=False)
        else:
            shared = self._clusters[place.name]
            assert isinstance(shared, SharedCluster), "it is not in this process"
            working = operating(
                declared.operator,
                shared.cluster,
                rbac=declared.rbac,
                namespace=place.namespace,
                record=partial(shared.by_agent, place),
            )
        return Working(await self._async.enter_async_context(working), self.bridge)

    def _fakes(self) -> None:
        for name, declared in self.env.fakes("test").items():
            self.attributes[name] = made_fake(declared, self.instance, self.bridge, self._sync)

    @property
    def instance(self) -> Any:
        """The environment's class, its attributes being what the test has."""
        instance = self.env.type()
        for name, value in self.attributes.items():
            setattr(instance, name, value)
        return instance

    @property
    def first(self) -> Place:
        """The cluster that ``faults`` and ``clock`` are of: the one that was declared first."""
        return next(iter(self.places.values()))


def made_fake(declared: Fake, instance: Any, bridge: Bridge, stack: ExitStack) -> Any:
    """A fake, entered if it is a context manager; its end goes on the stack."""
    wants = _parameters(declared.make)
    made = declared.make(instance) if wants else declared.make()
    if hasattr(made, "__aenter__"):
        entered = bridge.call(_entered(made))
        stack.callback(lambda: bridge.call(_left(made)))
        return entered
    if hasattr(made, "__enter__"):
        return stack.enter_context(made)
    return made


async def _entered(manager: Any) -> Any:
    return await manager.__aenter__()


async def _left(manager: Any) -> None:
    await manager.__aexit__(None, None, None)


def _parameters(function: Any) -> bool:
    """Whether it takes an argument that has no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )


def run_setup(method: Any) -> None:
    """Call a method of an environment, to its end where it is a coroutine function."""
    made = method()
    if inspect.isawaitable(made):

        async def wait() -> None:
            await made

        asyncio.run(wait())
