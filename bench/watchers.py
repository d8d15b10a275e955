"""100 watchers of one resource while 1,000 events happen: is all delivered, how late?"""

from __future__ import annotations

import asyncio
import json
import time

from bench.load import Target

__all__ = ["fan_out"]


class _Watch(asyncio.Protocol):
    """Counts events of a watch and remembers when each marked one arrived."""

    def __init__(self, expected: int) -> None:
        self.arrivals: dict[bytes, float] = {}
        self.expected = expected
        self.tail = b""
        self.started = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.started.done():
            self.started.set_result(None)
        text = self.tail + data
        *lines, self.tail = text.split(b"\n")
        for line in lines:
            at = line.find(b'"name":"fan-')
            if at >= 0:
                name = line[at + 8 : line.index(b'"', at + 8)]
                self.arrivals.setdefault(name, now)
        if len(self.arrivals) == self.expected and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the watch ended"))


async def fan_out(target: Target, *, watchers: int, events: int) -> None:
    """Print how many events arrived and how far behind the write they were."""
    loop = asyncio.get_running_loop()
    base = "/api/v1/namespaces/bench/secrets"
    watches = []
    transports = []
    for _ in range(watchers):
        transport, watch = await loop.create_connection(
            lambda: _Watch(events), target.host, target.port, ssl=target.context
        )
        transport.write(target.request("GET", f"{base}?watch=true&resourceVersion=0"))
        watches.append(watch)
        transports.append(transport)
    await asyncio.gather(*(w.started for w in watches))
    written: dict[bytes, float] = {}

    def make(i: int) -> bytes:
        body = json.dumps({"metadata": {"name": f"fan-{i}"}, "stringData": {"a": "b"}}).encode()
        return target.request("POST", base, body)

    # One writer at a time, paced below saturation, so that lateness is the server's.
    begun = time.perf_counter()
    for i in range(events):
        await _pause(begun + i / 100)
        await run_one(target, make(i))
        written[b"fan-%d" % i] = time.perf_counter()
    async with asyncio.timeout(30):
        await asyncio.gather(*(w.done for w in watches))
    late = sorted(
        1000 * max(0.0, arrived - written[name])
        for w in watches
        for name, arrived in w.arrivals.items()
    )
    for transport in transports:
        transport.close()
    got = sum(len(w.arrivals) for w in watches)
    p99 = late[int(0.99 * len(late))]
    print(
        f"{f'{watchers} watchers × {events} events':<34}{got:>9} of {watchers * events} "
        f"delivered, p99 {p99:.1f} ms behind the write's answer  goal ≤ 50 ms"
    )


_connections: dict[int, object] = {}


async def run_one(target: Target, request: bytes) -> None:
    """One request on a kept connection."""
    from bench.load import _Connection

    connection = _connections.get(id(target))
    if not isinstance(connection, _Connection):
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection, target.host, target.port, ssl=target.context
        )
        _connections[id(target)] = connection
    await connection.send(request)


async def _pause(until: float) -> None:
    delay = until - time.perf_counter()
    if delay > 0:
        await asyncio.sleep(delay)
