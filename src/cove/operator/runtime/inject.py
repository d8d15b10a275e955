"""Injection: handlers ask by annotation for what they need, and get it.

The object and :class:`Ctx` are there for every handler; other types are provided by the
operator, once for its life or anew for every call, and closed when that ends.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from cove.kube.status import CoveError

__all__ = ["InjectionError", "Providers", "Wanted", "wanted"]

Lifetime = Literal["operator", "event"]


class InjectionError(CoveError):
    """A handler asks for something that nobody provides."""


@dataclass(frozen=True, slots=True)
class _Provider:
    make: Callable[..., Any]
    lifetime: Lifetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a handler takes: its parameters beyond the first, by name, and their types."""

    handler: Callable[..., Any]
    parameters: Mapping[str, Any]


def wanted(handler: Callable[..., Any], *, skip: int = 1) -> Wanted:
    """What a function or bound method takes after the first ``skip`` parameters.

    Raises InjectionError for one that has neither an annotation nor a default.
    """
    try:
        hints = get_type_hints(handler)
    except NameError as e:
        raise InjectionError(
            f"{handler.__qualname__}: {e}: annotations have to be there when it is registered"
        ) from e
    found: dict[str, Any] = {}
    for parameter in list(inspect.signature(handler).parameters.values())[skip:]:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.name in hints:
            found[parameter.name] = hints[parameter.name]
        elif parameter.default is parameter.empty:
            raise InjectionError(
                f"{handler.__qualname__}: nobody knows what {parameter.name} is to be: annotate it"
            )
    return Wanted(handler, found)


class Providers:
    """Who makes what handlers ask for; ``async with providers`` ends what lives as long."""

    def __init__(self) -> None:
        self._providers: dict[Any, _Provider] = {}
        self._made: dict[Any, Any] = {}
        self._stack = AsyncExitStack()

    def provide(
        self, type_: Any, make: Callable[..., Any] | None, lifetime: Lifetime = "operator"
    ) -> None:
        """``make`` (None: the class itself) makes it, and may ask for others by annotation.

        It may be a function, async or not, or give a context manager, async or not, which is
        left when the ``lifetime`` ends: with the operator, or with the call.
        """
        self._providers[type_] = _Provider(make or type_, lifetime)

    def value(self, type_: Any, value: Any) -> None:
        """Have it be this; closing it is for who made it."""
        self._made[type_] = value

    def knows(self, type_: Any) -> bool:
        """Whether somebody provides it."""
        return type_ in self._made or type_ in self._providers

    async def __aenter__(self) -> Providers:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._made.clear()
        await self._stack.aclose()

    def check(self, asked: Wanted, given: frozenset[Any]) -> None:
        """Raises InjectionError for what neither is given nor provided, before anything runs."""
        for name, type_ in asked.parameters.items():
            if type_ in given or self.knows(type_):
                continue
            parameter = inspect.signature(asked.handler).parameters[name]
            if parameter.default is parameter.empty:
                shown = getattr(type_, "__qualname__", type_)
                raise InjectionError(
                    f"{asked.handler.__qualname__} asks for {name}: {shown}, which nobody "
                    f"provides: op.provide({shown}, …)"
                )

    @asynccontextmanager
    async def call(self, asked: Wanted, given: Mapping[Any, Any]) -> AsyncIterator[dict[str, Any]]:
        """The arguments of one call; what was made for it ends with it."""
        async with AsyncExitStack() as stack:
            made = dict(given)
            yield {
                name: await self._get(type_, made, stack)
                for name, type_ in asked.parameters.items()
                if type_ in made or self.knows(type_)
            }

    async def make(self, factory: Callable[..., Any]) -> Any:
        """An instance of a class that lives with the operator, its parameters provided."""
        asked = Wanted(factory, _parameters(factory))
        self.check(asked, frozenset())
        arguments = {
            name: await self._get(type_, {}, self._stack)
            for name, type_ in asked.parameters.items()
            if self.knows(type_)
        }
        return factory(**arguments)

    async def _get(self, type_: Any, made: dict[Any, Any], stack: AsyncExitStack) -> Any:
        if type_ in made:
            return made[type_]
        if type_ in self._made:
            return self._made[type_]
        provider = self._providers[type_]
        long = provider.lifetime == "operator"
        value = await self._enter(provider, made, self._stack if long else stack)
        (self._made if long else made)[type_] = value
        return value

    async def _enter(self, provider: _Provider, made: dict[Any, Any], stack: AsyncExitStack) -> Any:
        make = provider.make
        parameters = _parameters(make)
        arguments = {
            name: await self._get(type_, made, stack)
            for name, type_ in parameters.items()
            if type_ in made or self.knows(type_)
        }
        value = make(**arguments)
        if inspect.isawaitable(value):
            value = await value
        if isinstance(value, AbstractAsyncContextManager):
            return await stack.enter_async_context(value)
        if isinstance(value, AbstractContextManager):
            return stack.enter_context(value)
        return value


def _parameters(make: Callable[..., Any]) -> Mapping[str, Any]:
    """What a function, or a class's initializer, asks for."""
    if not isinstance(make, type):
        return wanted(make, skip=0).parameters
    initializer: Callable[..., Any] = vars(make).get("__init__") or getattr(make, "__init__")  # noqa: B009 — the class's, not an instance's
    if initializer is object.__init__:
        return {}
    return wanted(initializer, skip=1).parameters
