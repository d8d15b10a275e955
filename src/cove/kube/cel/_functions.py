"""Kubernetes' CEL functions beyond the standard ones.

Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-cel-libraries
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from cove.kube import quantity as q
from cove.kube.cel._pool import K8S_TYPES
from cove.kube.cel._urls import Url, UrlError, parse_url
from cove.kube.structural import compile_pattern

__all__ = ["extension"]


class _Messages:
    """Makes and reads the messages that stand for quantities, addresses and the like."""

    def __init__(self, pool: Any) -> None:
        from google.protobuf import message_factory

        self.classes = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
            for package, names in K8S_TYPES.items()
            for name in names
        }

    def make(self, name: str, text: str) -> Any:
        return self.classes[name](value=text)


def _try(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


# -- lists


def _compare(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def _is_sorted(values: list[Any]) -> bool:
    return all(_compare(a, b) <= 0 for a, b in pairwise(values))


def _sum(values: list[Any]) -> Any:
    if not values:
        return 0
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _extreme(name: str, sign: int) -> Callable[[list[Any]], Any]:
    def pick(values: list[Any]) -> Any:
        if not values:
            raise ValueError(f"{name} called on empty list")
        best = values[0]
        for value in values[1:]:
            if _compare(value, best) * sign > 0:
                best = value
        return best

    return pick


def _index_of(values: list[Any], item: Any) -> int:
    return next((i for i, v in enumerate(values) if _equal(v, item)), -1)


def _last_index_of(values: list[Any], item: Any) -> int:
    return next((i for i in range(len(values) - 1, -1, -1) if _equal(values[i], item)), -1)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    return bool(a == b)


def _contains(values: list[Any], others: list[Any]) -> bool:
    return all(any(_equal(v, o) for v in values) for o in others)


# -- regular expressions


def _find(text: str, pattern: str) -> str:
    match = compile_pattern(pattern).search(text)
    return match[0] if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [m[0] for m in compile_pattern(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


# -- URLs


def _url(text: str) -> Url:
    try:
        return parse_url(text)
    except UrlError as e:
        raise ValueError(f"URL parse error during conversion from string: {e}") from None


# -- addresses


def _parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    why = f"IP Address '{text}' parse error during conversion from string: "
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f'{why}ParseAddr("{text}"): unable to parse IP') from None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            raise ValueError(f'IP address "{text}" with zone value is not allowed')
        if found.ipv4_mapped is not None:
            raise ValueError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return found


def _parse_cidr(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    base, slash, bits = text.partition("/")
    why = f'network address parse error during conversion from string: netip.ParsePrefix("{text}")'
    if not slash:
        raise ValueError(f"{why}: no '/'")
    if not bits.isdigit() or (len(bits) > 1 and bits[0] == "0"):
        raise ValueError(f'{why}: bad bits after slash: "{bits}"')
    try:
        _parse_ip(base)
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise ValueError(f"{why}: {error}") from None


def _in_cidr(cidr: str, ip: str) -> bool:
    network = _parse_cidr(cidr).network
    address = _parse_ip(ip)
    return address.version == network.version and address in network


def _cidr_in_cidr(cidr: str, other: str) -> bool:
    outer, inner = _parse_cidr(cidr), _parse_cidr(other)
    if outer.version != inner.version:
        return False
    return inner.network.prefixlen >= outer.network.prefixlen and inner.ip in outer.network


# -- versions

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)


def _parse_semver(text: str) -> re.Match[str]:
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid semver: {text!r}")
    return match


def _normal_semver(text: str) -> str:
    text = text.removeprefix("v")
    core, sep, rest = re.match(r"([0-9.]*)([-+]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # matches all
    parts = [p.lstrip("0") or "0" for p in core.split(".")] if core else ["0"]
    parts += ["0"] * (3 - len(parts))
    return ".".join(parts) + sep + rest


def _semver_key(text: str) -> Any:
    match = _parse_semver(text)
    core = tuple(int(match[i]) for i in (1, 2, 3))
    if match[4] is None:
        return core, 1, ()
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in match[4].split("."))
    return core, 0, parts


# -- formats


def _named_formats() -> dict[str, Callable[[str], list[str]]]:
    from cove.kube import names
    from cove.kube.structural import _formats

    def by_format(name: str, problem: str) -> Callable[[str], list[str]]:
        return lambda text: [] if _formats.check(name, text) else [problem]

    def uri(text: str) -> list[str]:
        try:
            parse_url(text)
        except UrlError as e:
            return [str(e)]
        return []

    def prefix(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
        return lambda text: check(names.mask_trailing_dash(text))

    return {
        "dns1123Label": names.is_dns1123_label,
        "dns1123Subdomain": names.is_dns1123_subdomain,
        "dns1035Label": names.is_dns1035_label,
        "qualifiedName": names.is_qualified_name,
        "dns1123LabelPrefix": prefix(names.is_dns1123_label),
        "dns1123SubdomainPrefix": prefix(names.is_dns1123_subdomain),
        "dns1035LabelPrefix": prefix(names.is_dns1035_label),
        "labelValue": names.is_label_value,
        "uri": uri,
        "uuid": by_format("uuid", "does not match the UUID format"),
        "byte": by_format("byte", "invalid base64"),
        "date": by_format("date", "invalid date"),
        "datetime": by_format("datetime", "invalid datetime"),
    }


def extension(cel: Any, pool: Any, *, typed: bool) -> list[Any]:
    """The functions as extensions of an environment over ``pool``.

    ``typed`` overloads are for checking.  At run time cel-cpp knows messages from other
    values but not from each other, so that there those overloads are one.
    """
    t = cel.Type
    messages = _Messages(pool)
    quantity_t, url_t = t("kubernetes.Quantity"), t("kubernetes.URL")
    semver_t, format_t = t("kubernetes.Semver"), t("kubernetes.NamedFormat")
    ip_t, cidr_t = t("net.IP"), t("net.CIDR")
    any_list = t.List(t.DYN)
    found: dict[str, list[Any]] = {}

    def add(
        name: str, id: str, result: Any, parameters: list[Any], impl: Any, member: bool = True
    ) -> None:
        found.setdefault(name, []).append(_Overload(id, result, parameters, member, impl))

    def declare(name: str, id: str, result: Any, parameters: list[Any], impl: Any) -> None:
        add(name, id, result, parameters, impl, member=False)

    # lists
    add("isSorted", "list_is_sorted_bool", t.BOOL, [any_list], _is_sorted)
    add("sum", "list_sum", t.DYN, [any_list], _sum)
    add("max", "list_max", t.DYN, [any_list], _extreme("max", 1))
    add("min", "list_min", t.DYN, [any_list], _extreme("min", -1))
    add("indexOf", "list_a_index_of_int", t.INT, [any_list, t.DYN], _index_of)
    add("lastIndexOf", "list_a_last_index_of_int", t.INT, [any_list, t.DYN], _last_index_of)
    add(
        "includes",
        "list_includes_dyn_dyn",
        t.BOOL,
        [any_list, t.DYN],
        lambda v, i: _index_of(v, i) >= 0,
    )
    declare("sets.contains", "list_sets_contains_list", t.BOOL, [any_list, any_list], _contains)
    declare(
        "sets.equivalent",
        "list_sets_equivalent_list",
        t.BOOL,
        [any_list, any_list],
        lambda a, b: _contains(a, b) and _contains(b, a),
    )
    declare(
        "sets.intersects",
        "list_sets_intersects_list",
        t.BOOL,
        [any_list, any_list],
        lambda a, b: any(any(_equal(x, y) for y in b) for x in a),
    )
    # regular expressions
    strings = t.List(t.STRING)
    add("find", "string_find_string", t.STRING, [t.STRING, t.STRING], _find)
    add("findAll", "string_find_all_string", strings, [t.STRING, t.STRING], _find_all)
    add("findAll", "string_find_all_string_int", strings, [t.STRING, t.STRING, t.INT], _find_all)

    # URLs
    def url(text: str) -> Any:
        _url(text)
        return messages.make("URL", text)

    declare("url", "string_to_url", url_t, [t.STRING], url)
    declare("isURL", "is_url_string", t.BOOL, [t.STRING], _try(parse_url))
    add("getScheme", "url_get_scheme", t.STRING, [url_t], lambda u: _url(u.value).scheme)
    add("getHost", "url_get_host", t.STRING, [url_t], lambda u: _url(u.value).host)
    add("getHostname", "url_get_hostname", t.STRING, [url_t], lambda u: _url(u.value).hostname)
    add("getPort", "url_get_port", t.STRING, [url_t], lambda u: _url(u.value).port)
    add(
        "getEscapedPath",
        "url_get_escaped_path",
        t.STRING,
        [url_t],
        lambda u: _url(u.value).path,
    )
    add(
        "getQuery",
        "url_get_query",
        t.Map(t.STRING, strings),
        [url_t],
        lambda u: _url(u.value).parameters,
    )

    # quantities
    def quantity(text: str) -> Any:
        return messages.make("Quantity", q.canonical(text))

    def compare(a: Any, b: Any) -> int:
        return q.compare(a.value, b.value)

    declare("quantity", "string_to_quantity", quantity_t, [t.STRING], quantity)
    declare("isQuantity", "is_quantity_string", t.BOOL, [t.STRING], _try(q.parse))
    add("sign", "quantity_sign", t.INT, [quantity_t], lambda a: q.compare(a.value, "0"))
    pair = [quantity_t, quantity_t]
    add("isGreaterThan", "quantity_is_greater_than", t.BOOL, pair, lambda a, b: compare(a, b) > 0)
    add("isLessThan", "quantity_is_less_than", t.BOOL, pair, lambda a, b: compare(a, b) < 0)
    add("compareTo", "quantity_compare_to", t.INT, pair, compare)
    add(
        "asApproximateFloat",
        "quantity_get_float",
        t.DOUBLE,
        [quantity_t],
        lambda a: float(q.parse(a.value)),
    )
    add("asInteger", "quantity_get_int", t.INT, [quantity_t], lambda a: _integer(a.value))
    add("isInteger", "quantity_is_integer", t.BOOL, [quantity_t], lambda a: _is_integer(a.value))
    add("add", "quantity_add", quantity_t, pair, lambda a, b: quantity(q.add(a.value, b.value)))
    with_int = [quantity_t, t.INT]
    add("add", "quantity_add_int", quantity_t, with_int, lambda a, b: quantity(q.add(a.value, b)))
    add(
        "sub",
        "quantity_sub",
        quantity_t,
        pair,
        lambda a, b: quantity(str(q.parse(a.value) - q.parse(b.value))),
    )
    add("sub", "quantity_sub_int", quantity_t, with_int, lambda a, b: quantity(q.add(a.value, -b)))

    # addresses
    def ip(text: str) -> Any:
        return messages.make("IP", str(_parse_ip(text)))

    def cidr(text: str) -> Any:
        return messages.make("CIDR", str(_parse_cidr(text)))

    declare("ip", "string_to_ip", ip_t, [t.STRING], ip)
    declare("isIP", "is_ip", t.BOOL, [t.STRING], _try(_parse_ip))
    declare(
        "ip.isCanonical", "ip_is_canonical", t.BOOL, [t.STRING], lambda s: str(_parse_ip(s)) == s
    )
    declare("string", "ip_to_string", t.STRING, [ip_t], lambda a: a.value)
    for name, id, check in (
        ("isUnspecified", "ip_is_unspecified", lambda a: a.is_unspecified),
        ("isLoopback", "ip_is_loopback", lambda a: a.is_loopback),
        ("isLinkLocalMulticast", "ip_is_link_local_multicast", _is_link_local_multicast),
        ("isLinkLocalUnicast", "ip_is_link_local_unicast", lambda a: a.is_link_local),
        ("isGlobalUnicast", "ip_is_global_unicast", _is_global_unicast),
    ):
        add(name, id, t.BOOL, [ip_t], lambda a, check=check: bool(check(_parse_ip(a.value))))
    add("family", "ip_family", t.INT, [ip_t], lambda a: _parse_ip(a.value).version)
    declare("cidr", "string_to_cidr", cidr_t, [t.STRING], cidr)
    declare("isCIDR", "is_cidr", t.BOOL, [t.STRING], _try(_parse_cidr))
    declare("string", "cidr_to_string", t.STRING, [cidr_t], lambda a: a.value)
    add(
        "containsIP",
        "cidr_contains_ip_string",
        t.BOOL,
        [cidr_t, t.STRING],
        lambda a, b: _in_cidr(a.value, b),
    )
    add(
        "containsIP",
        "cidr_contains_ip_ip",
        t.BOOL,
        [cidr_t, ip_t],
        lambda a, b: _in_cidr(a.value, b.value),
    )
    add(
        "containsCIDR",
        "cidr_contains_cidr_string",
        t.BOOL,
        [cidr_t, t.STRING],
        lambda a, b: _cidr_in_cidr(a.value, b),
    )
    add(
        "containsCIDR",
        "cidr_contains_cidr",
        t.BOOL,
        [cidr_t, cidr_t],
        lambda a, b: _cidr_in_cidr(a.value, b.value),
    )
    add("ip", "cidr_ip", ip_t, [cidr_t], lambda a: ip(str(_parse_cidr(a.value).ip)))
    add(
        "prefixLength",
        "cidr_prefix_length",
        t.INT,
        [cidr_t],
        lambda a: _parse_cidr(a.value).network.prefixlen,
    )
    add(
        "masked", "cidr_masked", cidr_t, [cidr_t], lambda a: cidr(str(_parse_cidr(a.value).network))
    )

    # versions
    def semver(text: str, normalize: bool = False) -> Any:
        text = _normal_semver(text) if normalize else text
        _parse_semver(text)
        return messages.make("Semver", text)

    def compare_semver(a: Any, b: Any) -> int:
        return _compare(_semver_key(a.value), _semver_key(b.value))

    declare("semver", "string_to_semver", semver_t, [t.STRING], semver)
    declare("semver", "string_bool_to_semver", semver_t, [t.STRING, t.BOOL], semver)
    declare("isSemver", "is_semver_string", t.BOOL, [t.STRING], _try(semver))
    declare(
        "isSemver",
        "is_semver_string_bool",
        t.BOOL,
        [t.STRING, t.BOOL],
        lambda s, n: _try(lambda x: semver(x, n))(s),
    )
    two = [semver_t, semver_t]
    add(
        "isGreaterThan",
        "semver_is_greater_than",
        t.BOOL,
        two,
        lambda a, b: compare_semver(a, b) > 0,
    )
    add("isLessThan", "semver_is_less_than", t.BOOL, two, lambda a, b: compare_semver(a, b) < 0)
    add("compareTo", "semver_compare_to", t.INT, two, compare_semver)
    for place, name in enumerate(("major", "minor", "patch"), 1):
        add(
            name,
            f"semver_{name}",
            t.INT,
            [semver_t],
            lambda a, place=place: int(_parse_semver(a.value)[place]),
        )
    # formats
    named = _named_formats()
    for name in named:
        declare(
            f"format.{name}",
            f"format.{name}",
            format_t,
            [],
            lambda name=name: messages.make("NamedFormat", name),
        )
    # What is evaluated makes an optional of the list: see with_optionals.
    problems = t.AbstractType("optional_type", [strings]) if typed else strings
    add(
        "validate",
        "format-validate",
        problems,
        [format_t, t.STRING],
        lambda f, v: named[f.value](v),
    )
    return [
        cel.CelExtension(
            "kubernetes",
            [
                cel.FunctionDecl(
                    name,
                    [o.build(cel) for o in (overloads if typed else _merged(overloads))],
                )
                for name, overloads in found.items()
            ],
        )
    ]


class _Overload(NamedTuple):
    id: str
    result: Any
    parameters: list[Any]
    member: bool
    impl: Callable[..., Any]

    def build(self, cel: Any) -> Any:
        return cel.Overload(
            self.id,
            return_type=self.result,
            parameters=self.parameters,
            is_member=self.member,
            impl=self.impl,
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The parameters as they can be told apart at run time."""
        return tuple("message" if p.is_message() else p.name() for p in self.parameters)

    def takes(self, args: tuple[Any, ...]) -> bool:
        return all(
            not p.is_message() or a.DESCRIPTOR.full_name == p.name()
            for p, a in zip(self.parameters, args, strict=True)
        )


def _merged(overloads: list[_Overload]) -> list[_Overload]:
    groups: dict[tuple[bool, tuple[str, ...]], list[_Overload]] = {}
    for overload in overloads:
        groups.setdefault((overload.member, overload.kinds), []).append(overload)
    return [g[0] if len(g) == 1 else g[0]._replace(impl=_dispatch(g)) for g in groups.values()]


def _dispatch(overloads: list[_Overload]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        for overload in overloads:
            if overload.takes(args):
                return overload.impl(*args)
        raise ValueError("no such overload")

    return call


def _is_link_local_multicast(address: Any) -> bool:
    if address.version == 4:
        return address in ipaddress.ip_network("224.0.0.0/24")
    return (int(address) >> 112) & 0xFF0F == 0xFF02


def _is_global_unicast(address: Any) -> bool:
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or str(address) == "255.255.255.255"
    )


def _is_integer(text: str) -> bool:
    found = q.parse(text).fraction
    return found.denominator == 1 and -(2**63) <= found < 2**63


def _integer(text: str) -> int:
    if not _is_integer(text):
        raise ValueError("cannot convert value to integer")
    return int(q.parse(text).fraction)
