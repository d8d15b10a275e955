"""Recorded strings, numbers, booleans and None.

Strings and numbers are subclasses that hold the plain value.  ``bool`` and ``None`` cannot
have subclasses: :class:`RecordedBool` and :class:`RecordedNone` are objects that answer as those
do, whatever is asked but ``is``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from cove.testing.timeline import Call
from cove.testing.values import _asserts
from cove.testing.values._trail import Trail
from cove.testing.words import call_title, dotted

__all__ = [
    "RecordedBool",
    "RecordedFloat",
    "RecordedInt",
    "RecordedNone",
    "RecordedStr",
    "RecordedUnset",
    "plain_scalar",
]

# pytest shows the line of the test, not those of this module.
__tracebackhide__ = True


_RIGHT = {
    "__radd__", "__rsub__", "__rmul__", "__rtruediv__", "__rfloordiv__", "__rmod__",
    "__rdivmod__", "__rpow__", "__rlshift__", "__rrshift__", "__rand__", "__ror__", "__rxor__",
}  # fmt: skip
_REFLECTED = {"__lt__": "__gt__", "__gt__": "__lt__", "__le__": "__ge__", "__ge__": "__le__"}


def _reflected(name: str) -> str:
    if name in _REFLECTED:
        return _REFLECTED[name]
    return f"__{name[3:]}" if name in _RIGHT else f"__r{name[2:]}"


def _compares(
    ask: Callable[[Any, Any], Any], name: str, operator: str
) -> Callable[[Any, Any], Any]:
    """A comparison, told to the timeline where an assertion makes it."""

    def compare(self: Any, other: Any) -> Any:
        result = ask(self, other)
        if not self._cove_trail.recorded:
            return result
        frame = sys._getframe(1)
        if not _asserts.role_at(frame):
            return result
        if result is NotImplemented:
            # As the interpreter would go on, so that a comparison of unlike values is seen.
            result = getattr(type(other), _REFLECTED.get(name, name))(other, self)
            if result is NotImplemented:
                if name not in ("__eq__", "__ne__"):
                    return result
                result = name == "__ne__"
        link = self._cove_trail.link
        _asserts.compared(frame, link, self, operator, other, bool(result))
        return result

    compare.__name__ = name
    return compare


def _truth(self: Any) -> bool:
    result = bool(plain_scalar(self))
    if self._cove_trail.recorded:
        _asserts.tested(sys._getframe(1), self._cove_trail.link, self, result)
    return result


_OPERATORS = {
    "__eq__": "==",
    "__ne__": "!=",
    "__lt__": "<",
    "__le__": "<=",
    "__gt__": ">",
    "__ge__": ">=",
}


class _Recorded:
    """What all scalars have; ``_cove_trail`` tells where they are from."""

    __slots__ = ()
    _cove_trail: Trail

    def unwrap(self) -> Any:
        """The plain value."""
        return plain_scalar(self)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain = plain_scalar(self)
        return (type(plain), () if plain is None else (plain,))


class RecordedStr(_Recorded, str):
    """A string of an answer; slices of it are, too, and what methods give is plain."""

    __slots__ = ("_cove_trail",)

    def __new__(cls, value: str, trail: Trail) -> RecordedStr:
        made = str.__new__(cls, value)
        made._cove_trail = trail
        return made

    __hash__ = str.__hash__
    __bool__ = _truth

    def __getitem__(self, key: Any) -> Any:
        return RecordedStr(str.__getitem__(self, key), self._cove_trail)

    def __contains__(self, part: Any) -> bool:
        result = str.__contains__(self, part)
        _told(self, "contains", part, result)
        return result

    def startswith(self, *arguments: Any) -> bool:
        """As of a str."""
        result = str.startswith(self, *arguments)
        _told(self, "startswith", arguments[0], result)
        return result

    def endswith(self, *arguments: Any) -> bool:
        """As of a str."""
        result = str.endswith(self, *arguments)
        _told(self, "endswith", arguments[0], result)
        return result


def _told(value: Any, operator: str, other: Any, result: bool) -> None:
    trail: Trail = value._cove_trail
    if trail.recorded:
        frame = sys._getframe(2)
        link = trail.link
        assert link is not None
        _asserts.compared(frame, link, value, operator, other, result)


class RecordedInt(_Recorded, int):
    """A number of an answer; what is computed with it is plain."""

    def __new__(cls, value: int, trail: Trail) -> RecordedInt:
        made = int.__new__(cls, value)
        made._cove_trail = trail
        return made

    __hash__ = int.__hash__
    __bool__ = _truth


class RecordedFloat(_Recorded, float):
    """A number of an answer; what is computed with it is plain."""

    __slots__ = ("_cove_trail",)

    def __new__(cls, value: float, trail: Trail) -> RecordedFloat:
        made = float.__new__(cls, value)
        made._cove_trail = trail
        return made

    __hash__ = float.__hash__
    __bool__ = _truth


for _cls, _base in ((RecordedStr, str), (RecordedInt, int), (RecordedFloat, float)):
    for _name, _operator in _OPERATORS.items():
        setattr(_cls, _name, _compares(getattr(_base, _name), _name, _operator))


class _Stand(_Recorded):
    """Answers as a value that cannot have subclasses."""

    __slots__ = ("_cove_trail", "_value")
    _value: Any

    def __init__(self, value: Any, trail: Trail) -> None:
        object.__setattr__(self, "_value", value)
        object.__setattr__(self, "_cove_trail", trail)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{self._value!r} has no attribute {name!r} to set")

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return repr(self._value)

    def __str__(self) -> str:
        return str(self._value)

    def __format__(self, spec: str) -> str:
        return format(self._value, spec)

    __bool__ = _truth


def _stands(name: str) -> Callable[..., Any]:
    def operate(self: _Stand, *others: Any) -> Any:
        plain = [plain_scalar(other) for other in others]
        result = getattr(self._value, name)(*plain)
        if result is NotImplemented and name not in ("__eq__", "__ne__"):
            # The other side is asked with the plain value: it would not know us.
            asked = getattr(plain[0], _reflected(name), None)
            return asked(self._value) if asked is not None else result
        return result

    operate.__name__ = name
    return operate


class RecordedBool(_Stand):
    """A boolean of an answer.  ``==`` it; ``is`` cannot be answered by anybody else than ``bool``."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv",
    "mod", "rmod", "divmod", "rdivmod", "pow", "rpow", "lshift", "rlshift", "rshift", "rrshift",
    "and", "rand", "or", "ror", "xor", "rxor", "neg", "pos", "abs", "invert",
    "int", "index", "float", "round", "trunc", "floor", "ceil",
):  # fmt: skip
    setattr(RecordedBool, f"__{_name}__", _stands(f"__{_name}__"))


class UnsetError(AttributeError, LookupError):
    """Something of a field that is not set.  Who waits takes it for "not yet"."""


class UnsetItemError(TypeError, LookupError):
    """The same, asked for as a key."""


class RecordedNone(_Stand):
    """A null of an answer, or a field that is not set."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(None)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(f"'NoneType' object has no attribute {name!r}")
        raise UnsetError(f"{_place(self._cove_trail)} is None: it has no {name!r}")

    def __getitem__(self, key: Any) -> NoReturn:
        raise UnsetItemError(f"{_place(self._cove_trail)} is None: it has no {key!r}")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{_place(self._cove_trail)} is None: there is nothing to iterate over")


class RecordedUnset(RecordedNone):
    """A field that is not set and is called as a method of dict is: ``values``, ``items``."""

    __slots__ = ("_method",)

    def __init__(self, trail: Trail, method: Callable[..., Any]) -> None:
        super().__init__(None, trail)
        object.__setattr__(self, "_method", method)

    def __call__(self) -> Any:
        return self._method(sys._getframe(1))


for _cls2 in (RecordedBool, RecordedNone):
    for _name, _operator in _OPERATORS.items():
        setattr(_cls2, _name, _compares(_stands(_name), _name, _operator))
    # A class with its own __eq__ has no hash unless it says so.
    _cls2.__hash__ = _Stand.__hash__  # type: ignore[method-assign]


def _place(trail: Trail) -> str:
    path = dotted(trail.path) or "the answer"
    link = trail.link
    call = link.timeline.find(link.call) if link is not None else None
    return f"{path} of {call_title(call)}" if isinstance(call, Call) else path


def plain_scalar(value: Any) -> Any:
    """The plain value of a recorded scalar; anything else as it is."""
    cls = type(value)
    if cls is RecordedStr:
        return str.__str__(value)
    if cls is RecordedInt:
        return int.__int__(value)
    if cls is RecordedFloat:
        return float.__float__(value)
    if cls is RecordedBool or cls is RecordedNone or cls is RecordedUnset:
        return value._value
    return value
