"""String formats of OpenAPI, as Kubernetes checks them (``kube-openapi/pkg/validation/strfmt``)."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

__all__ = ["check", "is_known", "supported"]

Check = Callable[[str], bool]

_NAMES = frozenset(
    [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "password",
        "date",
        "duration",
        "datetime",
        "k8sshortname",
        "k8slongname",
    ]
)

# Amounts that strfmt takes beside Go's own durations: "3 days", "22 ns".
_UNITS = [
    "ns",
    "nano",
    "nanos",
    "nanosecond",
    "nanoseconds",
    "us",
    "µs",
    "μs",
    "micro",
    "micros",
    "microsecond",
    "microseconds",
    "ms",
    "milli",
    "millis",
    "millisecond",
    "milliseconds",
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "m",
    "min",
    "mins",
    "minute",
    "minutes",
    "h",
    "hr",
    "hour",
    "hours",
    "d",
    "day",
    "days",
    "w",
    "wk",
    "week",
    "weeks",
]


def _pattern(text: str, flags: int = 0) -> Check:
    compiled = re.compile(text, flags | re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _uri(value: str) -> bool:
    if any(ord(c) < 0x20 or c == "\x7f" for c in value) or not value:
        return False
    if value.startswith("/"):
        return True
    if " " in value:
        return False
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.scheme) and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*", parts.scheme) is not None


def _email(value: str) -> bool:
    inner = re.fullmatch(r"[^<>]*<([^<>]+)>", value)
    address = inner.group(1) if inner else value
    return (
        re.fullmatch(
            r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-\u0080-\U0010ffff]+|\"[^\"]+\")"
            r"@[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
            r"(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+)*",
            address.strip(),
        )
        is not None
        and not address.split("@")[0].startswith(".")
        and ".." not in address.split("@")[0]
    )


_HOSTNAME = re.compile(
    r"(?:[^\W_](?:-?[^\W_]{0,62})?|(?:[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?\.)+[^\W\d_]{2,63})"
)


def _hostname(value: str) -> bool:
    return (
        _HOSTNAME.fullmatch(value) is not None
        and len(value) <= 255
        and all(len(part) <= 63 for part in value.split("."))
    )


_ZEROS = re.compile(r"(^|\.)0+(?=\d)")


def _ipv4(value: str) -> bool:
    if "." not in value:
        return False
    return _address(value) is not None


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(_ZEROS.sub(r"\1", value) if ":" not in value else value)
    except ValueError:
        return None


def _ipv6(value: str) -> bool:
    found = _address(value)
    return found is not None and ":" in value and "%" not in value


def _cidr(value: str) -> bool:
    base, slash, bits = value.partition("/")
    found = _address(base)
    if not slash or found is None or "%" in base or not (bits.isascii() and bits.isdigit()):
        return False
    return int(bits) <= found.max_prefixlen and len(bits) <= 3


def _byte(value: str) -> bool:
    if not value or len(value) % 4:
        return False
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _date(value: str) -> bool:
    match = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", value, re.ASCII)
    if match is None:
        return False
    from datetime import date

    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


_DATETIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def _datetime(value: str) -> bool:
    match = _DATETIME.fullmatch(value)
    if match is None or not _date(match[1]):
        return False
    return int(match[2]) < 24 and int(match[3]) < 60 and int(match[4]) < 60


_AMOUNT = re.compile(r"\s*((?:\d+))\s*([A-Za-zµμ]+)", re.ASCII)


def _duration(value: str) -> bool:
    from cove.kube.times import TimeError, parse_duration

    try:
        parse_duration(value)
    except TimeError:
        pass
    else:
        return True
    match = _AMOUNT.match(value)
    return match is not None and match[2].lower() in _UNITS


def _luhn(value: str) -> bool:
    digits = [int(c) for c in reversed(value)]
    doubled = [d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(digits)]
    return sum(doubled) % 10 == 0


_CARD = re.compile(
    r"(?:4\d{12}(?:\d{3})?|5[1-5]\d{14}|6(?:011|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|(?:2131|1800|35\d{3})\d{11})"
)


def _creditcard(value: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", value)
    return _CARD.fullmatch(digits) is not None and _luhn(digits)


def _isbn10(value: str) -> bool:
    text = re.sub(r"[\s-]+", "", value)
    if re.fullmatch(r"\d{9}[\dX]", text, re.ASCII) is None:
        return False
    return sum((i + 1) * (10 if c == "X" else int(c)) for i, c in enumerate(text)) % 11 == 0


def _isbn13(value: str) -> bool:
    text = re.sub(r"[\s-]+", "", value)
    if re.fullmatch(r"\d{13}", text, re.ASCII) is None:
        return False
    return (10 - sum(int(c) * (1, 3)[i % 2] for i, c in enumerate(text[:12])) % 10) % 10 == int(
        text[12]
    )


_BYTE = r"(?:[01]?\d?\d|2[0-4]\d|25[0-5])"
_HEX = "[0-9a-fA-F]"
_CHECKS: dict[str, Check] = {
    "bsonobjectid": _pattern(f"{_HEX}{{24}}"),
    "uri": _uri,
    "email": _email,
    "hostname": _hostname,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "cidr": _cidr,
    "mac": _pattern(
        rf"(?:{_HEX}{{2}}(?:(?::{_HEX}{{2}})+|(?:-{_HEX}{{2}})+)|{_HEX}{{4}}(?:\.{_HEX}{{4}})+)"
    ),
    "uuid": _pattern(rf"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid3": _pattern(rf"{_HEX}{{8}}-?{_HEX}{{4}}-?3{_HEX}{{3}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid4": _pattern(
        rf"{_HEX}{{8}}-?{_HEX}{{4}}-?4{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}-?{_HEX}{{12}}"
    ),
    "uuid5": _pattern(
        rf"{_HEX}{{8}}-?{_HEX}{{4}}-?5{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}-?{_HEX}{{12}}"
    ),
    "isbn": lambda v: _isbn10(v) or _isbn13(v),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _creditcard,
    "ssn": _pattern(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _pattern(f"#?(?:{_HEX}{{3}}|{_HEX}{{6}})"),
    "rgbcolor": _pattern(rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)"),
    "byte": _byte,
    "password": lambda _: True,
    "date": _date,
    "duration": _duration,
    "datetime": _datetime,
}


def _k8s(value: str, long: bool) -> bool:
    from cove.kube.names import is_dns1123_label, is_dns1123_subdomain

    return not (is_dns1123_subdomain(value) if long else is_dns1123_label(value))


_CHECKS["k8sshortname"] = lambda v: _k8s(v, long=False)
_CHECKS["k8slongname"] = lambda v: _k8s(v, long=True)


def is_known(format: str, type: str) -> bool:
    """Whether a format means anything for values of a type; others are ignored, with a warning."""
    if type in ("", "string"):
        return format.replace("-", "") in _NAMES
    if type == "integer":
        return format in ("int32", "int64")
    if type == "number":
        return format in ("float", "double")
    return False


@cache
def supported(format: str) -> Check | None:
    """The check of a string format, None for one without."""
    return _CHECKS.get(format.replace("-", ""))


def check(format: str, value: str) -> bool:
    """Whether a text is of a format; anything is of an unknown one."""
    found = supported(format)
    return found is None or found(value)
