"""Rules at the time their schema is written: types, and what they may cost.

Source: ``pkg/apis/apiextensions/validation/cel_validation.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cove.kube import field_errors as fe
from cove.kube.cel._types import REQUEST_BYTES, DeclType, decl_type
from cove.kube.field_errors import FieldError
from cove.kube.structural import Schema

__all__ = ["Checked", "SchemaContext", "Total"]

RULE_LIMIT = 10_000_000
SCHEMA_LIMIT = 100_000_000
_MOST = 2**64 - 1
_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
    "maps, and strings are declared)"
)


class Checked(NamedTuple):
    """What is known of a rule: faults, and costs in CEL's units (None: no such expression)."""

    error: str = ""
    message_error: str = ""
    cost: int = 0
    message_cost: int | None = None
    uses_old_self: bool = False


def _too_much(what: str, cost: int, limit: int) -> str:
    times = cost / limit
    if times > 100:
        factor = "more than 100x"
    elif times < 1.5:
        factor = f"{times:f}x"
    else:
        factor = f"{times:.1f}x"
    return f"{what} exceeds budget by factor of {factor} {_ADVICE}"


class Total:
    """What all rules of a schema cost together."""

    def __init__(self) -> None:
        self.cost = 0
        self._dearest: list[tuple[int, str]] = []

    def observe(self, path: str, cost: int) -> None:
        """Add a rule's cost."""
        self.cost = min(_MOST, self.cost + cost)
        if cost >= SCHEMA_LIMIT // 100:
            self._dearest.append((cost, path))
            self._dearest.sort(key=lambda row: -row[0])
            del self._dearest[4:]

    def errors(self, path: str) -> list[FieldError]:
        """What is wrong with the sum; ``path`` is the schema's."""
        if self.cost <= SCHEMA_LIMIT:
            return []
        why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        errors = [fe.forbidden(where, why) for _, where in self._dearest]
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        errors.append(fe.forbidden(path, _too_much(name, self.cost, SCHEMA_LIMIT)))
        return errors


class SchemaContext:
    """A place in a schema that rules may be at: its type, and how often it can exist.

    ``cardinality`` is None where nothing above bounds it.
    """

    def __init__(
        self, schema: Schema | None, root: bool, cardinality: int | None, total: Total
    ) -> None:
        self._schema = schema
        self._root = root
        self._cardinality = cardinality
        self.total = total
        self._checker: Any = None

    @classmethod
    def root(cls, schema: Schema) -> SchemaContext:
        """The context of a resource's whole schema."""
        return cls(schema, True, 1, Total())

    def _child(self, schema: Schema | None) -> SchemaContext:
        times = None
        if self._schema is not None and self._cardinality is not None:
            most = _most_elements(self._schema)
            times = None if most is None else min(_MOST, self._cardinality * most)
        root = schema is not None and schema.embedded
        return SchemaContext(schema, root, times, self.total)

    def property(self, name: str) -> SchemaContext:
        """The context of a field."""
        return self._child(self._schema.properties.get(name) if self._schema else None)

    def items(self) -> SchemaContext:
        """The context of a list's elements."""
        return self._child(self._schema.items if self._schema else None)

    def values(self) -> SchemaContext:
        """The context of a map's values."""
        return self._child(self._schema.values if self._schema else None)

    def _type(self) -> DeclType | None:
        return None if self._schema is None else decl_type(self._schema, root=self._root)

    def times(self, cost: int) -> int:
        """The cost of a rule as often as its place can exist."""
        type = self._type()
        if self._cardinality is not None:
            return min(_MOST, cost * self._cardinality)
        least = 0 if type is None else type.least
        return min(_MOST, cost * (REQUEST_BYTES // (least + 1)))

    def judge(
        self, cost: int, what: str, path: str, errors: list[FieldError], *, once: bool = False
    ) -> None:
        """Add an error if a single expression costs too much."""
        cost = cost if once else self.times(cost)
        if cost > RULE_LIMIT:
            errors.append(fe.forbidden(path, _too_much(what, cost, RULE_LIMIT)))

    def check(self, rule: Mapping[str, Any]) -> Checked:
        """Compile a rule and its messageExpression."""
        from cove.kube.cel._ast import read
        from cove.kube.cel._cost import estimate
        from cove.kube.cel._env import Checker

        source = rule.get("rule") or ""
        type = self._type()
        if not source.strip() or type is None:
            return Checked()
        if self._checker is None:
            self._checker = Checker(type)
        optional = bool(rule.get("optionalOldSelf"))
        found = self._checker.compile(source, optional_old_self=optional)
        if found.error:
            return Checked(error=f"compilation failed: {found.error}")
        if found.result != "BOOL":
            return Checked(error="cel expression must evaluate to a bool")
        ast = read(found.serialized)
        uses = "oldSelf" in ast.names or "oldSelf_" in ast.names
        if optional:
            from cove.kube.cel._rules import _OLD_SELF, _without_strings

            uses = _OLD_SELF.search(_without_strings(source)) is not None
        cost = estimate(ast, type)
        message = rule.get("messageExpression") or ""
        if not message:
            return Checked(cost=cost, uses_old_self=uses)
        told = self._checker.compile(message, optional_old_self=optional)
        if told.error:
            why = f"messageExpression compilation failed: {told.error}"
            return Checked(message_error=why, cost=cost, uses_old_self=uses)
        if told.result != "STRING":
            why = "messageExpression must evaluate to a string"
            return Checked(message_error=why, cost=cost, uses_old_self=uses)
        return Checked(
            cost=cost,
            message_cost=estimate(read(told.serialized), type),
            uses_old_self=uses,
        )


def _most_elements(schema: Schema) -> int | None:
    """How many children one value of a schema can have; None: no bound."""
    if schema.type == "object" and schema.additional is not None:
        most = schema.document.get("maxProperties")
    elif schema.type == "array":
        most = schema.document.get("maxItems")
    else:
        return 1
    return None if most is None else max(0, int(most))
