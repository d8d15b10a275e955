"""The fields of a class, whether it is a Struct or a model of pydantic's, in one form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from cove.operator.entities._hints import hints
from cove.operator.entities._struct import Struct, static_default
from cove.operator.schema._docs import attribute_docs

__all__ = ["Member", "members"]


class Member(NamedTuple):
    """A field: its name on the wire, its type, its default (NODEFAULT without one).

    ``optional``: it has a default, although perhaps none that a schema can tell.
    """

    name: str
    hint: Any
    default: Any
    optional: bool
    docs: str
    extras: tuple[Any, ...] = ()


def members(cls: Any) -> Iterator[Member]:
    """The fields of a class in the order in which they were written."""
    docs = attribute_docs(cls)
    if isinstance(cls, msgspec.StructMeta):
        yield from _of_struct(cls, docs)
    else:
        yield from _of_model(cls, docs)


def _of_struct(cls: Any, docs: dict[str, str]) -> Iterator[Member]:
    types = hints(cls)
    names = list(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))
    required = len(names) - len(cls.__struct_defaults__)
    defaults = {name: static_default(cls, position) for position, (name, _) in enumerate(names)}
    wire = dict(names)
    missing = {
        name
        for position, (name, _) in enumerate(names)
        if position < required or cls.__struct_defaults__[position - required] is msgspec.NODEFAULT
    }
    for name in types:
        if name in wire:
            default = defaults[name]
            yield Member(wire[name], types[name], default, name not in missing, docs.get(name, ""))


def _of_model(cls: Any, docs: dict[str, str]) -> Iterator[Member]:
    for name, known in cls.model_fields.items():
        default = msgspec.NODEFAULT
        if not known.is_required() and known.default_factory is None:
            default = known.default
        alias = known.validation_alias if isinstance(known.validation_alias, str) else None
        yield Member(
            known.serialization_alias or alias or known.alias or name,
            known.annotation,
            default,
            not known.is_required(),
            docs.get(name, "") or known.description or "",
            tuple(known.metadata),
        )


def is_part(cls: Any) -> bool:
    """Whether what is absent in a class is zero, as in Go: nothing of it is nullable."""
    return (
        isinstance(cls, type) and issubclass(cls, Struct) and bool(getattr(cls, "__zero__", False))
    )
