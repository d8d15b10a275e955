"""Which list in a document is told apart by which keys: what types say, as a tree.

Built when first asked for, so that types that contain themselves are fine.
"""

from __future__ import annotations

import typing
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from cove.operator.entities._hints import hints, strip
from cove.operator.markers import ListMap

__all__ = ["Shape", "shape_of"]

_fields: WeakKeyDictionary[type, dict[str, Shape]] = WeakKeyDictionary()


class Shape:
    """A place in a document.  ``keys`` are the list-map's, empty for other places."""

    __slots__ = ("_hint", "keys")

    def __init__(self, hint: Any, extras: tuple[Any, ...] = ()) -> None:
        self._hint = hint
        self.keys: tuple[str, ...] = next((m.keys for m in extras if isinstance(m, ListMap)), ())

    def field(self, name: str) -> Shape:
        """What is under a key of an object."""
        hint = self._hint
        if isinstance(hint, msgspec.StructMeta):
            found = _fields.get(hint)
            if found is None:
                found = _fields[hint] = _struct(hint)
            return found.get(name, ANY)
        return _inner(hint) if typing.get_origin(hint) is dict else ANY

    @property
    def item(self) -> Shape:
        """What the elements of a list are."""
        return _inner(self._hint)


def _inner(hint: Any) -> Shape:
    arguments = [a for a in typing.get_args(hint) if a is not ...]
    return shape_of(arguments[-1]) if arguments else ANY


def shape_of(hint: Any) -> Shape:
    """The shape of a type."""
    meant, extras, _ = strip(hint)
    return Shape(meant, extras)


def _struct(cls: Any) -> dict[str, Shape]:
    names = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    types = hints(cls)
    return {wire: shape_of(types[name]) for name, wire in names}


ANY = Shape(Any)
