"""Label selectors: the query grammar, LabelSelector documents, and matching.

``parse("app in (a, b), !canary")`` and ``from_document({"matchLabels": …})`` both give
a :class:`Selector`; its ``matches`` is called for every object of a list or watch.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.names import is_label_key, is_label_value

__all__ = [
    "EVERYTHING",
    "NOTHING",
    "Requirement",
    "Selector",
    "SelectorError",
    "format_document",
    "from_document",
    "from_map",
    "parse",
    "validate_document",
]

_BINARY = "in, notin, =, ==, !=, gt, lt"
_INT64 = 1 << 63


class SelectorError(ValueError):
    """A selector that cannot be read; the text is upstream's and goes into a 400."""


def _int64(text: str) -> int | None:
    """Go's ParseInt(text, 10, 64); None where it fails."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    value = int(text)
    return value if -_INT64 <= value < _INT64 else None


class Requirement(NamedTuple):
    """One condition on one key.

    ``operator`` is one of ``=``, ``==``, ``!=``, ``in``, ``notin``, ``exists``, ``!``,
    ``gt``, ``lt``.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets the condition."""
        value = labels.get(self.key)
        operator = self.operator
        if operator in ("=", "==", "in"):
            return value is not None and value in self.values
        if operator in ("!=", "notin"):
            return value is None or value not in self.values
        if operator == "exists":
            return value is not None
        if operator == "!":
            return value is None
        if value is None:
            return False
        left, right = _int64(value), _int64(self.values[0])
        if left is None or right is None:
            return False
        return left > right if operator == "gt" else left < right

    def __str__(self) -> str:
        key, operator, values = self
        if operator == "exists":
            return key
        if operator == "!":
            return f"!{key}"
        joined = ",".join(sorted(values))
        if operator in ("in", "notin"):
            return f"{key} {operator} ({joined})"
        return f"{key}{_SYMBOLS.get(operator, operator)}{joined}"


_SYMBOLS = {"gt": ">", "lt": "<"}


class Selector:
    """Conditions that must all hold; without any, everything matches.  Immutable, hashable."""

    __slots__ = ("_equal", "_rest", "requirements")

    def __init__(self, requirements: Sequence[Requirement] = ()) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda r: r.key))
        # Most selectors only compare: those run without dispatch on the operator.
        self._equal = tuple(
            (r.key, r.values[0])
            for r in self.requirements
            if r.operator in ("=", "==", "in") and len(r.values) == 1
        )
        self._rest = tuple(
            r
            for r in self.requirements
            if not (r.operator in ("=", "==", "in") and len(r.values) == 1)
        )

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected; None is no labels."""
        if labels is None:
            labels = {}
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        return all(r.matches(labels) for r in self._rest)

    @property
    def empty(self) -> bool:
        """True if every object is selected."""
        return not self.requirements

    def exact(self, key: str) -> str | None:
        """The one value ``key`` must have, None where several would do (for indexes)."""
        return next((value for k, value in self._equal if k == key), None)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"Selector({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)


class _Nothing(Selector):
    __slots__ = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:  # the base's signature
        return False

    @property
    def empty(self) -> bool:
        return False


EVERYTHING = Selector()
# What a missing LabelSelector selects.
NOTHING: Selector = _Nothing()


def _scan(text: str) -> list[str]:
    """Tokens in order; the last is "" for the end."""
    tokens: list[str] = []
    i, n = 0, len(text)
    while i < n and text[i] != "\0":
        c = text[i]
        if c in " \t\r\n":
            i += 1
        elif c in "=!(),><":
            two = text[i : i + 2]
            token = two if two in ("==", "!=") else c
            tokens.append(token)
            i += len(token)
        else:
            start = i
            while i < n and text[i] not in "=!(),>< \t\r\n\0":
                i += 1
            tokens.append(text[start:i])
    tokens.append("")
    return tokens


_SPECIAL = frozenset(("", "=", "==", "!=", "!", "(", ")", ",", ">", "<"))


def _is_identifier(token: str) -> bool:
    return token not in _SPECIAL


class _Parser:
    __slots__ = ("_at", "_tokens")

    def __init__(self, text: str) -> None:
        self._tokens = _scan(text)
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        token = self._tokens[self._at]
        if self._at < len(self._tokens) - 1:
            self._at += 1
        return token

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            token = self._peek()
            if token == "":
                return found
            if token != "!" and not _is_identifier(token):
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except SelectorError as e:
                raise SelectorError(f"unable to parse requirement: {e}") from None
            token = self._next()
            if token == "":
                return found
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            token = self._peek()
            if token != "!" and not _is_identifier(token):
                raise SelectorError(f"found '{token}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        token = self._next()
        absent = token == "!"
        if absent:
            token = self._next()
        if not _is_identifier(token):
            raise SelectorError(f"found '{token}', expected: identifier")
        key = token
        faults = is_label_key(key)
        if faults:
            raise SelectorError(f"<nil>: Invalid value: {fe.render(key)}: {'; '.join(faults)}")
        if absent:
            return _checked(Requirement(key, "!"))
        if self._peek() in ("", ","):
            return _checked(Requirement(key, "exists"))
        operator = self._next()
        if operator in ("in", "notin"):
            return _checked(Requirement(key, operator, self._values()))
        if operator in ("=", "==", "!="):
            return _checked(Requirement(key, operator, self._value()))
        if operator in (">", "<"):
            name = "gt" if operator == ">" else "lt"
            return _checked(Requirement(key, name, self._value()))
        raise SelectorError(f"found '{operator}', expected: {_BINARY}")

    def _value(self) -> tuple[str]:
        if self._peek() in ("", ","):
            return ("",)
        token = self._next()
        if not _is_identifier(token):
            raise SelectorError(f"found '{token}', expected: identifier")
        return (token,)

    def _values(self) -> tuple[str, ...]:
        token = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        first = self._peek()
        if first == ")":
            self._next()
            return ("",)
        if first != "," and not _is_identifier(first):
            raise SelectorError(f"found '{first}', expected: ',', ')' or identifier")
        values = self._identifiers()
        if self._next() != ")":
            raise SelectorError(f"found '{first}', expected: ')'")
        return tuple(sorted(values))

    def _identifiers(self) -> set[str]:
        values: set[str] = set()
        while True:
            token = self._next()
            if _is_identifier(token):
                values.add(token)
                after = self._peek()
                if after == ",":
                    continue
                if after == ")":
                    return values
                raise SelectorError(f"found '{after}', expected: ',' or ')'")
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',', or identifier")
            # An empty place between commas or parentheses is the empty value.
            if not values:
                values.add("")
            after = self._peek()
            if after == ")":
                values.add("")
                return values
            if after == ",":
                values.add("")


def _aggregate(texts: list[str]) -> str:
    unique = list(dict.fromkeys(texts))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"


def _checked(requirement: Requirement) -> Requirement:
    key, operator, values = requirement
    faults: list[str] = []
    if operator in ("in", "notin") and not values:
        faults.append(
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
        )
    if operator in ("gt", "lt"):
        faults += [
            f"values[{i}]: Invalid value: {fe.render(v)}: "
            "for 'Gt', 'Lt' operators, the value must be an integer"
            for i, v in enumerate(values)
            if _int64(v) is None
        ]
    for i, value in enumerate(values):
        wrong = is_label_value(value)
        if wrong:
            faults.append(
                f"values[{i}][{key}]: Invalid value: {fe.render(value)}: {'; '.join(wrong)}"
            )
    if faults:
        raise SelectorError(_aggregate(faults))
    return requirement


@lru_cache(maxsize=512)
def parse(text: str) -> Selector:
    """The selector of a query (``labelSelector=``); "" selects everything.

    Raises SelectorError with upstream's text.
    """
    requirements = _Parser(text).parse()
    return Selector(requirements) if requirements else EVERYTHING


def from_map(labels: Mapping[str, str] | None) -> Selector:
    """The selector of a plain map (a Service's); no entries select everything."""
    if not labels:
        return EVERYTHING
    return Selector([Requirement(k, "=", (v,)) for k, v in labels.items()])


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_document(document: Mapping[str, Any] | None) -> Selector:
    """The selector of a LabelSelector: None selects nothing, an empty one everything.

    Raises SelectorError where ``LabelSelectorAsSelector`` fails.
    """
    if document is None:
        return NOTHING
    requirements: list[Requirement] = []
    for key, value in (document.get("matchLabels") or {}).items():
        requirements.append(_new_requirement(key, "=", (value,)))
    for expression in document.get("matchExpressions") or ():
        name = expression.get("operator") or ""
        operator = _OPERATORS.get(name)
        if operator is None:
            raise SelectorError(f"{fe.render(name)} is not a valid label selector operator")
        values = tuple(expression.get("values") or ())
        requirements.append(_new_requirement(expression.get("key") or "", operator, values))
    return Selector(requirements) if requirements else EVERYTHING


def _new_requirement(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    faults = is_label_key(key)
    if faults:
        raise SelectorError(f"key: Invalid value: {fe.render(key)}: {'; '.join(faults)}")
    if operator in ("exists", "!") and values:
        raise SelectorError(
            f"values: Invalid value: {fe.render(list(values))}: "
            "values set must be empty for exists and does not exist"
        )
    return _checked(Requirement(key, operator, values))


def format_document(document: Mapping[str, Any] | None) -> str:
    """A LabelSelector as tables and statuses show it: ``<none>``, ``<error>``, ``a=b,c in (d)``."""
    if document is None:
        return "<none>"
    try:
        text = str(from_document(document))
    except SelectorError:
        return "<error>"
    return text or "<none>"


def validate_document(
    document: Mapping[str, Any] | None, path: str, *, allow_invalid_values: bool = False
) -> list[FieldError]:
    """What is wrong with a LabelSelector; None and {} are fine.

    ``allow_invalid_values`` keeps what older objects already hold.
    Source: ``k8s.io/apimachinery/pkg/apis/meta/v1/validation``.
    """
    from cove.kube.metadata import validate_labels

    errors: list[FieldError] = []
    if not document:
        return errors
    labels = document.get("matchLabels")
    if labels:
        errors += validate_labels(labels, f"{path}.matchLabels")
    for i, expression in enumerate(document.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{i}]"
        operator = expression.get("operator") or ""
        values = expression.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(
                    fe.required(
                        f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"
                    )
                )
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.append(
                    fe.forbidden(
                        f"{at}.values",
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    )
                )
        else:
            errors.append(fe.invalid(f"{at}.operator", operator, "not a valid selector operator"))
        key = expression.get("key") or ""
        errors += [fe.invalid(f"{at}.key", key, m) for m in is_label_key(key)]
        if not allow_invalid_values:
            errors += [
                fe.invalid(f"{at}.values[{n}]", value, m)
                for n, value in enumerate(values)
                for m in is_label_value(value)
            ]
    return errors
