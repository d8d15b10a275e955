"""Recorded documents and lists.

They hold plain scalars, and what is taken out is wrapped on the way.  A dict or list inside is
replaced by its wrapped form when it is first looked at, so that a change is seen from everywhere.
What reads storage directly (orjson, msgspec, ``dict(x)``) sees plain values; encoders that iterate
are recognised and get those as well.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from types import FrameType
from typing import Any, ClassVar, SupportsIndex

from cove.kube.schema import Node
from cove.testing.timeline import Link
from cove.testing.values import _asserts, _scalars, _sites
from cove.testing.values._fields import camel, key_of, suggestion
from cove.testing.values._trail import Trail
from cove.testing.words import dotted

__all__ = ["RecordedDict", "RecordedList", "link_of", "unwrap", "wrap"]

# pytest shows the line of the test, not those of this module.
__tracebackhide__ = True

# Who iterates over a document in order to write it down, and knows bool and None by identity.
_ENCODERS = frozenset({"json.encoder", "simplejson.encoder", "yaml.representer"})
_SCALARS = (
    _scalars.RecordedStr,
    _scalars.RecordedInt,
    _scalars.RecordedFloat,
    _scalars.RecordedBool,
    _scalars.RecordedNone,
    _scalars.RecordedUnset,
)


def wrap(value: Any, link: Link | None) -> Any:
    """The value, remembering where it came from; ``link`` None: it is the same without a place.

    What is neither JSON nor a tuple is given back as it is.
    """
    return _wrapped(value, Trail(link))


def link_of(value: Any) -> Link | None:
    """The call that a value came from, and where in its answer; None if that is not known."""
    trail = getattr(type(value), "_cove_trail", None) and value._cove_trail
    return trail.link if isinstance(trail, Trail) else None


def unwrap(value: Any) -> Any:
    """Plain data, however deep; what is no recorded value and holds none stays what it is.

    Goes into dicts, lists, tuples, sets, and the models of the official client.
    """
    cls = type(value)
    if cls in _SCALARS:
        return _scalars.plain_scalar(value)
    if issubclass(cls, dict):
        if cls is dict or issubclass(cls, RecordedDict):
            return {unwrap(k): unwrap(v) for k, v in dict.items(value)}
        return value
    if issubclass(cls, list):
        if cls is list or issubclass(cls, RecordedList):
            return [unwrap(each) for each in list.__iter__(value)]
        return value
    if issubclass(cls, tuple):
        plain = [unwrap(each) for each in value]
        return cls._make(plain) if hasattr(cls, "_make") else tuple(plain)
    if cls in (set, frozenset):
        return cls(unwrap(each) for each in value)
    if hasattr(cls, "openapi_types") and hasattr(value, "__dict__"):
        made = copy.copy(value)
        for name, held in vars(value).items():
            object.__setattr__(made, name, unwrap(held))
        return made
    return value


def _wrapped(value: Any, trail: Trail) -> Any:
    if value is None:
        return _scalars.RecordedNone(None, trail)
    cls = type(value)
    if cls is str:
        return _scalars.RecordedStr(value, trail)
    if cls is dict:
        return RecordedDict(value, trail)
    if cls is list:
        return RecordedList(value, trail)
    if cls is bool:
        return _scalars.RecordedBool(value, trail)
    if cls is int:
        return _scalars.RecordedInt(value, trail)
    if cls is float:
        return _scalars.RecordedFloat(value, trail)
    if cls is tuple:
        return tuple(_wrapped(each, trail / i) for i, each in enumerate(value))
    return value


def _encodes(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in _ENCODERS


def _refuse_is(value: Any, frame: FrameType, trail: Trail) -> None:
    """None and booleans that are about to be compared by ``is`` would never be the same."""
    if (value is None or value is True or value is False) and _sites.is_operand(frame):
        sign = "== None" if value is None else f"== {value}"
        raise TypeError(
            f"{dotted(trail.path) or 'this'} is a recorded value, which `is` cannot compare: "
            f"write `{sign}`, or take the plain value by .unwrap()"
        )


def _compares(base: Any, name: str, operator: str) -> Callable[[Any, Any], Any]:
    ask = getattr(base, name)

    def compare(self: Any, other: Any) -> Any:
        trail: Trail = self._cove_trail
        if not trail.recorded:
            return ask(self, other)
        frame = sys._getframe(1)
        state = _asserts.state
        if not _asserts.role_at(frame):
            return ask(self, other)
        # What is inside compares, too, and that is no comparison of its own.
        state.busy = True
        try:
            result = ask(self, other)
        finally:
            state.busy = False
        link = trail.link
        if result is not NotImplemented and link is not None:
            _asserts.compared(frame, link, self, operator, other, bool(result))
        return result

    compare.__name__ = name
    return compare


class _Container:
    """What documents and lists have in common."""

    __slots__ = ()
    _cove_trail: Trail

    def unwrap(self) -> Any:
        """Plain data, a copy."""
        return unwrap(self)

    def __bool__(self) -> bool:
        result = _size(self) > 0
        link = self._cove_trail.link if self._cove_trail.recorded else None
        if link is not None:
            _asserts.tested(sys._getframe(1), link, self, result)
        return result

    def __len__(self) -> int:
        length = _size(self)
        link = self._cove_trail.link if self._cove_trail.recorded else None
        if link is not None:
            _asserts.measured(sys._getframe(1), link, self, length)
        return length

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain = unwrap(self)
        return (type(plain), (plain,))

    def _contains(self, result: bool, item: Any) -> bool:
        link = self._cove_trail.link if self._cove_trail.recorded else None
        if link is not None:
            _asserts.compared(sys._getframe(2), link, self, "contains", item, result)
        return result


def _size(value: Any) -> int:
    return dict.__len__(value) if isinstance(value, dict) else list.__len__(value)


class RecordedDict(_Container, dict[str, Any]):
    """A document: a dict, whose keys are attributes, too."""

    __slots__ = ("_cove_own", "_cove_trail")
    __hash__: ClassVar[None]
    _cove_own: set[str] | None

    def __init__(self, value: Mapping[str, Any], trail: Trail) -> None:
        dict.__init__(self, value)
        if "kind" in value:
            trail.kind = (value.get("apiVersion"), value["kind"])
        _set_trail(self, trail)
        _set_own(self, None)

    # -- what is in it

    def __getitem__(self, key: str) -> Any:
        value = dict.__getitem__(self, key)
        trail = self._step(key)
        if value is None or value is True or value is False:
            _refuse_is(value, sys._getframe(1), trail)
        return self._taken(key, value, trail)

    def get(self, key: str, default: Any = None) -> Any:
        """What is there, recorded; the default as it is."""
        if not dict.__contains__(self, key):
            return default
        value = dict.__getitem__(self, key)
        trail = self._step(key)
        if value is None or value is True or value is False:
            _refuse_is(value, sys._getframe(1), trail)
        return self._taken(key, value, trail)

    def _step(self, key: str) -> Trail:
        if self._cove_own is not None and key in self._cove_own:
            return Trail(None)
        return self._cove_trail / key

    def _taken(self, key: str, value: Any, trail: Trail) -> Any:
        cls = type(value)
        if cls is RecordedDict or issubclass(cls, RecordedList):
            return value
        wrapped = _wrapped(value, trail)
        if cls is dict or cls is list:
            dict.__setitem__(self, key, wrapped)
        return wrapped

    def _items(self, caller: FrameType | None = None) -> Any:
        return dict.items(self) if _encodes(caller or sys._getframe(1)) else _Items(self)

    def _values(self, caller: FrameType | None = None) -> Any:
        return dict.values(self) if _encodes(caller or sys._getframe(1)) else _Values(self)

    @property
    def items(self) -> Any:
        """The method of dict; where the document has a list of that name, that list: call it."""
        return self._listed("items", self._items)

    @property
    def values(self) -> Any:
        """As ``items``."""
        return self._listed("values", self._values)

    def _listed(self, name: str, method: Callable[[], Any]) -> Any:
        value = dict.get(self, name)
        if isinstance(value, list):
            trail = self._step(name)
            if not isinstance(value, _CallableList):
                value = _CallableList(value, trail)
                dict.__setitem__(self, name, value)
            value._cove_method = method
            return value
        if value is None:
            node = self._cove_trail.node
            if node is not None and name in node.fields:
                return _scalars.RecordedUnset(self._cove_trail / name, method)
        return method

    # -- attributes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        key = name
        if not dict.__contains__(self, name):
            node = self._cove_trail.node
            key = key_of(name, self, node) or self._unset(name, node)
        trail = self._step(key)
        value = dict.get(self, key)
        if value is None or value is True or value is False:
            _refuse_is(value, sys._getframe(1), trail)
        return self._taken(key, value, trail)

    def _unset(self, name: str, node: Node | None) -> str:
        """The key of an attribute that is not there; AttributeError where there can be none."""
        if name.startswith("_"):
            raise AttributeError(name)
        if node is None or node.type == "map":
            return name if node is not None else camel(name)
        about = node.name.rpartition(".")[2] or dotted(self._cove_trail.path)
        near = suggestion(name, [*node.fields, *self])
        raise AttributeError(f"{about} has no field {name!r}{near}")

    def __setattr__(self, name: str, value: Any) -> None:
        node = self._cove_trail.node
        self[key_of(name, self, node) or self._unset(name, node)] = value

    def __delattr__(self, name: str) -> None:
        key = key_of(name, self, self._cove_trail.node)
        if key is None or not dict.__contains__(self, key):
            raise AttributeError(f"{name!r} is not set")
        del self[key]

    def __dir__(self) -> Iterable[str]:
        node = self._cove_trail.node
        fields = node.fields if node is not None else {}
        return {*object.__dir__(self), *fields, *self}

    # -- changes: values are kept plain, and are the test's own from then on

    def _mine(self, keys: Iterable[str]) -> None:
        _set_own(self, {*(self._cove_own or ()), *keys})

    def __setitem__(self, key: str, value: Any) -> None:
        dict.__setitem__(self, unwrap(key), unwrap(value))
        self._mine([unwrap(key)])

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As of a dict."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **more: Any) -> None:
        """As of a dict."""
        new = unwrap(dict(*others, **more))
        dict.update(self, new)
        self._mine(new)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        self.update(other)
        return self

    def pop(self, key: str, *default: Any) -> Any:
        """As of a dict."""
        if default and key not in self:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """As of a dict."""
        key, value = dict.popitem(self)
        return key, _wrapped(value, self._step(key))

    def copy(self) -> RecordedDict:
        """A copy of this level, with the same origin."""
        return self.__copy__()

    def __copy__(self) -> RecordedDict:
        made = type(self)(self, self._cove_trail)
        _set_own(made, set(self._cove_own) if self._cove_own else None)
        return made

    def __deepcopy__(self, memo: Any) -> RecordedDict:
        made = type(self)(unwrap(self), self._cove_trail)
        _set_own(made, set(self._cove_own) if self._cove_own else None)
        return made

    def __contains__(self, key: object) -> bool:
        return self._contains(dict.__contains__(self, key), key)


_set_trail = RecordedDict.__dict__["_cove_trail"].__set__
_set_own = RecordedDict.__dict__["_cove_own"].__set__


class _Items(ItemsView[str, Any]):
    """Wrapped values with their keys."""

    _mapping: RecordedDict

    def __reversed__(self) -> Iterator[tuple[str, Any]]:
        for key in reversed(list(self._mapping)):
            yield key, self._mapping[key]


class _Values(ValuesView[Any]):
    """Wrapped values."""

    _mapping: RecordedDict

    def __reversed__(self) -> Iterator[Any]:
        for key in reversed(list(self._mapping)):
            yield self._mapping[key]


class RecordedList(_Container, list[Any]):
    """A list of an answer.  What is put into it is the test's own."""

    __slots__ = ("_cove_changed", "_cove_places", "_cove_trail")
    __hash__: ClassVar[None]

    def __init__(self, value: Iterable[Any], trail: Trail, places: range | None = None) -> None:
        list.__init__(self, list.__iter__(value) if isinstance(value, list) else value)
        self._cove_trail = trail
        # Where elements of a slice are in the whole; None for the whole itself.
        self._cove_places = places
        self._cove_changed = False

    def _step(self, index: int) -> Trail:
        if self._cove_changed:
            return Trail(None)
        place = self._cove_places[index] if self._cove_places is not None else index
        return self._cove_trail / place

    def _taken(self, index: int) -> Any:
        value = list.__getitem__(self, index)
        cls = type(value)
        if cls is RecordedDict or issubclass(cls, RecordedList):
            return value
        wrapped = _wrapped(value, self._step(index))
        if cls is dict or cls is list:
            list.__setitem__(self, index, wrapped)
        return wrapped

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            places = (self._cove_places or range(list.__len__(self)))[key]
            made = RecordedList(list.__getitem__(self, key), self._cove_trail, places)
            made._cove_changed = self._cove_changed
            return made
        value = list.__getitem__(self, key)
        index = key.__index__()
        index += list.__len__(self) if index < 0 else 0
        if value is None or value is True or value is False:
            _refuse_is(value, sys._getframe(1), self._step(index))
        return self._taken(index)

    def __iter__(self) -> Iterator[Any]:
        return list.__iter__(self) if _encodes(sys._getframe(1)) else self._each()

    def _each(self) -> Iterator[Any]:
        index = 0
        while index < list.__len__(self):
            yield self._taken(index)
            index += 1

    def __reversed__(self) -> Iterator[Any]:
        for index in range(list.__len__(self) - 1, -1, -1):
            yield self._taken(index)

    def __contains__(self, item: object) -> bool:
        return self._contains(list.__contains__(self, item), item)

    def __add__(self, other: Any) -> Any:
        return list(self) + list(other) if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return list(other) + list(self)

    # -- changes

    def _change(self) -> None:
        """What is in it is looked at now, so that it keeps its origin wherever it goes."""
        for index, value in enumerate(list.__iter__(self)):
            if type(value) in (dict, list):
                self._taken(index)
        self._cove_changed = True

    def __setitem__(self, key: Any, value: Any) -> None:
        self._change()
        list.__setitem__(
            self, key, unwrap(list(value)) if isinstance(key, slice) else unwrap(value)
        )

    def __delitem__(self, key: Any) -> None:
        self._change()
        list.__delitem__(self, key)

    def __iadd__(self, other: Any) -> Any:
        self.extend(other)
        return self

    def append(self, value: Any) -> None:
        """As of a list."""
        self._change()
        list.append(self, unwrap(value))

    def extend(self, values: Iterable[Any]) -> None:
        """As of a list."""
        self._change()
        list.extend(self, [unwrap(value) for value in values])

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """As of a list."""
        self._change()
        list.insert(self, index, unwrap(value))

    def pop(self, index: SupportsIndex = -1) -> Any:
        """As of a list."""
        value = self[index]
        del self[index]
        return value

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        """As of a list."""
        self._change()
        list.sort(self, key=key, reverse=reverse)

    def reverse(self) -> None:
        """As of a list."""
        self._change()
        list.reverse(self)

    def copy(self) -> RecordedList:
        """A copy of this level, with the same origin."""
        return self.__copy__()

    def __copy__(self) -> RecordedList:
        made = RecordedList(self, self._cove_trail, self._cove_places)
        made._cove_changed = self._cove_changed
        return made

    def __deepcopy__(self, memo: Any) -> RecordedList:
        made = RecordedList(unwrap(self), self._cove_trail, self._cove_places)
        made._cove_changed = self._cove_changed
        return made


class _CallableList(RecordedList):
    """A list whose name is a method of dict: as an attribute it is the list, called it is that."""

    __slots__ = ("_cove_method",)
    _cove_method: Callable[..., Any]

    def __call__(self) -> Any:
        return self._cove_method(sys._getframe(1))


for _cls, _base, _names in (
    (RecordedDict, dict, {"__eq__": "==", "__ne__": "!="}),
    (
        RecordedList,
        list,
        {
            "__eq__": "==",
            "__ne__": "!=",
            "__lt__": "<",
            "__le__": "<=",
            "__gt__": ">",
            "__ge__": ">=",
        },
    ),
):
    for _name, _operator in _names.items():
        setattr(_cls, _name, _compares(_base, _name, _operator))
    _cls.__hash__ = None
