"""The worst cost of an expression over values as large as their schema allows.

cel-cpp does not estimate; this is cel-go's arithmetic on cel-cpp's checked expressions.

Source: ``github.com/google/cel-go/checker/cost.go`` and
``k8s.io/apiserver/pkg/cel/library/cost.go``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cove.kube.cel._ast import Ast, Expr, Type
from cove.kube.cel._types import DeclType

__all__ = ["MOST", "estimate", "times"]

MOST = 2**64 - 1
STRING = 0.1
REGEX = 0.25
_LIST, _MAP, _STRUCT = 10, 30, 40
_SCALARS = frozenset(("bool", "double", "duration", "int", "timestamp", "uint"))
Path = tuple[str, ...]


class Range(NamedTuple):
    """A size or a cost: at least and at most, the latter saturating."""

    least: int
    most: int

    def __add__(self, other: Range) -> Range:  # type: ignore[override]  # sums, not tuples
        return Range(min(MOST, self.least + other.least), min(MOST, self.most + other.most))

    def by(self, other: Range) -> Range:
        """The product."""
        return Range(times(self.least, other.least), times(self.most, other.most))

    def factor(self, unit: float) -> Range:
        """The cost of so many units, rounded up."""
        return Range(_scaled(self.least, unit), _scaled(self.most, unit))

    def union(self, other: Range) -> Range:
        """From the smaller to the larger."""
        return Range(min(self.least, other.least), max(self.most, other.most))


def times(a: int, b: int) -> int:
    """A product that stays below 2^64."""
    return min(MOST, a * b)


def _scaled(size: int, unit: float) -> int:
    product = float(size) * unit
    return MOST if product >= 2.0**64 else math.ceil(product)


def fixed(size: int) -> Range:
    """A size that is known."""
    return Range(size, size)


UNKNOWN = Range(0, MOST)
ONE = fixed(1)
NOTHING = fixed(0)


class _Entry(NamedTuple):
    kind: str
    key: Range
    value: Range

    def union(self, other: _Entry | None) -> _Entry | None:
        if other is None:
            return None
        return _Entry(self.kind, self.key.union(other.key), self.value.union(other.value))


class _Local(NamedTuple):
    path: Path
    size: Range | None
    entry: _Entry | None


def estimate(ast: Ast, root: DeclType) -> int:
    """The highest cost of the expression over values of type ``root``, in CEL's cost units."""
    return _Coster(ast, root).cost(ast.root).most


class _Coster:
    def __init__(self, ast: Ast, root: DeclType) -> None:
        self.ast = ast
        self.root = root
        self.paths: dict[int, Path] = {}
        self.locals: dict[str, list[_Local]] = {}
        self.sizes: dict[int, Range] = {}
        self.entries: dict[int, _Entry] = {}

    def type(self, e: Expr) -> Type:
        return self.ast.types.get(e.id, _DYN)

    # -- sizes

    def path(self, e: Expr) -> Path:
        if e.kind == "ident" and (local := self.local(e.name)) is not None:
            return local.path
        return self.paths.get(e.id, ())

    def local(self, name: str) -> _Local | None:
        stack = self.locals.get(name)
        return stack[-1] if stack else None

    def by_schema(self, path: Path) -> Range | None:
        """The size that the schema allows at a path from ``self``."""
        if not path:
            return None
        here: DeclType | None = self.root
        for name in path[1:]:
            if here is None:
                return None
            if name in ("@items", "@values"):
                here = here.items
            elif name == "@keys":
                return Range(0, _KEY_MOST) if here.kind == "map" else None
            elif name == "@indices":
                return None
            else:
                here = here.fields.get(name)
        return None if here is None else Range(0, here.most)

    def size(self, e: Expr) -> Range | None:
        known = self.sizes.get(e.id)
        if known is not None:
            return known
        if e.kind == "const":
            return fixed(len(e.value)) if isinstance(e.value, (str, bytes)) else ONE
        if e.kind == "list":
            return fixed(len(e.args))
        if e.kind == "map":
            return fixed(len(e.args) // 2)
        found = self.by_schema(self.path(e))
        if found is not None:
            self.sizes[e.id] = found
            return found
        if _is_scalar(self.type(e)):
            return ONE
        if e.kind == "ident" and (local := self.local(e.name)) is not None:
            return local.size
        return None

    def size_or_unknown(self, e: Expr) -> Range:
        found = self.size(e)
        return UNKNOWN if found is None else found

    def entry(self, e: Expr) -> _Entry | None:
        known = self.entries.get(e.id)
        if known is None and e.kind == "ident" and (local := self.local(e.name)) is not None:
            return local.entry
        return known

    # -- costs

    def cost(self, e: Expr) -> Range:
        kind = e.kind
        if kind == "ident":
            local = self.local(e.name)
            self.paths[e.id] = local.path if local is not None else (e.name,)
            return ONE
        if kind == "select":
            return self._select(e)
        if kind == "call":
            return self._call(e)
        if kind == "list":
            return self._list(e)
        if kind == "map":
            return self._map(e)
        if kind == "struct":
            return sum((self.cost(a) for a in e.args), NOTHING) + fixed(_STRUCT)
        if kind == "comprehension":
            return self._bind(e) if self._is_bind(e) else self._comprehension(e)
        return NOTHING

    def _select(self, e: Expr) -> Range:
        operand = e.args[0]
        total = self.cost(operand)
        if e.test_only:
            # Free, as before cel-go 0.17.7: Kubernetes has kept that (PresenceTestHasCost).
            return total
        if self.type(operand).kind in ("map", "struct", "type_param"):
            total = total + ONE
        self.paths[e.id] = (*self.path(operand), e.name)
        return total

    def _list(self, e: Expr) -> Range:
        total = NOTHING
        item = Range(MOST if e.args else 0, 0)
        for element in e.args:
            total = total + self.cost(element)
            item = item.union(self.size_or_unknown(element))
        self.entries[e.id] = _Entry("list", ONE, item)
        return total + fixed(_LIST)

    def _map(self, e: Expr) -> Range:
        total = NOTHING
        key = value = Range(MOST if e.args else 0, 0)
        for index, part in enumerate(e.args):
            total = total + self.cost(part)
            if index % 2:
                value = value.union(self.size_or_unknown(part))
            else:
                key = key.union(self.size_or_unknown(part))
        self.entries[e.id] = _Entry("map", key, value)
        return total + fixed(_MAP)

    def _push(self, name: str, local: _Local) -> None:
        self.locals.setdefault(name, []).append(local)

    def _push_iteration(self, e: Expr) -> None:
        source = e.args[0]
        entry = self.entry(source)
        kind = entry.kind if entry is not None else self.type(source).kind
        is_list = kind == "list"
        path = self.path(source)
        if len(e.variables) > 1:
            parts = [
                ("@indices" if is_list else "@keys", entry.key if entry else None),
                ("@items" if is_list else "@values", entry.value if entry else None),
            ]
        elif is_list:
            parts = [("@items", entry.value if entry else None)]
        else:
            parts = [("@keys", entry.key if entry else None)]
        for name, (step, size) in zip(e.variables, parts, strict=False):
            self._push(name, _Local((*path, step), size, None))

    def _comprehension(self, e: Expr) -> Range:
        source, start, condition, step, result = e.args
        total = self.cost(source) + self.cost(start)
        self._push(e.accu, _Local(self.path(start), self.size(start), self.entry(start)))
        self._push_iteration(e)
        loop = self.cost(condition)
        each = self.cost(step)
        for name in e.variables:
            self.locals[name].pop()
        total = total + self.cost(result)
        self.locals[e.accu].pop()
        count = self.size_or_unknown(source)
        total = total + count.by(each + loop)
        if start.kind == "const":
            size = self.size(start)
            if size is not None:
                self.sizes[e.id] = size
        elif start.kind in ("list", "map"):
            self.sizes[e.id] = count
            entry = self.entry(step)
            if entry is not None:
                self.entries[e.id] = entry
        return total

    @staticmethod
    def _is_bind(e: Expr) -> bool:
        source, _, condition = e.args[:3]
        return (
            source.kind == "list"
            and not source.args
            and condition.kind == "const"
            and condition.value is False
            and e.accu not in ("__result__", "@result")
        )

    def _bind(self, e: Expr) -> Range:
        source, start, _, _, result = e.args
        total = self.cost(source) + self.cost(start)
        self._push(e.accu, _Local(self.path(start), self.size(start), self.entry(start)))
        total = total + self.cost(result)
        self.locals[e.accu].pop()
        self._copy(e, result)
        return total

    def _copy(self, e: Expr, source: Expr) -> None:
        """An expression is as large as what it only passes on."""
        size, entry = self.size(source), self.entry(source)
        if size is not None:
            self.sizes[e.id] = size
        if entry is not None:
            self.entries[e.id] = entry

    def _call(self, e: Expr) -> Range:
        if e.name == "dyn" and len(e.args) == 1:
            total = ONE + self.cost(e.args[0])
            self._copy(e, e.args[0])
            return total
        costs = [self.cost(a) for a in e.args]
        overloads = self.ast.overloads.get(e.id)
        if not overloads:
            return NOTHING
        total = self.cost(e.target) if e.target is not None else NOTHING
        own = Range(MOST, 0)
        size: Range | None = None
        for overload in overloads:
            found, result = self._function(e, overload, costs)
            own = own.union(found)
            if result is not None:
                size = result if size is None else size.union(result)
            if overload in ("index_list", "index_map") and e.args:
                entry = self.entry(e.args[0])
                size = entry.value if entry is not None else None
                step = "@items" if overload == "index_list" else "@values"
                self.paths[e.id] = (*self.path(e.args[0]), step)
            if size is None:
                size = self.size(e)
        if size is not None:
            self.sizes[e.id] = size
        return total + own

    def _function(self, e: Expr, overload: str, costs: list[Range]) -> tuple[Range, Range | None]:
        """The cost of a call with its arguments, and the size of what it gives."""
        arguments = sum(costs, NOTHING)
        known = self._library(e, overload)
        if known is not None:
            return known[0] + arguments, known[1]
        args = e.args
        if overload in ("starts_with_string", "ends_with_string") and len(args) == 1:
            return self.size_or_unknown(args[0]).factor(STRING) + arguments, None
        if overload == "in_list" and len(args) == 2:
            return self.size_or_unknown(args[1]).factor(1) + arguments, None
        if overload == "matches_string" and e.target is not None and len(args) == 1:
            text = (self.size_or_unknown(e.target) + ONE).factor(STRING)
            return text.by(self.size_or_unknown(args[0]).factor(REGEX)) + arguments, None
        if overload == "contains_string" and e.target is not None and len(args) == 1:
            text = self.size_or_unknown(e.target).factor(STRING)
            return text.by(self.size_or_unknown(args[0]).factor(STRING)) + arguments, None
        if overload in ("logical_or", "logical_and"):
            return Range(costs[0].least, (costs[0] + costs[1]).most), None
        if overload == "conditional":
            size = self.size_or_unknown(args[1]).union(self.size_or_unknown(args[2]))
            entry = self.entry(args[1])
            joined = entry.union(self.entry(args[2])) if entry is not None else None
            if joined is not None:
                self.entries[e.id] = joined
            return costs[0] + costs[1].union(costs[2]), size
        if overload in ("add_string", "add_bytes", "add_list") and len(args) == 2:
            size = self.size_or_unknown(args[0]) + self.size_or_unknown(args[1])
            entry = self.entry(args[0])
            joined = entry.union(self.entry(args[1])) if entry is not None else None
            if joined is not None:
                self.entries[e.id] = joined
            return (ONE if overload == "add_list" else size.factor(STRING)) + arguments, size
        if overload in _COMPARISONS and len(args) == 2:
            most = min(self.size_or_unknown(args[0]).most, self.size_or_unknown(args[1]).most)
            return Range(1 if most > 0 else 0, most).factor(STRING) + arguments, None
        if overload == "string_to_bytes" and args:
            size = self.size_or_unknown(args[0])
            grown = Range(size.least, min(MOST, size.most * 4))
            return size.factor(STRING) + arguments, grown
        if overload == "bytes_to_string" and args:
            size = self.size_or_unknown(args[0])
            return size.factor(STRING) + arguments, Range(size.least // 4, size.most)
        return ONE + arguments, None

    def _library(self, e: Expr, overload: str) -> tuple[Range, Range | None] | None:
        """What Kubernetes says of its functions and of some of CEL's extensions."""
        name, args, target = e.name, e.args, e.target
        if name in ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"):
            return None if target is None else (self._traversal(name, target), None)
        if name == "url" and len(args) == 1:
            size = self.size_or_unknown(args[0])
            return size.factor(STRING), size
        if name in ("lowerAscii", "upperAscii", "substring", "trim") and target is not None:
            size = self.size_or_unknown(target)
            return size.factor(STRING), size
        if name == "replace" and target is not None and len(args) >= 2:
            return self._replace(target, args)
        if name == "split" and target is not None:
            size = self.size_or_unknown(target)
            most = size.most
            if len(args) > 1 and isinstance(args[1].value, int):
                most = args[1].value % 2**64
            return size.factor(2 * STRING), Range(0, most)
        if name == "join" and target is not None:
            return self._join(target, args)
        if name in ("find", "findAll") and target is not None and args:
            size = self.size_or_unknown(target)
            pattern = self.size_or_unknown(args[0]).factor(REGEX)
            return (size + ONE).factor(STRING).by(pattern), Range(0, size.most)
        if name == "ip" and overload == "cidr_ip":
            return ONE, None
        if name in _PARSERS and args:
            return self.size_or_unknown(args[0]).factor(STRING), None
        if name == "ip.isCanonical" and args:
            return self.size_or_unknown(args[0]).factor(2 * STRING), None
        if name in ("containsIP", "containsCIDR") and args:
            bits = Range(4, 16)
            total = (bits + bits).factor(STRING)
            if name == "containsCIDR":
                total = total + bits.factor(STRING) + ONE
            if overload.endswith("_string"):
                total = total + self.size_or_unknown(args[0]).factor(STRING)
            return total, None
        if name == "validate" and args:
            return self.size_or_unknown(args[0]).factor(STRING).factor(128 * REGEX), None
        if name in _CHEAP:
            return ONE, None
        if name == "_==_" and len(args) == 2:
            left, right = self.type(args[0]), self.type(args[1])
            if left.name == right.name and left.name in _CHEAP_TYPES:
                return ONE, None
        return None

    def _traversal(self, name: str, target: Expr) -> Range:
        size = self.size_or_unknown(target)
        parameters = self.type(target).parameters
        if parameters:
            each = ONE
            if parameters[0].kind in ("string", "bytes"):
                path = self.path(target)
                item = self.by_schema((*path, "@items")) if path else None
                each = each + (item or UNKNOWN).factor(STRING)
            return size.by(each)
        return size.by(ONE) if name == "includes" else size.factor(STRING)

    def _join(self, target: Expr, args: list[Expr]) -> tuple[Range, Range | None]:
        count = self.size_or_unknown(target)
        size = NOTHING
        if self.type(target).parameters:
            path = self.path(target)
            item = self.by_schema((*path, "@items")) if path else None
            size = count.by(item or UNKNOWN)
        if args:
            between = Range(max(0, count.least - 1), max(0, count.most - 1))
            size = size + self.size_or_unknown(args[0]).by(between)
        return size.factor(STRING), size

    def _replace(self, target: Expr, args: list[Expr]) -> tuple[Range, Range | None]:
        size = self.size_or_unknown(target)
        old, new = self.size_or_unknown(args[0]), self.size_or_unknown(args[1])
        most_count = most_kept = least_count = least_kept = 0
        if old.least == 0:
            most_count = min(MOST, size.most + 1)
            most_kept = size.most
        elif new.most <= old.least:
            most_kept = size.most
        else:
            most_count = math.ceil(size.most / old.least)
        if old.most == 0:
            least_count = min(MOST, size.least + 1)
            least_kept = size.least
        elif old.most <= new.least:
            least_kept = size.least
        else:
            least_count = math.ceil(size.least / old.most)
        result = Range(least_count, most_count).by(new) + Range(least_kept, most_kept)
        return size.factor(2 * STRING), result


_DYN = Type("dyn")
# What a map's key can be long; EstimateSize gives a string type's bound, which keys do not set.
_KEY_MOST = 0
_COMPARISONS = frozenset(
    f"{how}_{kind}"
    for how in ("less", "greater", "less_equals", "greater_equals")
    for kind in ("string", "bytes")
) | {"equals", "not_equals"}
_PARSERS = frozenset(
    ("cidr", "isIP", "isCIDR", "ip", "quantity", "isQuantity", "semver", "isSemver")
)
_CHEAP = frozenset(
    [
        "masked",
        "prefixLength",
        "family",
        "isUnspecified",
        "isLoopback",
        "isLinkLocalMulticast",
        "isLinkLocalUnicast",
        "isGlobalUnicast",
        "format.named",
        "sign",
        "asInteger",
        "isInteger",
        "asApproximateFloat",
        "isGreaterThan",
        "isLessThan",
        "compareTo",
        "add",
        "sub",
        "major",
        "minor",
        "patch",
        "getScheme",
        "getHostname",
        "getHost",
        "getPort",
        "getEscapedPath",
        "getQuery",
    ]
)
_CHEAP_TYPES = frozenset(("net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver"))


def _is_scalar(type: Type) -> bool:
    if type.kind == "opaque" and type.name == "optional_type" and type.parameters:
        return _is_scalar(type.parameters[0])
    return type.kind in _SCALARS
