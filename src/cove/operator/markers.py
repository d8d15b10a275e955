"""What can be said of a field beside its type: markers for ``typing.Annotated``.

::

    image: Annotated[str, Pattern(r"^[^:]+:.+$"), Rule("self == oldSelf", "immutable")]

Plain values that :mod:`cove.operator.schema` reads when a CRD is made; decoding does not look
at them, the API server does.  Markers without arguments may be written without parentheses.

Sources: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
and https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec

__all__ = [
    "Column",
    "Default",
    "Description",
    "Embedded",
    "EmbeddedResource",
    "ExternalDocs",
    "Float32",
    "Format",
    "Ignore",
    "Immutable",
    "Int32",
    "IntOrString",
    "Items",
    "Length",
    "ListAtomic",
    "ListMap",
    "ListSet",
    "MapAtomic",
    "MapGranular",
    "Marker",
    "MultipleOf",
    "Nullable",
    "Pattern",
    "PreserveUnknown",
    "Properties",
    "Quantity",
    "Range",
    "Reason",
    "Required",
    "Rule",
    "mark",
    "markers_of",
]

T = TypeVar("T", bound=type)
ColumnType = Literal["string", "integer", "number", "boolean", "date"]
Reason = Literal[
    "FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"
]


class Marker(msgspec.Struct, frozen=True):
    """What all markers but :class:`ListMap` are."""


class Description(Marker, frozen=True):
    """What ``kubectl explain`` tells; goes before a docstring."""

    text: str


class ExternalDocs(Marker, frozen=True):
    """Where more is written."""

    url: str
    description: str = ""


class Items(Marker, frozen=True):
    """How many elements a list or a set has; ``unique`` makes it a list-type ``set``.

    CRDs forbid ``uniqueItems``; a list of type ``set`` is checked for duplicates instead, and
    only scalars can be its elements.
    """

    min: int | None = None
    max: int | None = None
    unique: bool = False


class Properties(Marker, frozen=True):
    """How many keys a map has."""

    min: int | None = None
    max: int | None = None


class Length(Marker, frozen=True):
    """How many characters a string has."""

    min: int | None = None
    max: int | None = None


class MultipleOf(Marker, frozen=True):
    """What a number can be divided by."""

    value: float


class Pattern(Marker, frozen=True):
    """An RE2 expression that is found in a string (``^…$`` for the whole of it)."""

    regex: str


class Range(Marker, frozen=True):
    """The bounds of a number; the bound itself is allowed unless it is exclusive."""

    min: float | None = None
    max: float | None = None
    exclusive_min: bool = False
    exclusive_max: bool = False


class Required(Marker, frozen=True):
    """Must be written, although the type in Python has a default."""


class Nullable(Marker, frozen=True):
    """May be null; ``T | None`` says the same."""


class Default(Marker, frozen=True):
    """What the API server fills in, where that is not Python's default."""

    value: Any


class Format(Marker, frozen=True):
    """An OpenAPI format: ``int32``, ``ipv4``, ``hostname``, ``uri`` …"""

    name: str


class PreserveUnknown(Marker, frozen=True):
    """Fields that the schema does not know are kept."""


class Embedded(Marker, frozen=True):
    """A whole object: apiVersion, kind and metadata are checked, the rest is kept."""


class Ignore(Marker, frozen=True):
    """No part of the schema: a value of the program's own."""


class ListMap:
    """A list whose elements are told apart by keys: ``ListMap("name", "protocol")``.

    The keys are names on the wire.
    """

    __slots__ = ("keys",)

    def __init__(self, key: str, *keys: str) -> None:
        self.keys = (key, *keys)

    def __repr__(self) -> str:
        return f"ListMap({', '.join(map(repr, self.keys))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListMap) and self.keys == other.keys

    def __hash__(self) -> int:
        return hash(self.keys)


class ListSet(Marker, frozen=True):
    """A list of scalars that holds nothing twice and may have several owners."""


class ListAtomic(Marker, frozen=True):
    """A list that has one owner and is replaced as a whole."""


class MapGranular(Marker, frozen=True):
    """An object whose fields may have several owners; what objects are anyway."""


class MapAtomic(Marker, frozen=True):
    """An object that has one owner and is replaced as a whole."""


class Rule(Marker, frozen=True):
    """A CEL expression that holds; in an annotation, or for a whole class by :func:`mark`.

    ``message`` is what users read when it does not; ``message_expression`` makes one.
    ``field_path`` (``.size``) is the field that is to blame.  With ``optional_old_self`` a rule
    that looks at ``oldSelf`` is asked on creation, too.
    """

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: Reason | None = None
    field_path: str = ""
    optional_old_self: bool = False


class Immutable(Marker, frozen=True):
    """Cannot be changed once it is set: the rule ``self == oldSelf``."""

    message: str = "is immutable"


class Column(Marker, frozen=True):
    """A column of ``kubectl get``; ``priority`` above 0 shows it with ``-o wide`` only.

    On a field, the path and the type are the field's; in ``@entity(columns=…)`` a path is
    needed: ``Column("Age", ".metadata.creationTimestamp", "date")``.
    """

    name: str
    json_path: str = ""
    type: ColumnType | None = None
    format: str = ""
    priority: int = 0
    description: str = ""


class Leaf(Marker, frozen=True):
    """The two types that are a number or a text; not for use elsewhere."""

    name: str


# An object of any kind.
EmbeddedResource = Annotated[dict[str, Any], Embedded()]
Int32 = Annotated[int, Format("int32")]
Float32 = Annotated[float, Format("float")]
# A port's number or name, a number or a percentage.
IntOrString = Annotated[int | str, Leaf("IntOrString")]
# "500m", "1Gi", 2; `cove.kube.quantity` reckons with them.
Quantity = Annotated[int | str, Leaf("Quantity")]


def mark(*markers: Marker) -> Callable[[T], T]:
    """Say of a class what holds wherever it is used.

    ::

        @mark(Rule("self.min <= self.max", "min is above max"))
        class Bounds(Struct): ...
    """

    def decorate(cls: T) -> T:
        cls.__markers__ = (*cls.__dict__.get("__markers__", ()), *markers)  # type: ignore[attr-defined]  # read by markers_of
        return cls

    return decorate


def markers_of(cls: type) -> tuple[Marker, ...]:
    """What :func:`mark` has said of a class itself; subclasses do not inherit it."""
    found: tuple[Marker, ...] = cls.__dict__.get("__markers__", ())
    return found
