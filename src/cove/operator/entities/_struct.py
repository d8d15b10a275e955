"""Struct: the base of typed specs, statuses and what is inside them.

A :class:`msgspec.Struct` as Kubernetes documents want it: names are camelCase on the wire,
fields are given by keyword and in any order, a mutable default is copied for every object.
``None``, and bytes, lists and maps that are empty as their default is, are left out of a document;
everything else is written, defaults too: what an operator means does not change when the
default in a newer CRD does.
"""

from __future__ import annotations

import copy
import keyword
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform, get_origin
from weakref import WeakKeyDictionary

import msgspec
from msgspec import NODEFAULT, field

__all__ = ["Part", "Struct", "field", "local_names", "static_default", "wire_name"]

_EMPTY = (list, dict, set)


def wire_name(name: str) -> str:
    """``secret_ref`` → ``secretRef``; the underscore that saves a Python word goes: ``from_``."""
    if name.endswith("_") and keyword.iskeyword(name[:-1]):
        name = name[:-1]
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


class _Value:
    """A default that is written like any other value, since msgspec leaves no factory's out."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return self.value


class _Copy(_Value):
    """A default that can be changed: every object gets its own."""

    __slots__ = ()

    def __call__(self) -> Any:
        return copy.deepcopy(self.value)


def _factory(default: Any) -> Callable[[], Any] | None:
    """What makes a default that has to be written or copied; None where msgspec does right."""
    if default is None or default is NODEFAULT:
        return None
    if type(default) in (*_EMPTY, bytes) and not default:
        return None
    if isinstance(default, (str, int, float, bool, bytes, frozenset)):
        return _Value(default)
    return _Copy(default)


def static_default(cls: Any, position: int) -> Any:
    """The default of a field by its position, where it is the same for every object.

    NODEFAULT for a field without one and for what a factory of the program's own makes.
    """
    found = cls.__struct_defaults__
    offset = len(cls.__struct_fields__) - len(found)
    value = found[position - offset] if position >= offset else NODEFAULT
    factory = getattr(value, "factory", None)
    if factory is None:
        return value
    if isinstance(factory, _Value) or factory in _EMPTY or isinstance(factory, msgspec.StructMeta):
        return factory()
    return NODEFAULT


def _fields(namespace: Mapping[str, Any]) -> Iterable[str]:
    """The names that a class body annotates as fields."""
    annotations: Mapping[str, Any] | None = namespace.get("__annotations__")
    if annotations is None and sys.version_info >= (3, 14):
        import annotationlib

        annotate = annotationlib.get_annotate_from_class_namespace(namespace)
        if annotate is not None:
            form = annotationlib.Format.FORWARDREF
            annotations = annotationlib.call_annotate_function(annotate, form)
    for name, value in (annotations or {}).items():
        text = value if isinstance(value, str) else ""
        if "ClassVar" not in text and get_origin(value) is not ClassVar and value is not ClassVar:
            yield name


_FIELD: Any = type(field(default=0))
# What annotations of classes that were made in a function may name; until they are resolved.
_locals: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()


def local_names(cls: type) -> dict[str, Any]:
    """The local variables where a class was made, empty for one of a module."""
    return _locals.get(cls, {})


class _Meta(msgspec.StructMeta):
    """Makes the class keyword-only and its defaults safe."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        zero: bool | None = None,
        **settings: Any,
    ) -> Any:
        settings.setdefault("kw_only", True)
        if zero is None:
            zero = any(getattr(base, "__zero__", False) for base in bases)
        namespace["__zero__"] = zero
        if not zero:
            for key in _fields(namespace):
                given = namespace.get(key, NODEFAULT)
                declared = type(given) is _FIELD
                factory = _factory(given.default if declared else given)
                if factory is not None:
                    namespace[key] = field(
                        default_factory=factory, name=given.name if declared else None
                    )
        made = super().__new__(cls, name, bases, namespace, **settings)
        frame = sys._getframe(1)
        if frame.f_locals is not frame.f_globals:
            _locals[made] = {**frame.f_locals, name: made}
        return made


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Struct(msgspec.Struct, metaclass=_Meta, rename=wire_name, omit_defaults=True):
    """A typed part of a document.

    ::

        class CacheSpec(Struct):
            image: str
            size: int = 1
            secret_ref: str | None = None  # secretRef

    Fields that the class does not have are passed over when a document is read.
    """

    if TYPE_CHECKING:

        def __init_subclass__(cls, **settings: Any) -> None: ...


class Part(Struct, zero=True, gc=False):
    """A part of a built-in kind: what is zero is left out, as Go's ``omitempty`` does.

    An absent number is 0, an absent text "", an absent list empty; what Go has a pointer for
    is ``None``.
    """
