"""Flows: UDP "connections" that the kernel still sends where nobody is any more.

A client that keeps sending from one port keeps its flow alive, and with it the endpoint that
was picked first.  TCP notices by itself.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable

from cove.node.network._run import CommandError, Run, run
from cove.node.network.endpoints import ServicePort, chosen

__all__ = ["Flows", "stale"]

log = logging.getLogger("cove.node")

# Per address and port, who was behind it.
Front = tuple[str, int]


def fronts(ports: Iterable[ServicePort], nodes: Iterable[str]) -> dict[Front, frozenset[str]]:
    """The endpoints' addresses behind every UDP address and port."""
    out: dict[Front, frozenset[str]] = {}
    known = tuple(nodes)
    for port in ports:
        if port.protocol != "UDP":
            continue
        endpoints = frozenset(e.address for e in chosen(port.endpoints))
        for address in (*port.cluster_ips, *port.external_ips, *port.balancer_ips):
            out[address, port.port] = endpoints
        if port.node_port:
            for address in known:
                out[address, port.node_port] = endpoints
    return out


def stale(
    before: dict[Front, frozenset[str]], after: dict[Front, frozenset[str]]
) -> list[tuple[str, ...]]:
    """Arguments of ``conntrack -D`` for the flows that lead astray."""
    out: list[tuple[str, ...]] = []
    for (address, port), endpoints in sorted(before.items()):
        now = after.get((address, port), frozenset())
        front = ("-p", "udp", "--orig-dst", address, "--orig-port-dst", str(port))
        for gone in sorted(endpoints - now):
            out.append((*front, "--dst-nat", gone))
        if now and not endpoints:
            # What was sent when nobody was there was not redirected, and would not be now.
            out.append(front)
    return out


class Flows:
    """Remembers what was in force, and ends the flows that no longer are."""

    def __init__(self, command: Run = run) -> None:
        self._run = command
        self._before: dict[Front, frozenset[str]] = {}
        self._told = False

    async def changed(self, ports: Iterable[ServicePort], nodes: Iterable[str]) -> None:
        """The rules for these are in force now."""
        before, self._before = self._before, fronts(ports, nodes)
        for arguments in stale(before, self._before):
            if not shutil.which("conntrack"):
                if not self._told:
                    self._told = True
                    log.warning(
                        "UDP clients may keep sending to pods that are gone: "
                        "install the package conntrack to have their flows ended"
                    )
                return
            try:
                await self._run("conntrack", "-D", *arguments)
            except CommandError as e:
                if "0 flow entries" not in e.said:
                    log.warning("%s", e)
