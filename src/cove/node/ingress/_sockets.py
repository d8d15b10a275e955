"""Sockets: the ports that the proxy listens on, held open by us."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from cove.kube.status import CoveError

__all__ = ["ListenError", "listen"]

BACKLOG = 512
ATTEMPTS = 16


class ListenError(CoveError):
    """A port that was asked for cannot be had."""


def listen(addresses: Sequence[str], port: int | None, usual: int) -> list[socket.socket]:
    """Listening sockets, one per address, all on one port; the caller closes them.

    ``port`` None takes ``usual`` if it can be had and else any free one; 0 takes a free
    one.  Raises ListenError for a port that was asked for, or an address that is not this
    machine's.
    """
    if port:
        return _all(addresses, port)
    if port is None:
        try:
            return _all(addresses, usual)
        except ListenError:
            pass
    for attempt in range(ATTEMPTS):
        try:
            return _all(addresses, 0)
        except ListenError:
            # Free on the first address, taken on another.
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError


def _all(addresses: Sequence[str], port: int) -> list[socket.socket]:
    made: list[socket.socket] = []
    with ExitStack() as stack:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                one = socket.create_server((address, port), family=family, backlog=BACKLOG)
            except OSError as e:
                raise ListenError(
                    f"cannot listen on {address} port {port}: {e.strerror}; choose another port"
                ) from e
            stack.callback(one.close)
            port = one.getsockname()[1]
            made.append(one)
        stack.pop_all()
    return made
