"""Upstreams: questions that are not about the cluster, asked of the machine's resolvers."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from cove.client import Clock, SystemClock

__all__ = ["NoAnswerError", "Upstreams"]

log = logging.getLogger("cove.node")

T = TypeVar("T")

# Seconds for one resolver to answer, and questions under way at a time.
PATIENCE = 2.0
IN_FLIGHT = 256
LONGEST = 65535


class NoAnswerError(Exception):
    """No resolver answered."""


class Upstreams:
    """Asks resolvers in their order; ``addresses`` gives them each time, as (host, port)."""

    def __init__(
        self, addresses: Callable[[], Sequence[tuple[str, int]]], *, clock: Clock | None = None
    ) -> None:
        self._addresses = addresses
        self._clock = clock or SystemClock()
        self._busy = 0

    async def ask(self, question: bytes, *, tcp: bool = False) -> bytes:
        """The answer to a message, under the message's own id; raises NoAnswerError."""
        if self._busy >= IN_FLIGHT:
            raise NoAnswerError("too many questions wait for an answer")
        self._busy += 1
        try:
            # What goes out is not to be guessed by who did not see it.
            id_ = secrets.token_bytes(2)
            asked = id_ + question[2:]
            for address in self._addresses():
                asking = _tcp(address, asked) if tcp else _udp(address, asked)
                try:
                    answer = await self._within(PATIENCE, asking)
                except (OSError, TimeoutError, EOFError) as e:
                    log.debug("resolver %s: %r", address[0], e)
                    continue
                return question[:2] + answer[2:]
            raise NoAnswerError("no resolver answered")
        finally:
            self._busy -= 1

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """As asyncio.timeout, by the cluster's clock."""
        task = asyncio.ensure_future(work)
        timer = self._clock.call_later(seconds, _cancelling(task))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise TimeoutError from None
            task.cancel()
            with suppress(asyncio.CancelledError, OSError, EOFError):
                await task
            raise
        finally:
            timer.cancel()


def _cancelling(task: asyncio.Future[Any]) -> Callable[[], None]:
    def cancel() -> None:
        task.cancel()

    return cancel


class _Question(asyncio.DatagramProtocol):
    def __init__(self, asked: bytes) -> None:
        self._asked = asked
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(data) >= 12 and data[:2] == self._asked[:2] and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.answer.cancel()


async def _udp(address: tuple[str, int], asked: bytes) -> bytes:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Question(asked), remote_addr=address
    )
    try:
        transport.sendto(asked)
        return await protocol.answer
    finally:
        transport.close()


async def _tcp(address: tuple[str, int], asked: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(len(asked).to_bytes(2, "big") + asked)
        await writer.drain()
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        if len(answer) < 12 or answer[:2] != asked[:2]:
            raise ConnectionError("the answer is to another question")
        return answer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
