"""Addresses: pods' IPs out of the pod subnet, each used by one pod at a time."""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Network, IPv6Network, ip_address

from cove.kube.status import CoveError

__all__ = ["Addresses", "SubnetExhaustedError"]


class SubnetExhaustedError(CoveError):
    """Every address of the pod subnet is in use."""


class Addresses:
    """Hands out the addresses of a subnet in order; freed ones come back last, so that an
    address is not another pod's right after."""

    def __init__(self, subnet: IPv4Network | IPv6Network) -> None:
        self.subnet = subnet
        # The network's own address and a gateway are nobody's.
        self._next = int(subnet.network_address) + 2
        self._end = int(subnet.broadcast_address)
        self._free: deque[str] = deque()
        self._taken: set[str] = set()

    def take(self) -> str:
        """An address nobody has; raises SubnetExhaustedError."""
        while self._next < self._end:
            address = str(ip_address(self._next))
            self._next += 1
            if address not in self._taken:
                self._taken.add(address)
                return address
        while self._free:
            address = self._free.popleft()
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise SubnetExhaustedError(
            f"all addresses of the pod subnet {self.subnet} are in use; choose a larger one"
        )

    def reserve(self, address: str) -> None:
        """Note that a pod has an address already; those of other subnets are ignored."""
        try:
            if ip_address(address) in self.subnet:
                self._taken.add(address)
        except ValueError:
            return

    def free(self, address: str) -> None:
        """A pod that had an address is gone."""
        if address in self._taken:
            self._taken.discard(address)
            self._free.append(address)
