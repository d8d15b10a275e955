"""Bridge: the network that the pods of a cluster are on, as seen from the host."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

__all__ = ["Bridge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A Linux bridge whose host side has the address ``gateway`` out of ``subnet``.

    ``interface`` is its name on the host; whoever made the bridge removes it.
    """

    interface: str
    subnet: IPv4Network
    gateway: IPv4Address
