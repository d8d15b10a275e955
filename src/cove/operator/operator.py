"""Operator: what a program declares, and runs::

op = Operator("cache-operator")

@op.controller(Cache, owns=[Deployment])
class CacheController:
    async def reconcile(self, cache: Cache, ctx: Ctx) -> Result | None:
        await ctx.apply(desired(cache))

if __name__ == "__main__":
    op.main()
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack

from cove.operator.entities import Entity, info
from cove.operator.errors import EntityError
from cove.operator.health.checks import Check
from cove.operator.runtime.inject import Providers
from cove.operator.runtime.predicates import Predicate, generation_changed
from cove.operator.runtime.registry import ControllerSpec, FinalizerSpec, Watch, finalizer_name
from cove.operator.runtime.results import Retry
from cove.operator.settings import Settings

if TYPE_CHECKING:
    from types import ModuleType

    from cove.client import Client, Clock
    from cove.operator.rbac.rules import Rbac, RbacRule
    from cove.operator.runtime.meters import Meters
    from cove.operator.runtime.runtime import Runtime
    from cove.operator.webhooks.declarations import (
        AdmissionOptions,
        AdmissionSpec,
        ConverterSpec,
        MutateOptions,
    )

__all__ = ["Operator"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type[Any])

_HANDLERS = ("reconcile", "status_modified", "deleted")


class Operator:
    """Controllers, finalizers, webhooks and what they need, declared by decorators.

    ``name`` is its field manager, the source of its events and the name of its lease.
    """

    def __init__(self, name: str, settings: Settings | None = None) -> None:
        if not name.strip():
            raise EntityError("the name of an operator is blank: name it, such as cache-operator")
        self.name = name
        self.settings = settings or Settings()
        self.controllers: list[ControllerSpec] = []
        self.validators: list[AdmissionSpec] = []
        self.mutators: list[AdmissionSpec] = []
        self.converters: list[ConverterSpec] = []
        self.rules: list[Rbac | RbacRule] = []
        self._provided: list[tuple[Any, Callable[..., Any] | None, Any]] = []
        self._values: list[tuple[Any, Any]] = []
        self.checks: list[Check] = []

    def __repr__(self) -> str:
        return f"<Operator {self.name}: {', '.join(c.name for c in self.controllers) or 'nothing'}>"

    @property
    def entities(self) -> list[type[Entity]]:
        """The kinds it has controllers for, each once, in the order of declaration."""
        return list(dict.fromkeys(spec.cls for spec in self.controllers))

    # -- controllers

    def controller(
        self,
        cls: type[Entity],
        *,
        name: str | None = None,
        owns: Iterable[type[Entity]] = (),
        watches: Iterable[Watch] = (),
        predicate: Predicate = generation_changed,
        label_selector: str = "",
        field_selector: str = "",
        workers: int = 1,
        retry: Retry | None = None,
        timeout: float | None = None,
        indexes: Mapping[str, Callable[[Any], Iterable[str]]] | None = None,
    ) -> Callable[[C], C]:
        """Make a class the controller of a kind: its methods are called for its objects.

        ``reconcile`` is called when an object is first seen and when something else is wanted of
        it (what ``predicate`` says), ``status_modified`` when its status changed, ``deleted``
        when it is gone, ``finalize`` before it may go: then a finalizer is put on every object.
        Children of a kind in ``owns`` that change have their owner reconciled, objects of
        ``watches`` those they map to.  Selectors are the server's.  ``workers`` objects are
        worked on at a time, each by one.  ``timeout`` seconds end a call as a failure.
        """
        spec = self._spec(
            cls,
            name,
            owns=tuple(owns),
            watches=tuple(watches),
            predicate=predicate,
            label_selector=label_selector,
            field_selector=field_selector,
            workers=workers,
            retry=retry or Retry(),
            timeout=timeout,
            indexes=dict(indexes or {}),
        )

        def decorate(controller: C) -> C:
            for handler in _HANDLERS:
                setattr(spec, handler, _handler(controller, handler))
            finalize = _handler(controller, "finalize")
            if finalize is not None:
                made = finalizer_name(info(cls).group, controller.__name__)
                spec.finalizers.append(FinalizerSpec(made, finalize))
            if not any(getattr(spec, h) for h in _HANDLERS) and not spec.finalizers:
                raise EntityError(
                    f"{controller.__qualname__} has nothing to call: give it async def reconcile"
                )
            spec.factory = controller
            spec.rbac = tuple(getattr(controller, "rbac", ()))
            return controller

        return decorate

    def reconcile(self, cls: type[Entity], **options: Any) -> Callable[[F], F]:
        """Make a function the controller of a kind; the options are those of a controller."""
        return self._function(cls, "reconcile", options)

    def deleted(self, cls: type[Entity], **options: Any) -> Callable[[F], F]:
        """Have a function called when an object of a kind is gone."""
        return self._function(cls, "deleted", options)

    def status_modified(self, cls: type[Entity], **options: Any) -> Callable[[F], F]:
        """Have a function called when the status of an object changed."""
        return self._function(cls, "status_modified", options)

    def finalizer(
        self, cls: type[Entity], name: str | None = None, *, automatic: bool = True
    ) -> Callable[[F], F]:
        """Have a function called before an object may go; several run in their order.

        ``name`` None makes ``{group}/{function}finalizer``.  Each runs until it has succeeded
        once; it may return requeue(seconds) as long as it is not done.  It is put on every
        object, or with ``automatic`` False on those that a handler chooses by
        ``await ctx.add_finalizer(name)``; ``ctx.remove_finalizer`` takes it off again.
        """

        def decorate(function: F) -> F:
            _coroutine(function)
            made = name or finalizer_name(info(cls).group, function.__name__)
            self._existing(cls).finalizers.append(FinalizerSpec(made, function, automatic))
            return function

        return decorate

    def _function(self, cls: type[Entity], kind: str, options: dict[str, Any]) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            _coroutine(function)
            name = options.pop("name", None)
            spec = self._existing(cls) if not options and name is None else None
            if spec is None or getattr(spec, kind) is not None or spec.factory is not None:
                spec = self._spec(cls, name or _name(function.__name__), **options)
            setattr(spec, kind, function)
            return function

        return decorate

    def _existing(self, cls: type[Entity]) -> ControllerSpec:
        """The first controller of a kind, made if there is none."""
        for spec in self.controllers:
            if spec.cls is cls:
                return spec
        return self._spec(cls, None)

    def _spec(self, cls: type[Entity], name: str | None, **options: Any) -> ControllerSpec:
        taken = {spec.name for spec in self.controllers}
        made = name or info(cls).kind.lower()
        if name is not None and made in taken:
            raise EntityError(f'"{made}" is already the name of a controller of {self.name}')
        number = 2
        while made in taken:
            made, number = f"{info(cls).kind.lower()}-{number}", number + 1
        if options.get("workers", 1) < 1:
            raise EntityError(f"workers of {made} is {options['workers']}: at least one works")
        spec = ControllerSpec(made, cls, **options)
        self.controllers.append(spec)
        return spec

    def rbac(self, *rules: Rbac | RbacRule) -> None:
        """Say what it needs beyond what is derived from what it uses; see cove.operator.rbac.

        For one controller, ``rbac = [Rbac(Secret, "get")]`` in its class says the same.
        """
        self.rules.extend(rules)

    # -- webhooks

    def validate(self, cls: type[Entity], **options: Unpack[AdmissionOptions]) -> Callable[[F], F]:
        """Have a function, or a class's create, update and delete, say what may be written.

        They take by name what they need: ``new``, ``old`` (None where there is none),
        ``dry_run``, ``warnings`` (a list to append to), ``request``.  Raising Invalid or Denied
        refuses the write.
        """
        from cove.operator.webhooks.declarations import add_admission

        return add_admission(self.validators, "validate", cls, options)

    def mutate(self, cls: type[Entity], **options: Unpack[MutateOptions]) -> Callable[[F], F]:
        """Have a function, or a class's create and update, change what is written.

        It changes ``new``, or returns another; what the type does not know stays as it is.
        """
        from cove.operator.webhooks.declarations import add_admission

        return add_admission(self.mutators, "mutate", cls, options)

    def convert(self, cls: type[Entity], *, to: type[Entity]) -> Callable[[F], F]:
        """Have a class's to_hub and from_hub convert between a version and ``to``, the hub.

        A kind has one hub, and a converter for every other version.
        """
        from cove.operator.webhooks.declarations import add_converter

        return add_converter(self.converters, cls, to)

    # -- what handlers ask for

    def provide(
        self,
        type_: type[T],
        make: Callable[..., T | Awaitable[T] | Any] | None = None,
        *,
        lifetime: str = "operator",
    ) -> None:
        """Give handlers that ask for ``type_`` what ``make`` makes, None: the class itself.

        It lives with the operator, or with one call (``lifetime="event"``); one that is a context
        manager is left then.
        """
        if lifetime not in ("operator", "event"):
            raise EntityError(f'lifetime "{lifetime}": it is operator or event')
        self._provided.append((type_, make, lifetime))

    def value(self, type_: type[T], value: T) -> None:
        """Give handlers that ask for ``type_`` this; closing it is the caller's."""
        self._values.append((type_, value))

    def providers(self) -> Providers:
        """New providers of all that was declared."""
        made = Providers()
        for type_, make, lifetime in self._provided:
            made.provide(type_, make, lifetime)
        for type_, value in self._values:
            made.value(type_, value)
        return made

    def scan(self, package: ModuleType | str) -> None:
        """Import every module of a package, so that what they declare is declared."""
        import importlib
        import pkgutil

        root = importlib.import_module(package) if isinstance(package, str) else package
        for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)

    # -- health

    def check(
        self,
        *,
        name: str | None = None,
        ready: bool = True,
        live: bool = False,
        timeout: float = 5.0,
    ) -> Callable[[F], F]:
        """Make a function a check of the operator's health, a coroutine or one for a thread.

        It fails by raising, by returning False, or the reason as a string.  ``ready`` and
        ``live`` say which question it belongs to; ``timeout`` seconds are a failure, too.
        """

        def decorate(function: F) -> F:
            made = name or _name(function.__name__)
            if made in {check.name for check in self.checks}:
                raise EntityError(f'"{made}" is already the name of a check of {self.name}')
            self.checks.append(Check(made, function, ready=ready, live=live, timeout=timeout))
            return function

        return decorate

    # -- running

    def main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Its commands: run, install, generate … as the arguments (None: the process's) say.

        Exits: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
        """
        from cove.operator.commands import main

        main(self, arguments)

    def runtime(
        self,
        client: Client,
        *,
        namespaces: Sequence[str] = (),
        meters: Meters | None = None,
        clock: Clock | None = None,
    ) -> Runtime:
        """Its controllers on a cluster: ``async with op.runtime(client) as r: await r.work()``."""
        from cove.operator.runtime.runtime import Runtime

        return Runtime(
            self.name,
            client,
            self.controllers,
            providers=self.providers(),
            namespaces=namespaces or self.settings.namespaces,
            meters=meters,
            clock=clock,
            grace=self.settings.grace,
            watch_timeout=self.settings.watch_timeout,
        )


def _handler(controller: type[Any], name: str) -> Callable[..., Any] | None:
    found: Callable[..., Any] | None = getattr(controller, name, None)
    if found is not None:
        _coroutine(found)
    return found


def _coroutine(function: Callable[..., Any]) -> None:
    if not inspect.iscoroutinefunction(function):
        raise EntityError(f"{function.__qualname__} is no coroutine function: write async def")


def _name(text: str) -> str:
    return text.replace("_", "-").lower()
