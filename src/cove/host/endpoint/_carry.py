"""carry: the bytes of one connection, both ways, between a socket and a pod.

Nothing is kept here but the piece that is under way in each direction: who reads slowly is
waited for, all the way to who writes.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from cove.client import Clock, PortForward, PortForwardError

__all__ = ["LINGER", "PIECE", "carry"]

PIECE = 64 * 1024
# Seconds a connection is kept when one side has ended and the other says nothing: the client
# after the pod's end, and the pod after the client's where it cannot be told of that.
LINGER = 30.0


class _Pieces:
    """How many have come through, for who waits for silence."""

    def __init__(self) -> None:
        self.count = 0


async def carry(local: socket.socket, remote: PortForward, clock: Clock) -> None:
    """Until both sides have ended, each at its time; the socket is not closed.

    Raises PortForwardError when the pod's side broke, OSError when the client's did.
    """
    pieces = _Pieces()
    inward = asyncio.create_task(_inward(local, remote, pieces), name="endpoint: to the pod")
    outward = asyncio.create_task(_outward(local, remote, pieces), name="endpoint: from the pod")
    try:
        await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
        if outward.done():
            outward.result()
            await _until_silent(inward, pieces, clock)
        else:
            inward.result()
            if remote.half_close:
                await outward
            else:
                await _until_silent(outward, pieces, clock)
                if outward.done():
                    outward.result()
    finally:
        inward.cancel()
        outward.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _inward(local: socket.socket, remote: PortForward, pieces: _Pieces) -> None:
    loop = asyncio.get_running_loop()
    # Where the pod does not take it, reading from the pod tells why.
    with suppress(PortForwardError):
        while piece := await loop.sock_recv(local, PIECE):
            pieces.count += 1
            await remote.write(piece)
        await remote.write_eof()


async def _outward(local: socket.socket, remote: PortForward, pieces: _Pieces) -> None:
    loop = asyncio.get_running_loop()
    while piece := await remote.read():
        pieces.count += 1
        await loop.sock_sendall(local, piece)
    local.shutdown(socket.SHUT_WR)


async def _until_silent(task: asyncio.Task[None], pieces: _Pieces, clock: Clock) -> None:
    """Wait for a task's end, or until nothing has come for :data:`LINGER`."""
    seen = -1
    while not task.done() and seen != pieces.count:
        seen = pieces.count
        timer = asyncio.create_task(clock.sleep(LINGER), name="endpoint: linger")
        try:
            await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)
