"""Lan: a bridge with network namespaces for pods, and proof that nothing of it got out."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from ipaddress import IPv4Network, ip_address
from typing import Any, Self, TypeVar

from cove.node.network import Bridge

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
PATIENCE = 20.0
PODS = IPv4Network("10.213.0.0/16")
SERVICES = IPv4Network("10.214.0.0/16")
OUTGOING = 4
_LIBC = ctypes.CDLL(None, use_errno=True)


def sh(*command: str, check: bool = True) -> str:
    """What a command printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def inside(namespace: str, work: Callable[[], T]) -> T:
    """Do something in a network namespace: sockets stay where they were made."""
    if not namespace:
        return work()
    result: list[T] = []
    failure: list[BaseException] = []

    def enter() -> None:
        try:
            handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            try:
                if _LIBC.setns(handle, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(handle)
            result.append(work())
        except BaseException as e:
            failure.append(e)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """The ranges of these tests are the machine's: other runs of them wait."""
    with open("/tmp/cove-network-tests.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _sweep()
        yield


def _sweep() -> None:
    """What a run that was killed left behind."""
    for line in sh("ip", "-brief", "link", "show", "type", "bridge").splitlines():
        if line.startswith("cvt"):
            sh("ip", "link", "del", line.split()[0])
    for line in sh("ip", "netns", "list").splitlines():
        if line.startswith("cvt"):
            sh("ip", "netns", "del", line.split()[0])
    for line in sh("ip", "route", "show", "type", "blackhole").splitlines():
        # Those of a lan have metrics like no other.
        if "metric 42949672" in line and any(
            line.startswith(f"blackhole {n.network_address}"[:-4]) for n in (PODS, SERVICES)
        ):
            sh("ip", "route", "del", *line.split())


class Outside:
    """Sees every packet that leaves through the machine's default route."""

    def __init__(self) -> None:
        words = sh("ip", "route", "show", "default").split()
        self._socket: socket.socket | None = None
        if "dev" in words:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            self._socket.bind((words[words.index("dev") + 1], 0x0800))
            self._socket.setblocking(False)

    def leaked(self) -> list[str]:
        """Packets from or to the tests' ranges that went out since it was made."""
        out: list[str] = []
        if self._socket is None:
            return out
        with self._socket:
            while True:
                try:
                    data, where = self._socket.recvfrom(2048)
                except BlockingIOError:
                    return out
                ends = [ip_address(data[i : i + 4]) for i in (26, 30)]
                if where[2] == OUTGOING and any(e in n for e in ends for n in (PODS, SERVICES)):
                    out.append(f"{ends[0]} > {ends[1]}")


class Pod:
    """A network namespace with an address on the bridge."""

    def __init__(self, lan: Lan, name: str, address: str) -> None:
        self.lan, self.name, self.address = lan, name, address

    async def serve(self, port: int = 8080, protocol: str = "TCP", says: str = "") -> None:
        """Answer everybody with a name and who they seem to be."""
        text = says or self.address

        def listen() -> socket.socket:
            kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
            sock = socket.socket(socket.AF_INET, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.address, port))
            sock.setblocking(False)
            return sock

        await self.lan.serve(inside(self.name, listen), text, protocol)


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, text: str) -> None:
        self._text = text

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(f"{self._text} {addr[0]}".encode(), addr)


class Lan:
    """``10.213.N.0/24`` on a bridge of its own."""

    def __init__(self, number: int = 0, services: str = "") -> None:
        self.number = number
        self.name = f"cvt{os.getpid() % 10000}x{number}"
        self.bridge = Bridge(
            interface=self.name,
            subnet=IPv4Network(f"10.213.{number}.0/24"),
            gateway=next(IPv4Network(f"10.213.{number}.0/24").hosts()),
        )
        self.services = IPv4Network(services or f"10.214.{number}.0/24")
        self._pods = 0
        self._stack = ExitStack()
        self._servers = AsyncExitStack()

    async def __aenter__(self) -> Self:
        stack = self._stack
        try:
            for subnet in (self.bridge.subnet, self.services):
                # Before anything is sent: the last of all routes to there ends here.
                route = ("blackhole", str(subnet), "metric", f"{4294967294 - self.number}")
                sh("ip", "route", "add", *route)
                stack.callback(sh, "ip", "route", "del", *route)
            sh("ip", "link", "add", self.name, "type", "bridge")
            stack.callback(sh, "ip", "link", "del", self.name)
            sh("ip", "addr", "add", f"{self.bridge.gateway}/24", "dev", self.name)
            sh("ip", "link", "set", self.name, "up")
        except BaseException:
            stack.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._servers.aclose()
        finally:
            self._stack.close()

    def pod(self) -> Pod:
        """The next pod: .11, .12, …"""
        self._pods += 1
        number = 10 + self._pods
        name, address = f"{self.name}-{number}", f"10.213.{self.number}.{number}"
        sh("ip", "netns", "add", name)
        self._stack.callback(sh, "ip", "netns", "del", name)
        veth = f"{self.name}p{number}"
        sh("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._stack.callback(sh, "ip", "link", "del", veth, check=False)
        sh("ip", "link", "set", veth, "master", self.name, "up")
        sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        sh("ip", "-n", name, "link", "set", "eth0", "up")
        sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "-n", name, "route", "add", "default", "via", str(self.bridge.gateway))
        return Pod(self, name, address)

    async def serve(self, sock: socket.socket, text: str, protocol: str) -> None:
        """Answer on a socket until the lan is left."""
        if protocol == "TCP":

            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer = writer.get_extra_info("peername")[0]
                writer.write(f"{text} {peer}".encode())
                writer.close()

            server = await asyncio.start_server(answer, sock=sock)
            self._servers.push_async_callback(server.wait_closed)
            self._servers.callback(server.close)
        else:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: _Echo(text), sock=sock)
            self._servers.callback(transport.close)


async def tcp(address: str, port: int, *, pod: Pod | None = None) -> tuple[str, str]:
    """(who answered, whom they saw); raises OSError."""
    sock = inside(pod.name if pod else "", lambda: socket.socket(socket.AF_INET))
    sock.setblocking(False)
    with sock:
        async with asyncio.timeout(PATIENCE):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (address, port))
            said = b""
            while data := await loop.sock_recv(sock, 1024):
                said += data
    if not said:
        raise ConnectionResetError("nothing was said")
    name, _, seen = said.decode().partition(" ")
    return name, seen


class Udp:
    """A UDP socket that asks from the same port each time."""

    def __init__(self, address: str, port: int, *, pod: Pod | None = None) -> None:
        def make() -> socket.socket:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        self._socket = inside(pod.name if pod else "", make)
        self._socket.setblocking(False)
        self._socket.connect((address, port))

    async def ask(self) -> tuple[str, str]:
        """(who answered, whom they saw); raises OSError, also when it is refused."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            await loop.sock_sendall(self._socket, b"?")
            name, _, seen = (await loop.sock_recv(self._socket, 1024)).decode().partition(" ")
        return name, seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()


async def until(what: Callable[[], Awaitable[T | None] | T | None]) -> T:
    """The first truthy answer; other tasks get their turns in between."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = what()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found  # type: ignore[return-value]
            await asyncio.sleep(0.005)
