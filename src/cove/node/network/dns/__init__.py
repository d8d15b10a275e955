"""Cluster DNS: names of services and pods, and everything else from the machine's resolvers."""

from __future__ import annotations

from cove.node.network.dns.resolvconf import ResolvConf, host_resolv_conf, resolv_conf
from cove.node.network.dns.server import DnsServer
from cove.node.network.dns.service import DnsService
from cove.node.network.dns.upstream import Upstreams
from cove.node.network.dns.zone import Answer, Zone

__all__ = [
    "Answer",
    "DnsServer",
    "DnsService",
    "ResolvConf",
    "Upstreams",
    "Zone",
    "host_resolv_conf",
    "resolv_conf",
]
