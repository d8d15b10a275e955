"""x-kubernetes-validations on objects: rules, transition rules, ratcheting.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
and ``pkg/apiserver/schema/cel/validation.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.cel._types import DeclType, decl_type
from cove.kube.cel._values import converter
from cove.kube.field_errors import FieldError
from cove.kube.structural import (
    ABSENT,
    FieldPathError,
    Schema,
    correlate,
    find_field,
    same,
)

__all__ = ["Rules", "rules"]

Errors = list[FieldError]
Warn = Callable[[str], None]
_OLD_SELF = re.compile(r"\boldSelf\b")
MESSAGE_BYTES = 5 * 1024


class Rules:
    """The rules of a schema and of all below it; programs are compiled when first needed."""

    def __init__(self, schema: Schema, type: DeclType | None) -> None:
        self._schema = schema
        self._own = [_Rule(rule, schema, type) for rule in schema.rules] if type is not None else []
        self._convert = converter(type) if type is not None and self._own else None
        self._items = _below(schema.items)
        self._values = _below(schema.values)
        self._properties = {
            name: found
            for name, inner in schema.properties.items()
            if (found := _below(inner)) is not None
        }

    @property
    def empty(self) -> bool:
        """Whether there is nothing to check here or below."""
        return not (self._own or self._items or self._values or self._properties)

    def validate(
        self,
        value: Any,
        old: Any,
        path: str = "",
        *,
        ratchet: bool = False,
        warn: Warn | None = None,
    ) -> Errors:
        """The rules that ``value`` breaks; ``old`` is the value before, None without one.

        With ``ratchet``, broken rules of what has not changed are told to ``warn`` only.
        """
        errors: Errors = []
        before = old if ratchet else ABSENT
        self._validate(value, old, before, path, errors, warn, root=True)
        return errors

    def _validate(
        self,
        value: Any,
        old: Any,
        before: Any,
        path: str,
        errors: Errors,
        warn: Warn | None,
        *,
        root: bool = False,
    ) -> None:
        """``before`` is the correlated old value for ratcheting, ABSENT where there is none."""
        if value is None:
            return
        if self._own:
            self._evaluate(value, old, before, path, errors, warn)
        if value.__class__ is list:
            if self._items is not None:
                find = None
                if self._schema.list_type == "map" and old.__class__ is list:
                    find = correlate(old, self._schema.list_keys)
                unchanged = before is not ABSENT and same(before, value)
                for index, item in enumerate(value):
                    was = ABSENT if find is None else find(item)
                    kept = item if unchanged else was if before is not ABSENT else ABSENT
                    place = f"{path}[{index}]"
                    previous = None if was is ABSENT else was
                    self._items._validate(item, previous, kept, place, errors, warn)
        elif value.__class__ is dict:
            olds: Mapping[str, Any] = old if old.__class__ is dict else {}
            befores: Mapping[str, Any] = before if before.__class__ is dict else {}
            if self._values is not None:
                for name, item in value.items():
                    self._values._validate(
                        item,
                        olds.get(name),
                        befores.get(name, ABSENT),
                        f"{path}[{name}]",
                        errors,
                        warn,
                    )
            for name, inner in self._properties.items():
                if name in value:
                    inner._validate(
                        value[name],
                        olds.get(name),
                        befores.get(name, ABSENT),
                        f"{path}.{name}" if path else name,
                        errors,
                        warn,
                    )

    def _evaluate(
        self, value: Any, old: Any, before: Any, path: str, errors: Errors, warn: Warn | None
    ) -> None:
        convert = self._convert
        seen = value if convert is None else convert(value)
        seen_old = old if convert is None or old is None else convert(old)
        unchanged: bool | None = None
        for rule in self._own:
            error = rule.evaluate(value, seen, seen_old, path)
            if error is None:
                continue
            if not rule.uses_old_self and not rule.failed:
                if unchanged is None:
                    unchanged = before is not ABSENT and same(before, value)
                if unchanged:
                    if warn is not None:
                        warn(f"{error.field}: {error.text}")
                    continue
            errors.append(error)


def _below(schema: Schema | None) -> Rules | None:
    if schema is None:
        return None
    return rules(schema, root=schema.embedded)


def rules(schema: Schema, *, root: bool = False) -> Rules | None:
    """The rules of a schema, None where it has none.  ``root``: it is a resource's."""
    key = "cel/rules/root" if root else "cel/rules"
    if key not in schema.cache:
        found: Rules | None = None
        if _has_rules(schema):
            found = Rules(schema, decl_type(schema, root=root))
            if found.empty:
                found = None
        schema.cache[key] = found
    result: Rules | None = schema.cache[key]
    return result


def _has_rules(schema: Schema) -> bool:
    known = schema.cache.get("cel/has")
    if known is None:
        known = schema.cache["cel/has"] = bool(
            schema.rules
            or (schema.items is not None and _has_rules(schema.items))
            or (schema.values is not None and _has_rules(schema.values))
            or any(_has_rules(inner) for inner in schema.properties.values())
        )
    return bool(known)


class _Rule:
    """One rule.  ``failed``: its last evaluation ended in an error rather than in false."""

    __slots__ = (
        "_field",
        "_message_program",
        "_program",
        "failed",
        "optional",
        "rule",
        "text",
        "type",
        "uses_old_self",
    )

    def __init__(self, rule: Mapping[str, Any], schema: Schema, type: DeclType) -> None:
        self.rule = rule
        self.text: str = rule.get("rule") or ""
        self.type = schema.type
        self.uses_old_self = _OLD_SELF.search(_without_strings(self.text)) is not None
        self.optional = bool(rule.get("optionalOldSelf"))
        self._program: Any = None
        self._message_program: Any = None
        self.failed = False
        self._field = ""
        if rule.get("fieldPath"):
            try:
                self._field = find_field(schema, rule["fieldPath"])[0]
            except FieldPathError:
                self._field = ""

    @property
    def shown(self) -> str:
        """How errors name the rule."""
        message = self.rule.get("message") or ""
        return str(message or self.text).strip()

    def evaluate(self, value: Any, seen: Any, old: Any, path: str) -> FieldError | None:
        """What is wrong by this rule, None if nothing is."""
        from cove.kube.cel._env import EvaluationError, program

        self.failed = False
        if not self.text.strip() or (self.uses_old_self and old is None and not self.optional):
            return None
        if self._program is None:
            self._program = program(self.text, optional_old_self=self.optional)
        if isinstance(self._program, str):
            self.failed = True
            return fe.invalid(path or NO_FIELD, self.type, f"rule compile error: {self._program}")
        try:
            if self._program.evaluate(seen, old) is True:
                return None
        except EvaluationError as error:
            self.failed = True
            return fe.invalid(path or NO_FIELD, self.type, self._why(str(error)))
        return self._broken(value, seen, old, path)

    def _why(self, text: str) -> str:
        if text.startswith("no such overload"):
            return (
                f"'{text}': call arguments did not match a supported operator, function or macro "
                f"signature for rule: {self.shown}"
            )
        return f"{text} evaluating rule: {self.shown}"

    def _broken(self, value: Any, seen: Any, old: Any, path: str) -> FieldError:
        field = f"{path}.{self._field}" if path and self._field else path or self._field
        field = field or NO_FIELD
        detail = self._message(seen, old) or self._default_message()
        reason = self.rule.get("reason")
        if reason == "FieldValueForbidden":
            return fe.forbidden(field, detail)
        if reason == "FieldValueRequired":
            return fe.required(field, detail)
        container = self.type in ("object", "array")
        if reason == "FieldValueDuplicate":
            if container:
                return FieldError(reason, field, "Duplicate value")
            return fe.duplicate(field, value)
        if container:
            return FieldError("FieldValueInvalid", field, f"Invalid value: {detail}")
        return fe.invalid(field, value, detail)

    def _default_message(self) -> str:
        message = self.rule.get("message") or ""
        return message.strip() if message else f"failed rule: {self.shown}"

    def _message(self, seen: Any, old: Any) -> str:
        """What messageExpression says, "" if it says nothing usable."""
        from cove.kube.cel._env import EvaluationError, program

        source = self.rule.get("messageExpression")
        if not source:
            return ""
        if self._message_program is None:
            optional = self.optional and _OLD_SELF.search(source) is not None
            self._message_program = program(source, optional_old_self=optional)
        if isinstance(self._message_program, str):
            return ""
        try:
            found = self._message_program.evaluate(seen, old)
        except EvaluationError:
            return ""
        text = found.strip() if isinstance(found, str) else ""
        return text if "\n" not in text and len(text.encode()) <= MESSAGE_BYTES else ""


NO_FIELD = "<nil>"
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


def _without_strings(text: str) -> str:
    return _STRINGS.sub("''", text)
