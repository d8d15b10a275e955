"""Connections from inside a pod's network, so that its loopback is reached too."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading

__all__ = ["connect"]

_NEW_NET = 0x40000000


def _socket_inside(pid: int) -> socket.socket:
    """A TCP socket that belongs to the network of a process; raises OSError.

    A socket stays in the network it was made in.  Only the thread that makes it goes there,
    and it ends at once, so that no other socket is ever made there by mistake.
    """
    found: list[socket.socket] = []
    problem: list[OSError] = []

    def work() -> None:
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(descriptor, _NEW_NET):
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))
                found.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            finally:
                os.close(descriptor)
        except OSError as e:
            problem.append(e)

    thread = threading.Thread(target=work, name="cove-netns")
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return found[0]


async def connect(pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to ``port`` of the loopback of a process's network; raises OSError.

    PermissionError where the caller may not enter it (it takes root), FileNotFoundError
    where the process is not of this machine.
    """
    made = await asyncio.to_thread(_socket_inside, pid)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=made)
    except BaseException:
        made.close()
        raise
