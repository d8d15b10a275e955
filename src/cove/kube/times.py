"""Times and durations as documents hold them, and ages as people read them.

Instants are RFC 3339 in UTC, to the second (``metav1.Time``) or microsecond
(``metav1.MicroTime``); durations are Go's ``1h2m3s``.  Errors carry the texts of Go's
``time`` package, which API clients see.

Source: https://pkg.go.dev/time and ``k8s.io/apimachinery/pkg/util/duration``.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta

from cove.kube.field_errors import render

__all__ = [
    "TimeError",
    "canonical_micro_time",
    "canonical_time",
    "format_duration",
    "format_micro_time",
    "format_time",
    "human_duration",
    "parse_duration",
    "parse_micro_time",
    "parse_time",
    "short_human_duration",
]

_SECONDS = "2006-01-02T15:04:05Z07:00"
_MICROS = "2006-01-02T15:04:05.000000Z07:00"
_PLAIN = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
).fullmatch
_PLAIN_MICRO = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
).fullmatch
_ZERO = datetime(1, 1, 1, tzinfo=UTC)


class TimeError(ValueError):
    """Text that is no time or duration; worded as Go does."""


class _Reader:
    """Go's ``time.Parse`` for the two layouts; the order of checks decides the error's text."""

    __slots__ = ("layout", "rest", "text")

    def __init__(self, text: str, layout: str) -> None:
        self.text = text
        self.layout = layout
        self.rest = text

    def cannot(self, element: str, value: str) -> TimeError:
        return TimeError(
            f'parsing time {render(self.text)} as "{self.layout}": '
            f"cannot parse {render(value)} as {render(element)}"
        )

    def out_of_range(self, what: str) -> TimeError:
        return TimeError(f"parsing time {render(self.text)}: {what} out of range")

    def skip(self, literal: str) -> None:
        if not self.rest.startswith(literal):
            raise self.cannot(literal, self.rest)
        self.rest = self.rest[1:]

    def year(self) -> int:
        head = self.rest[:4]
        if len(head) < 4 or not _is_number(head):
            raise self.cannot("2006", self.rest)
        self.rest = self.rest[4:]
        return int(head)

    def two(self, element: str, *, fixed: bool = True) -> int:
        rest = self.rest
        if _is_number(rest[:2]) and len(rest) >= 2:
            self.rest = rest[2:]
            return int(rest[:2])
        if fixed or not _is_number(rest[:1]):
            raise self.cannot(element, rest)
        self.rest = rest[1:]
        return int(rest[0])

    def optional_fraction(self) -> int:
        """Nanoseconds that the layout does not ask for but the text has."""
        rest = self.rest
        if len(rest) < 2 or rest[0] not in ".," or not _is_number(rest[1]):
            return 0
        end = 2
        while end < len(rest) and _is_number(rest[end]):
            end += 1
        self.rest = rest[end:]
        return int(rest[1:end][:9].ljust(9, "0"))

    def micros(self) -> int:
        rest = self.rest
        if len(rest) < 7 or rest[0] not in ".," or not _is_number(rest[1:7]):
            raise self.cannot(".000000", rest)
        self.rest = rest[7:]
        return int(rest[1:7])

    def offset(self) -> timedelta:
        rest = self.rest
        if rest.startswith("Z"):
            self.rest = rest[1:]
            return timedelta()
        hours, minutes = rest[1:3], rest[4:6]
        if len(rest) < 6 or rest[3] != ":" or not (_is_number(hours) and _is_number(minutes)):
            raise self.cannot("Z07:00", rest)
        self.rest = rest[6:]
        if int(hours) > 24:
            raise self.out_of_range("time zone offset hour")
        if int(minutes) > 60:
            raise self.out_of_range("time zone offset minute")
        if rest[0] not in "+-":
            raise self.cannot("Z07:00", rest)
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return -offset if rest[0] == "-" else offset


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _parse(text: str, layout: str) -> datetime:
    reader = _Reader(text, layout)
    year = reader.year()
    reader.skip("-")
    month = reader.two("01")
    if not 1 <= month <= 12:
        raise reader.out_of_range("month")
    reader.skip("-")
    day = reader.two("02")
    reader.skip("T")
    hour = reader.two("15", fixed=False)
    if hour > 23:
        raise reader.out_of_range("hour")
    reader.skip(":")
    minute = reader.two("04")
    if minute > 59:
        raise reader.out_of_range("minute")
    reader.skip(":")
    second = reader.two("05")
    if second > 59:
        raise reader.out_of_range("second")
    micro = reader.micros() if layout is _MICROS else reader.optional_fraction() // 1000
    offset = reader.offset()
    if reader.rest:
        raise TimeError(f"parsing time {render(text)}: extra text: {render(reader.rest)}")
    if not 1 <= day <= (monthrange(year, month)[1] if year else 31):
        raise reader.out_of_range("day")
    try:
        return datetime(year, month, day, hour, minute, second, micro, UTC) - offset
    except (ValueError, OverflowError):
        # Go knows the year 0 and those beyond 9999; Python and RFC 3339 do not.
        raise reader.out_of_range("year") from None


def parse_time(text: str) -> datetime:
    """The instant of an RFC 3339 text, in UTC; a fraction is kept to the microsecond.

    Raises TimeError with Go's text.
    """
    return _parse(text, _SECONDS)


def parse_micro_time(text: str) -> datetime:
    """The instant of an RFC 3339 text with exactly six decimals, in UTC; raises TimeError."""
    return _parse(text, _MICROS)


def format_time(instant: datetime) -> str:
    """``2026-01-02T03:04:05Z``; what is below the second is cut off."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat("T", "seconds") + "Z"


def format_micro_time(instant: datetime) -> str:
    """``2026-01-02T03:04:05.000006Z``."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat("T", "microseconds") + "Z"


def canonical_time(text: str) -> str | None:
    """A ``metav1.Time`` as it is written back; None for Go's zero time, which is null."""
    if _PLAIN(text):
        return text if text != "0001-01-01T00:00:00Z" else None
    instant = parse_time(text)
    return format_time(instant) if instant != _ZERO else None


def canonical_micro_time(text: str) -> str | None:
    """A ``metav1.MicroTime`` as it is written back; None for Go's zero time, which is null."""
    if _PLAIN_MICRO(text):
        return text if text != "0001-01-01T00:00:00.000000Z" else None
    instant = parse_micro_time(text)
    return format_micro_time(instant) if instant != _ZERO else None


_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)")


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration (``1h2m3.5s``, ``-300ms``, ``0``).

    Raises TimeError with Go's text.
    """
    shown = render(text)
    rest = text
    negative = rest[:1] == "-"
    if rest[:1] in ("+", "-"):
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise TimeError(f"time: invalid duration {shown}")
    total = 0
    while rest:
        match = _PART.match(rest)
        assert match is not None
        whole, _, part, unit = match.groups()
        if not whole and not part:
            raise TimeError(f"time: invalid duration {shown}")
        if not unit:
            raise TimeError(f"time: missing unit in duration {shown}")
        scale = _UNITS.get(unit)
        if scale is None:
            raise TimeError(f"time: unknown unit {render(unit)} in duration {shown}")
        total += int(whole or "0") * scale
        if part:
            total += int(part) * scale // 10 ** len(part)
        if total > 1 << 63:
            raise TimeError(f"time: invalid duration {shown}")
        rest = rest[match.end() :]
    if negative:
        return -total
    if total > (1 << 63) - 1:
        raise TimeError(f"time: invalid duration {shown}")
    return total


def _decimal(amount: int, unit: int, name: str) -> str:
    whole, rest = divmod(amount, unit)
    if not rest:
        return f"{whole}{name}"
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}{name}"


def format_duration(nanoseconds: int) -> str:
    """A Go duration: ``1h2m3s``, ``1.5s``, ``300ms``, ``0s``."""
    sign = "-" if nanoseconds < 0 else ""
    amount = abs(nanoseconds)
    if amount == 0:
        return "0s"
    if amount < 10**9:
        for unit, name in ((10**6, "ms"), (10**3, "µs"), (1, "ns")):
            if amount >= unit:
                return sign + _decimal(amount, unit, name)
    minutes, rest = divmod(amount, 60 * 10**9)
    seconds = _decimal(rest, 10**9, "s")
    if not minutes:
        return sign + seconds
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}h{minutes}m{seconds}" if hours else f"{sign}{minutes}m{seconds}"


def _pair(large: int, large_name: str, small: int, small_name: str) -> str:
    return f"{large}{large_name}{small}{small_name}" if small else f"{large}{large_name}"


def human_duration(seconds: float) -> str:
    """An age as ``kubectl get`` shows it: 5s, 3m20s, 2h, 45d, 2y10d.

    Up to two seconds in the future count as now; further ones are ``<invalid>``.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return _pair(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 24 * 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def short_human_duration(seconds: float) -> str:
    """An age in one unit: 5s, 3m, 2h, 45d, 2y."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    for limit, unit, name in (
        (60, 1, "s"),
        (3600, 60, "m"),
        (86400, 3600, "h"),
        (31536000, 86400, "d"),
    ):
        if whole < limit:
            return f"{whole // unit}{name}"
    return f"{whole // 31536000}y"
