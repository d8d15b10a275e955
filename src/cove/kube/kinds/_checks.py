"""Small validation rules that many kinds share.

Every rule appends to a list of field errors and takes the field's path as text;
the texts are those of ``pkg/apis/core/validation`` and
``k8s.io/apimachinery/pkg/api/validation``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._gojson import internal, ordered
from cove.kube.labels import validate_document

__all__ = [
    "IMMUTABLE",
    "NEGATIVE",
    "dual_stack",
    "endpoint_ip",
    "immutable",
    "is_cidr",
    "is_ip",
    "legacy_cidr",
    "legacy_ip",
    "name_errors",
    "non_negative",
    "parse_ip",
    "port",
    "positive",
    "selector",
]

Errors = list[FieldError]
IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"
_NOT_POSITIVE = "must be greater than zero"
_LEADING_ZERO = re.compile(r"(^|\.)0+(\d)")


def non_negative(errors: Errors, path: str, value: int | None) -> None:
    """An absent or non-negative number."""
    if value is not None and value < 0:
        errors.append(fe.invalid(path, value, NEGATIVE))


def positive(errors: Errors, path: str, value: int) -> None:
    """A number above 0."""
    if value <= 0:
        errors.append(fe.invalid(path, value, _NOT_POSITIVE))


def name_errors(errors: Errors, path: str, value: str, check: Callable[[str], list[str]]) -> None:
    """A text that a rule of :mod:`cove.kube.names` must like."""
    faults = check(value)
    if faults:
        errors += [fe.invalid(path, value, fault) for fault in faults]


def immutable(errors: Errors, path: str, new: Any, old: Any, type_name: str = "") -> None:
    """A field that must stay; ``type_name`` is the internal Go type it is told as."""
    if new != old:
        shown = internal(type_name, new) if type_name and new is not None else ordered(new)
        errors.append(fe.invalid(path, shown, IMMUTABLE))


def selector(errors: Errors, path: str, document: Mapping[str, Any] | None) -> None:
    """A LabelSelector."""
    if document:
        errors += validate_document(document, path)


def port(errors: Errors, path: str, value: int | str | None) -> None:
    """A port by number or name; absent is 0."""
    if isinstance(value, str):
        name_errors(errors, path, value, names.is_port_name)
    else:
        number = value or 0
        if not 1 <= number <= 65535:
            errors += [fe.invalid(path, number, m) for m in names.is_port_number(number)]


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as old fields take it: leading zeros in IPv4 are dropped; None for nonsense."""
    try:
        address = ipaddress.ip_address(
            _LEADING_ZERO.sub(r"\1\2", text) if ":" not in text else text
        )
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return None if address.scope_id else address
    return address


def is_ip(text: str) -> list[str]:
    """A canonical-enough IP address (``net.ParseIP``)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def legacy_ip(errors: Errors, path: str, value: str, existing: Iterable[str] = ()) -> bool:
    """An IP address in a field that existed before strict parsing; True where it is fine."""
    if value in existing:
        return True
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        address = None
        if parse_ip(value) is not None:
            errors.append(fe.invalid(path, value, "must not have leading 0s"))
            return False
    if address is None or (isinstance(address, ipaddress.IPv6Address) and address.scope_id):
        errors.append(
            fe.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
        )
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        errors.append(fe.invalid(path, value, "must not be an IPv4-mapped IPv6 address"))
        return False
    return True


def is_cidr(text: str) -> list[str]:
    """A network in CIDR notation, host bits allowed."""
    base, slash, bits = text.partition("/")
    try:
        if not slash or not bits.isdigit() or (len(bits) > 1 and bits[0] == "0"):
            raise ValueError
        ipaddress.ip_interface(f"{base}/{bits}")
    except ValueError:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    return []


def legacy_cidr(errors: Errors, path: str, value: str, existing: Iterable[str] = ()) -> bool:
    """A network in a field that existed before strict parsing; True where it is fine."""
    if value in existing:
        return True
    faults = is_cidr(value)
    if faults:
        errors.append(fe.invalid(path, value, faults[0]))
        return False
    interface = ipaddress.ip_interface(value)
    if interface.ip != interface.network.network_address:
        errors.append(fe.invalid(path, value, "must not have bits set beyond the prefix length"))
        return False
    return True


def endpoint_ip(errors: Errors, path: str, value: str) -> None:
    """An address that traffic may be sent to."""
    address = parse_ip(value)
    if address is None:
        errors.append(fe.invalid(path, value, "must be a valid IP address"))
        return
    if address.is_unspecified:
        errors.append(fe.invalid(path, value, f"may not be unspecified ({value})"))
    if address.is_loopback:
        errors.append(
            fe.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
        )
    if address.is_link_local:
        errors.append(
            fe.invalid(
                path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
            )
        )
    if address in _MULTICAST_4 or address in _MULTICAST_6:
        errors.append(
            fe.invalid(
                path,
                value,
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            )
        )


_MULTICAST_4 = ipaddress.ip_network("224.0.0.0/24")
_MULTICAST_6 = ipaddress.ip_network("ff02::/16")


def dual_stack(addresses: Sequence[str]) -> bool:
    """Whether there is one address (or network) of each family."""
    return len({":" in a for a in addresses}) == 2
