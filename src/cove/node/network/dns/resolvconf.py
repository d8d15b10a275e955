"""A pod's resolv.conf, as its dnsPolicy and dnsConfig ask for it.

Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

__all__ = ["ResolvConf", "host_resolv_conf", "resolv_conf"]

# What validation allows in a pod; resolvers take no more.
NAMESERVERS = 3
SEARCHES = 32
SEARCH_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ResolvConf:
        """What counts of a file: of several search lines the last."""
        nameservers: list[str] = []
        searches: list[str] = []
        options: list[str] = []
        for line in text.splitlines():
            words = line.split("#", 1)[0].split(";", 1)[0].split()
            if len(words) < 2:
                continue
            if words[0] == "nameserver":
                nameservers.append(words[1])
            elif words[0] in ("search", "domain"):
                searches = [w for w in words[1:] if w != "."]
            elif words[0] == "options":
                options += words[1:]
        return cls(tuple(nameservers), tuple(searches), tuple(options))

    def __str__(self) -> str:
        """The file."""
        lines = []
        if self.searches:
            lines.append(f"search {' '.join(self.searches)}")
        lines += [f"nameserver {address}" for address in self.nameservers]
        if self.options:
            lines.append(f"options {' '.join(self.options)}")
        return "".join(f"{line}\n" for line in lines)


def host_resolv_conf(path: Path = Path("/etc/resolv.conf")) -> ResolvConf:
    """What the machine's own says; nothing where it has none."""
    try:
        return ResolvConf.parse(path.read_text(errors="replace"))
    except OSError:
        return ResolvConf()


def resolv_conf(
    namespace: str,
    policy: str = "ClusterFirst",
    config: Mapping[str, Any] | None = None,
    host: ResolvConf | None = None,
    *,
    dns: str = "",
    domain: str = "cluster.local",
    host_network: bool = False,
) -> str:
    """The file for a pod's containers.

    ``policy`` is its dnsPolicy, ``config`` its dnsConfig, ``host`` what the node's own file
    says and ``dns`` the address of cluster DNS ("": there is none, and ClusterFirst is
    Default).  Resolvers on the node's loopback mean nothing to a pod: they are left out
    unless it is on the node's network.
    """
    host = host or ResolvConf()
    if policy == "ClusterFirst" and host_network:
        # Pods on the host's network have to ask for it by the policy's other name.
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and not dns:
        policy = "Default"
    if policy == "None":
        base = ResolvConf()
    elif policy == "Default":
        reachable = host.nameservers
        if not host_network:
            reachable = tuple(n for n in reachable if not _loopback(n))
            if not reachable and dns:
                # Cluster DNS asks the machine's resolvers for what is not the cluster's.
                reachable = (dns,)
        base = ResolvConf(reachable, host.searches, host.options)
    else:
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
        base = ResolvConf((dns,), _unique((*own, *host.searches)), ("ndots:5",))
    return str(_merged(base, config or {}))


def _merged(base: ResolvConf, config: Mapping[str, Any]) -> ResolvConf:
    nameservers = _unique((*base.nameservers, *(config.get("nameservers") or ())))
    searches = _unique((*base.searches, *(config.get("searches") or ())))
    options: dict[str, str] = {}
    for option in base.options:
        name, _, value = option.partition(":")
        options[name] = value
    for asked in config.get("options") or ():
        options[asked["name"]] = str(asked.get("value") or "")
    return ResolvConf(
        nameservers[:NAMESERVERS],
        _fitting(searches),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
    )


def _fitting(searches: tuple[str, ...]) -> tuple[str, ...]:
    out: list[str] = []
    length = 0
    for search in searches[:SEARCHES]:
        length += len(search) + (1 if out else 0)
        if length > SEARCH_CHARACTERS:
            break
        out.append(search)
    return tuple(out)


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _loopback(address: str) -> bool:
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True
