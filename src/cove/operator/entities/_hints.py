"""The types of fields, resolved: what annotations mean, for msgspec and for schemas.

msgspec reads annotations itself, but not those of classes that were made in a function, and it
takes a ``timedelta`` for ISO 8601, which Kubernetes does not.  :func:`prepare` puts that right
for a class and all it is made of, before anything is decoded.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, ClassVar, ForwardRef, Union, get_args, get_origin
from weakref import WeakKeyDictionary

import msgspec

from cove.operator.entities._struct import local_names
from cove.operator.entities._values import Duration
from cove.operator.errors import EntityError

__all__ = ["Plan", "hints", "prepare", "strip", "struct_fields", "structs_in"]


class Plan:
    """What has to be looked after when objects of a class are written."""

    __slots__ = ("durations", "objects", "parts", "sets")

    def __init__(self) -> None:
        self.durations = False
        self.sets = False
        # There are structs by value, which Go has even where they say nothing.
        self.parts = False
        # There are whole objects inside, which say what they are.
        self.objects = False


_hints: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()
_struct_fields: WeakKeyDictionary[type, tuple[tuple[str, str, bool], ...]] = WeakKeyDictionary()
_plans: WeakKeyDictionary[type, Plan] = WeakKeyDictionary()


def hints(cls: type) -> dict[str, Any]:
    """The types of a Struct's fields by their names in Python, ``Annotated`` and all.

    Raises EntityError for an annotation that names what does not exist.
    """
    found = _hints.get(cls)
    if found is None:
        found = {}
        for base in reversed(cls.__mro__):
            if base is not msgspec.Struct and isinstance(base, msgspec.StructMeta):
                found.update(_own(base))
        _hints[cls] = found
    return found


def _own(cls: type) -> dict[str, Any]:
    """The annotations of a class itself, resolved; written back where msgspec could not read them."""
    written: dict[str, Any] = vars(cls).get("__annotations__") or {}
    if not written and sys.version_info >= (3, 14):
        written = dict(cls.__annotations__)
    space = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    local = {**local_names(cls), cls.__name__: cls}
    resolved: dict[str, Any] = {}
    changed = False
    for name, value in written.items():
        meant = _resolve(cls, name, value, space, local)
        wire = _for_msgspec(meant)
        resolved[name] = wire
        changed = changed or wire is not meant or bool(local_names(cls))
    if changed:
        cls.__annotations__ = resolved
    return {
        k: v for k, v in resolved.items() if get_origin(v) is not ClassVar and v is not ClassVar
    }


def _resolve(cls: type, name: str, value: Any, space: dict[str, Any], local: dict[str, Any]) -> Any:
    if value is None:
        return type(None)
    if isinstance(value, str):
        value = ForwardRef(value, is_argument=False, is_class=True)
    holder = types.new_class(cls.__name__)
    holder.__annotations__ = {name: value}
    try:
        return typing.get_type_hints(holder, space, local, include_extras=True)[name]
    except (NameError, TypeError) as error:
        raise EntityError(f"{cls.__qualname__}.{name}: {error}") from error


def _for_msgspec(hint: Any) -> Any:
    """The same type with durations that are read as Kubernetes writes them."""
    if hint is timedelta:
        return Duration
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner = _for_msgspec(arguments[0])
        return hint if inner is arguments[0] else Annotated[inner, *arguments[1:]]
    if not arguments or origin is typing.Literal:
        return hint
    new = tuple(_for_msgspec(a) for a in arguments)
    if all(a is b for a, b in zip(new, arguments, strict=True)):
        return hint
    if origin in (Union, types.UnionType):
        return Union[new]  # noqa: UP007  # of a tuple
    return types.GenericAlias(origin, new)


def strip(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """A type without ``Annotated`` and ``| None``: itself, what was annotated, whether null may be."""
    extras: tuple[Any, ...] = ()
    nullable = False
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *more = get_args(hint)
            extras = (*more, *extras)
        elif origin in (Union, types.UnionType) and type(None) in get_args(hint):
            rest = tuple(a for a in get_args(hint) if a is not type(None))
            nullable = True
            hint = Union[rest] if len(rest) > 1 else rest[0]  # noqa: UP007  # of a tuple
            if len(rest) > 1:
                return hint, extras, nullable
        else:
            return hint, extras, nullable


def structs_in(hint: Any) -> Iterator[Any]:
    """The classes that a type is made of, those inside ``list[…]`` and unions too."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        yield from structs_in(arguments[0])
    elif get_origin(hint) is typing.Literal:
        return
    elif arguments:
        origin = get_origin(hint)
        if isinstance(origin, type):
            yield origin
        for argument in arguments:
            yield from structs_in(argument)
    elif isinstance(hint, type):
        yield hint


def _by_value(cls: Any) -> set[str]:
    """The structs that are there, in a built-in kind, even where nobody has said anything."""
    defaults = cls.__struct_defaults__
    names = cls.__struct_fields__[len(cls.__struct_fields__) - len(defaults) :]
    return {
        name
        for name, default in zip(names, defaults, strict=True)
        if cls.__zero__
        and name != "metadata"
        and isinstance(getattr(default, "factory", None), msgspec.StructMeta)
    }


def struct_fields(cls: Any) -> tuple[tuple[str, str, bool], ...]:
    """The fields that a document has to be finished by: (name, name on the wire, is it by value).

    Those that are structs by value or whole objects, and those in which there are such.
    """
    found = _struct_fields.get(cls)
    if found is None:
        by_value, types = _by_value(cls), hints(cls)
        names = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
        found = _struct_fields[cls] = tuple(
            (name, wire, name in by_value)
            for name, wire in names
            if name in by_value or any(map(_has_to_be_finished, structs_in(types[name])))
        )
    return found


def _has_to_be_finished(cls: Any) -> bool:
    if not isinstance(cls, msgspec.StructMeta):
        return False
    plan = prepare(cls)
    return plan.parts or plan.objects or hasattr(cls, "__entity__")


def prepare(cls: type) -> Plan:
    """Make a class and all it is made of ready for msgspec; what writing it has to look after."""
    plan = _plans.get(cls)
    if plan is None:
        plan = Plan()
        seen: set[type] = set()
        pending: list[Any] = [cls]
        while pending:
            one = pending.pop()
            if one in seen:
                continue
            seen.add(one)
            if one is Duration:
                plan.durations = True
            elif one in (set, frozenset):
                plan.sets = True
            elif isinstance(one, msgspec.StructMeta):
                plan.objects = plan.objects or (one is not cls and hasattr(one, "__entity__"))
                plan.parts = plan.parts or bool(_by_value(one))
                for hint in hints(one).values():
                    pending.extend(structs_in(hint))
        _plans[cls] = plan
    return plan
