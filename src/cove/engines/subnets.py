"""Subnets for clusters whose pods run: no two on one machine can have the same."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from pathlib import Path

from cove.engines.home import ClusterFolder, Settings, clusters
from cove.kube.status import CoveError
from cove.node.docker import EngineError, find_engine

__all__ = ["planned"]

POD_SUBNETS = [f"10.{244 + n}.0.0/16" for n in range(12)] + [
    f"10.{n}.0.0/16" for n in range(200, 244)
]
# /16 each, out of 10.96.0.0/12 and what follows it.
SERVICE_SUBNETS = ["10.96.0.0/12"] + [f"10.{n}.0.0/16" for n in range(112, 200)]


def _routes() -> list[IPv4Network]:
    """The networks this machine has routes to, but for the default one."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        _, destination, _, _, _, _, _, mask, *_ = line.split()
        address = int.from_bytes(bytes.fromhex(destination)[::-1], "big")
        bits = int.from_bytes(bytes.fromhex(mask)[::-1], "big").bit_count()
        if bits:
            found.append(ip_network((address, bits)))
    return [n for n in found if isinstance(n, IPv4Network)]


def _free(wanted: str, choices: list[str], taken: list[IPv4Network]) -> str:
    """The wanted subnet, or where it was not chosen (it is the first choice) a free one."""
    if wanted != choices[0]:
        return wanted
    for text in choices:
        subnet = IPv4Network(text)
        if not any(subnet.overlaps(other) for other in taken):
            return text
    return wanted


def planned(settings: Settings, folder: ClusterFolder | None) -> Settings:
    """The settings with subnets that nobody else on this machine has.

    Pods that run have addresses of the machine: no two clusters can have the same.  A
    cluster that exists keeps what it has, and what was asked for stays what it is.
    """
    if not settings.nodes or (folder is not None and folder.exists):
        return settings
    try:
        if find_engine(settings.container_engine) is None:
            return settings
    except EngineError:
        return settings  # whoever starts the cluster says so
    taken = _routes()
    for other in clusters():
        if folder is None or other.name != folder.name:
            try:
                known = other.settings
            except CoveError:
                continue
            taken += [IPv4Network(known.pod_subnet), IPv4Network(known.service_subnet)]
    return replace(
        settings,
        pod_subnet=_free(settings.pod_subnet, POD_SUBNETS, taken),
        service_subnet=_free(settings.service_subnet, SERVICE_SUBNETS, taken),
    )
