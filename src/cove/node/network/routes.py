"""Routes: no address of pods or services is looked for outside this machine.

Both ranges get a blackhole, which the bridge's own route precedes.  For services that alone
would refuse what the packet filter is to redirect, because a packet of the host is routed
before it is redirected: their range is routed to a bridge of its own that has no ports.
What was not redirected is refused there by the packet filter, and would be lost otherwise.
(Routed to the pods' bridge it would work too, but the kernel would then tell pods to ask for
those addresses on their own link.)

Every cluster's routes have a metric of their own, made of its key: clusters with the same
ranges do not share a route, and what a crash left is known by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Self

import orjson

from cove.node.network._run import CommandError, Run, run

__all__ = ["PROTOCOL", "Routes", "device_of", "reap_routes"]

Doc = dict[str, Any]

# Who made a route, among the kernel's numbers of routing programs: nobody else's.
PROTOCOL = 67
_DEVICE = "csvc-"
# Far behind every route that anybody makes; the lower one counts first.
_DIRECT, _BLACKHOLE = 0xC0000000, 0xD0000000
_MASK = 0x0FFFFFFF
# How many a cluster has.
ROUTES = 3


def device_of(key: str) -> str:
    """The interface that a cluster's services are routed to."""
    return f"{_DEVICE}{key}"


class Routes:
    """The routes of one cluster: there while it is entered.

    ``key`` is eight hexadecimal digits.  What an earlier run with the same key left behind
    is taken over.
    """

    def __init__(
        self,
        key: str,
        *,
        pods: IPv4Network,
        services: IPv4Network,
        source: IPv4Address,
        command: Run = run,
    ) -> None:
        self._key = key
        self._pods, self._services, self._source = pods, services, source
        self._run = command

    async def __aenter__(self) -> Self:
        await _remove(self._key, self._run)
        try:
            for command in self._commands():
                await self._run(*command)
        except BaseException:
            await _remove(self._key, self._run)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await _remove(self._key, self._run)

    async def check(self) -> bool:
        """Put back what somebody else removed; whether there was something.

        The kernel removes a route with the address that it sends from, when a bridge is made
        again.
        """
        own = int(self._key, 16) & _MASK
        if sum(metric & _MASK == own for _, metric in await _listed(self._run)) == ROUTES:
            return False
        for command in self._commands():
            await _quietly(self._run, *command)
        return True

    def _commands(self) -> list[tuple[str, ...]]:
        """What makes the routes, the safe ones first."""
        device = device_of(self._key)
        # From the bridge's address: pods answer it directly.
        direct = (str(self._services), "dev", device, "src", str(self._source))
        return [
            self._route(_BLACKHOLE, "blackhole", str(self._pods)),
            self._route(_BLACKHOLE, "blackhole", str(self._services)),
            ("ip", "link", "add", device, "type", "bridge"),
            ("ip", "link", "set", device, "up"),
            self._route(_DIRECT, *direct),
        ]

    def _route(self, base: int, *what: str) -> tuple[str, ...]:
        metric = base + (int(self._key, 16) & _MASK)
        return ("ip", "route", "add", *what, "proto", str(PROTOCOL), "metric", str(metric))


async def reap_routes(alive: Collection[str], command: Run = run) -> None:
    """Remove the routes of clusters whose keys are not among ``alive``."""
    kept = {int(key, 16) & _MASK for key in alive}
    await _delete(lambda metric: metric & _MASK not in kept, command)
    devices = {device_of(key) for key in alive}
    for link in orjson.loads(await command("ip", "-json", "link", "show", "type", "bridge")):
        name = link.get("ifname", "")
        if name.startswith(_DEVICE) and name not in devices:
            await _quietly(command, "ip", "link", "delete", name)


async def _remove(key: str, command: Run) -> None:
    own = int(key, 16) & _MASK
    await _quietly(command, "ip", "link", "delete", device_of(key))
    await _delete(lambda metric: metric & _MASK == own, command)


async def _listed(command: Run) -> list[tuple[Doc, int]]:
    """Our routes and their metrics."""
    text = await command("ip", "-json", "route", "show", "proto", str(PROTOCOL))
    routes = [(route, int(route.get("metric", 0))) for route in orjson.loads(text or "[]")]
    return [(route, metric) for route, metric in routes if metric >= _DIRECT]


async def _delete(wanted: Callable[[int], bool], command: Run) -> None:
    for route, metric in await _listed(command):
        if not wanted(metric):
            continue
        kind = () if route.get("type", "unicast") == "unicast" else (route["type"],)
        await _quietly(
            command,
            *("ip", "route", "delete", *kind, route["dst"]),
            *("proto", str(PROTOCOL), "metric", str(metric)),
        )


async def _quietly(command: Run, *arguments: str) -> None:
    """Run what may fail because there is nothing to do any more."""
    try:
        await command(*arguments)
    except CommandError:
        return
