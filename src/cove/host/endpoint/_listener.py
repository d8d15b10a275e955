"""Listener: one port on some addresses of this machine, bound once and kept.

Connections are accepted in the event loop's callbacks, not by a task: what has been
accepted is somebody's at once, and nothing is lost when the listener is closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cove.client import Clock
from cove.client.clock import Timer
from cove.host.errors import ResourceError

__all__ = ["Listener", "PortTakenError", "reset"]

log = logging.getLogger("cove.host")

LOOPBACK = "127.0.0.1"
BACKLOG = 1024
# How many free ports are tried until one is free on every address.
ATTEMPTS = 20
# Seconds between two looks whether the sockets are still there.  A socket that somebody
# closed is never told of.
LOOK = 5.0
# Seconds until it is tried again when the machine is out of descriptors or memory.
REST = 1.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Errors of the connection that was to be accepted, not of the socket.
_PASSING = (
    errno.EAGAIN,
    errno.EINTR,
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENOPROTOOPT,
)


class PortTakenError(ResourceError):
    """A port cannot be listened on; the text says who has it, if that can be told."""


class Listener:
    """Listens from its making until it is closed.

    ``hosts`` are addresses; 127.0.0.1 is ``localhost``, so ::1 is served as well where the
    machine has it, and nobody else can answer for that name.  ``port`` 0 takes one that is
    free on all of them.  ``accepted`` owns what it is given; ``lost`` is called once if the
    sockets are gone without :meth:`close`.  Raises :class:`PortTakenError`.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        port: int,
        *,
        accepted: Callable[[socket.socket], None],
        lost: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._accepted = accepted
        self._lost = lost
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._sockets = _bound(hosts, port)
        self._names = [s.getsockname() for s in self._sockets]
        self.port: int = self._names[0][1]
        self._open = True
        self._timers: dict[str, Timer] = {}
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)
        self._look()

    def close(self) -> None:
        """Free the port."""
        if not self._open:
            return
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        for listening in self._sockets:
            if listening.fileno() >= 0:
                self._loop.remove_reader(listening.fileno())
            with suppress(OSError):
                listening.close()

    def _accept(self, listening: socket.socket) -> None:
        # Not more than a few in a row: others want to run, too.
        for _ in range(64):
            try:
                made, _peer = listening.accept()
            except OSError as e:
                self._failed(listening, e)
                return
            made.setblocking(False)
            self._accepted(made)

    def _failed(self, listening: socket.socket, error: OSError) -> None:
        if error.errno in _PASSING:
            return
        if error.errno not in _EXHAUSTED:
            self._gone(os.strerror(error.errno or 0))
            return
        log.warning("port %s: %s: accepting again in %s s", self.port, error.strerror, REST)
        descriptor = listening.fileno()
        self._loop.remove_reader(descriptor)

        def again() -> None:
            self._loop.add_reader(descriptor, self._accept, listening)

        self._timers[f"rest {descriptor}"] = self._clock.call_later(REST, again)

    def _look(self) -> None:
        """Whether every socket is still the one that was bound, and listens."""
        for listening, name in zip(self._sockets, self._names, strict=True):
            try:
                whole = listening.getsockname() == name and _listens(listening)
            except OSError as e:
                self._gone(os.strerror(e.errno or 0))
                return
            if not whole:
                self._gone("the socket does not listen any more")
                return
        self._timers["look"] = self._clock.call_later(LOOK, self._look)

    def _gone(self, why: str) -> None:
        if self._open:
            self.close()
            self._lost(why)


def _listens(listening: socket.socket) -> bool:
    if sys.platform != "linux":
        return True
    return bool(listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def reset(connection: socket.socket) -> None:
    """Close so that the other end sees a connection that broke, not an empty answer."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# -- binding


def _bound(hosts: Sequence[str], port: int) -> list[socket.socket]:
    wanted = [(host, True) for host in dict.fromkeys(hosts)]
    if LOOPBACK in hosts and "::1" not in hosts:
        wanted.append(("::1", False))
    for attempt in range(ATTEMPTS):
        made: list[socket.socket] = []
        try:
            for host, needed in wanted:
                number = made[0].getsockname()[1] if made else port
                found = _listening(host, number, needed)
                if found is not None:
                    made.append(found)
        except OSError as e:
            for one in made:
                one.close()
            free = not port and made and e.errno == errno.EADDRINUSE
            if not free or attempt == ATTEMPTS - 1:
                raise PortTakenError(_taken(host, number, e)) from e
        else:
            return made
    raise AssertionError("the last attempt returns or raises")


def _listening(host: str, port: int, needed: bool) -> socket.socket | None:
    """A socket that listens; None if it is not needed and there is no such address."""
    try:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        if needed:
            raise
        return None
    try:
        made.setblocking(False)
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in host:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError as e:
        made.close()
        if needed or e.errno == errno.EADDRINUSE:
            raise
        return None
    except BaseException:
        made.close()
        raise
    return made


def _taken(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        who = _holder(port) or "another program"
        return (
            f"port {port} of {host} is taken by {who}: stop it, choose another port, or 0 for "
            "a free one"
        )
    if error.errno == errno.EACCES:
        return f"port {port} of {host} is for administrators: choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine"
    return f"port {port} of {host} cannot be listened on: {error.strerror or error}"


def _holder(port: int) -> str:
    """Who listens on a port, ``name (pid)``, as far as this user may know; Linux alone tells."""
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""
