"""resource.Quantity: numbers with a unit, exact, with the one form they are written in.

``canonical("1.5")`` is ``"1500m"``, ``canonical("1024Mi")`` is ``"1Gi"``.  Values are kept
in whole nano-units (the smallest a quantity can tell; anything finer is rounded up)
beside the notation they came in, which decides how a sum is written.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache, total_ordering
from typing import Literal

__all__ = ["Format", "Quantity", "QuantityError", "add", "canonical", "compare", "parse"]

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

_FORMAT_WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_NUMERIC = "unable to parse numeric part of quantity"
_SUFFIX = "unable to parse quantity's suffix"

_NANO = 10**9
_INT64_MAX = (1 << 63) - 1
_DECIMAL = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES = {e: s for s, e in _DECIMAL.items()}
_BINARY_NAMES = {e // 10: s for s, e in _BINARY.items()} | {0: ""}
_DIGITS = "0123456789"
# Exponents beyond this would only fill memory; no resource is counted that way.
_MAX_EXPONENT = 4096


class QuantityError(ValueError):
    """Text that is no quantity; worded as upstream does."""


@total_ordering
class Quantity:
    """An exact amount; immutable.  Equality and order look at the value, not at the notation."""

    __slots__ = ("format", "nanos", "text")

    def __init__(self, nanos: int, format: Format = "DecimalSI", text: str = "") -> None:
        self.nanos = nanos
        self.format: Format = format
        # The text it was read from where that is written back unchanged, else "".
        self.text = text

    def __str__(self) -> str:
        return self.text or _write(self.nanos, self.format)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    @property
    def value(self) -> int:
        """In whole units, rounded away from zero (bytes, pieces)."""
        return _divide_up(self.nanos, _NANO)

    @property
    def milli(self) -> int:
        """In thousandths, rounded away from zero (millicores)."""
        return _divide_up(self.nanos, 10**6)

    @property
    def fraction(self) -> Fraction:
        """The exact value."""
        return Fraction(self.nanos, _NANO)

    def __float__(self) -> float:
        return self.nanos / _NANO


def _divide_up(amount: int, by: int) -> int:
    return -(-amount // by) if amount >= 0 else amount // by


def _strip(amount: int, base: int) -> tuple[int, int]:
    """``amount`` without its factors of ``base``, and how many there were."""
    times = 0
    while amount and amount % base == 0:
        amount //= base
        times += 1
    return amount, times


def _write(nanos: int, format: Format) -> str:
    if nanos == 0:
        return "0"
    if format == "BinarySI":
        # Small or broken amounts lose nothing as decimals.
        if nanos % _NANO or abs(nanos) < 1024 * _NANO:
            format = "DecimalSI"
        else:
            amount, times = _strip(nanos // _NANO, 1024)
            while times > 6:
                amount, times = amount * 1024, times - 1
            return f"{amount}{_BINARY_NAMES[times]}"
    amount, times = _strip(nanos, 10)
    exponent = times - 9
    shift = exponent % 3
    if format == "DecimalSI" and exponent - shift > 18:
        shift = exponent - 18
    amount *= 10**shift
    exponent -= shift
    if format == "DecimalSI":
        return f"{amount}{_DECIMAL_NAMES[exponent]}"
    return f"{amount}e{exponent}" if exponent else str(amount)


def _digits(text: str, start: int) -> int:
    """The index after the digits from ``start``."""
    end = len(text)
    while start < end and text[start] in _DIGITS:
        start += 1
    return start


def _split(text: str) -> tuple[str, str, str, str]:
    """(numeric text, whole digits, fraction digits, suffix), as upstream's scanner sees them."""
    end = len(text)
    at = 1 if text[0] in "+-" else 0
    while at < end and text[at] == "0":
        at += 1
    if at >= end:
        return "0", "0", "", ""
    after = _digits(text, at)
    whole, at = text[at:after], after
    if at >= end:
        return text, whole, "", ""
    whole = whole or "0"
    part = ""
    if text[at] == ".":
        after = _digits(text, at + 1)
        part, at = text[at + 1 : after], after
        if at >= end:
            return text, whole, part, ""
    start = at
    while at < end and text[at] in "eEinumkKMGTP":
        at += 1
    if at < end:
        if text[at] in "+-":
            at += 1
        if _digits(text, at) < end:
            raise QuantityError(_FORMAT_WRONG)
    return text[:start], whole, part, text[start:]


def _suffix(suffix: str) -> tuple[int, int, Format]:
    exponent = _DECIMAL.get(suffix)
    if exponent is not None:
        return 10, exponent, "DecimalSI"
    exponent = _BINARY.get(suffix)
    if exponent is not None:
        return 2, exponent, "BinarySI"
    if len(suffix) > 1 and suffix[0] in "eE":
        try:
            exponent = int(suffix[1:])
        except ValueError:
            raise QuantityError(_SUFFIX) from None
        return 10, exponent, "DecimalExponent"
    raise QuantityError(_SUFFIX)


def _scaled(digits: int, exponent: int) -> int:
    """``digits * 10**exponent`` in nano-units, rounded up."""
    exponent += 9
    if exponent >= 0:
        if exponent > _MAX_EXPONENT and digits:
            raise QuantityError(_NUMERIC)
        return digits * 10**exponent if digits else 0
    if -exponent > len(str(digits)):
        return 1 if digits else 0
    return int(-(-digits // 10**-exponent))


def _parse(text: str) -> Quantity:
    if not text:
        raise QuantityError(_FORMAT_WRONG)
    if text == "0":
        return Quantity(0, "DecimalSI", text)
    _, whole, part, suffix = _split(text)
    base, exponent, format = _suffix(suffix)
    negative = text[0] == "-"
    digits = int(whole + part)
    kept = ""
    if base == 10:
        nanos = _scaled(digits, exponent - len(part))
        scale = exponent - len(part)
        # What is canonical at a glance is written back as it came, "1.500" and "+1" too.
        if 18 - len(whole) - len(part) >= 0 and scale >= -9:
            shifted = whole + part
            if scale % 3 == 0 and not shifted.endswith("000") and shifted[0] != "0":
                kept = text
    else:
        nanos = _scaled(digits << exponent, -len(part))
        precision = 15 - len(whole) - exponent * 3 // 10 - 1
        if part == "" and precision >= 0:
            if digits & 7:
                kept = text
        else:
            nanos = min(nanos, _INT64_MAX * _NANO)
            if 0 < nanos < _NANO:
                format = "DecimalSI"
    return Quantity(-nanos if negative else nanos, format, kept)


@lru_cache(maxsize=2048)
def _cached(text: str) -> Quantity:
    return _parse(text)


def parse(value: str | int | float) -> Quantity:
    """The quantity of a text or a JSON number.

    Raises QuantityError with upstream's text.
    """
    return _cached(value if isinstance(value, str) else _number(value))


def _number(value: float) -> str:
    if isinstance(value, bool):
        raise QuantityError(_FORMAT_WRONG)
    return repr(value)


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return str(_parse(text.strip()))


def canonical(value: str | int | float) -> str:
    """The one text of a quantity, as the API server writes it; raises QuantityError."""
    return _canonical(value if isinstance(value, str) else _number(value))


def compare(a: str | int | float, b: str | int | float) -> int:
    """-1, 0 or 1 as ``a`` is less than, equal to or more than ``b``."""
    left, right = parse(a).nanos, parse(b).nanos
    return (left > right) - (left < right)


def add(*values: str | int | float) -> str:
    """The canonical sum, in the notation of the first that is not zero; "0" of nothing."""
    total = Quantity(0)
    for value in values:
        total = total + parse(value)
    return str(total)
