"""Forwarder: a port of this machine that leads to a ready pod of a Service.

It follows the Service and its pods by watches and says what it knows of them; each
connection is carried through the API server by :mod:`cove.client.portforward`.  What is
read from documents is decided in :mod:`.target`, the socket is :mod:`._listener`'s, the
bytes are :mod:`._carry`'s.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from cove.client import (
    ClientError,
    Clock,
    Informer,
    PortForwardError,
    SystemClock,
    Tasks,
    Tunnels,
)
from cove.host.endpoint._carry import carry
from cove.host.endpoint._listener import LOOPBACK, Listener, PortTakenError, reset
from cove.host.endpoint.target import (
    Never,
    NotYet,
    Target,
    checked_name,
    checked_port,
    checked_scheme,
    resolve,
    scheme_of,
    selector_of,
)
from cove.host.errors import AppError, ResourceError
from cove.kube.gvk import GVR
from cove.kube.labels import Selector
from cove.kube.status import StatusError

if TYPE_CHECKING:
    from cove.client import Client
    from cove.client.clock import Timer

__all__ = ["FIRST_DELAY", "LAST_DELAY", "ForwardStatus", "Forwarder", "Phase"]

log = logging.getLogger("cove.host")

Phase = Literal["waiting", "ready", "failed"]

SERVICES = GVR("", "v1", "services")
PODS = GVR("", "v1", "pods")
# Seconds until a pod that could not be connected to is tried again: doubled up to the last.
FIRST_DELAY, LAST_DELAY = 2.0, 30.0
# The name by which containers know the machine they run on.
FROM_CONTAINERS = "host.docker.internal"


@dataclass(frozen=True, slots=True)
class ForwardStatus:
    """What is known now.  ``reason`` says why it is not ready, "" when it is.

    ``url``, ``pod`` and ``target_port`` are those of a ready one, "" and 0 otherwise.
    """

    phase: Phase
    reason: str = ""
    url: str = ""
    pod: str = ""
    target_port: int = 0


OnChange = Callable[[ForwardStatus], Awaitable[None]]


class Forwarder:
    """Listens from entering to leaving; ``async with Forwarder(client, "web", 80) as web``.

    ``port`` is the Service's own, by number or name; the pod's is found from its
    ``targetPort``.  ``local_port`` 0 takes a free port.  ``hosts`` are the addresses to
    listen on, the port is the same on all of them: 127.0.0.1 (with ::1), and for containers
    that of their bridge.  ``scheme`` is what :attr:`url` says instead of https for 443 and
    8443 and http for the rest.  ``client`` is one over HTTP(S); it is not closed.

    ``on_change`` is awaited with every change of :attr:`status`, one after another; a slow
    one is told the latest, not all in between.  It must not leave the forwarder itself.

    One pod gets all connections for as long as it is ready, as with kubectl; connections
    that are open when another takes its place stay with the old one until it ends.  While
    there is none, connections are accepted and broken off at once, with a line in the log:
    who connects is told faster than by waiting.  A port that nobody listens on in a ready
    pod breaks off the connection alone.

    Making one raises AppError for what cannot be asked for, entering it
    :class:`PortTakenError` for a port that cannot be had.  Leaving frees the port and ends
    every connection; that is not told to ``on_change``.
    """

    def __init__(
        self,
        client: Client,
        service: str,
        port: int | str,
        *,
        namespace: str = "default",
        name: str = "",
        local_port: int = 0,
        hosts: Sequence[str] = (LOOPBACK,),
        scheme: str | None = None,
        on_change: OnChange | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.service = checked_name("the service's name", service)
        self.namespace = checked_name("the service's namespace", namespace)
        self.service_port = checked_port(port)
        if not 0 <= local_port <= 65535:
            raise AppError(f"port {local_port} cannot be: ports are 1–65535, 0 is a free one")
        if not hosts:
            raise AppError("hosts is empty: name an address to listen on")
        # What it is called in messages.
        self.name = name or service
        self.status = ForwardStatus("waiting", "not started")
        self._scheme = checked_scheme(scheme)
        self._hosts = tuple(checked_name("an address to listen on", host) for host in hosts)
        # The port of this machine; once entered it stays, unless the socket is lost.
        self.port = local_port
        self._client = client
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._listener: Listener | None = None
        self._relisten: Timer | None = None
        # Why there is no listener.
        self._deaf = ""
        self._target: Target | None = None
        # The pod that cannot be connected to, and why.
        self._unreached: tuple[str, str] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._told = asyncio.Condition()
        # By the uids of pods: of the one that is connected to now, and hardly any other.
        self._tunnels: dict[str, Tunnels] = {}
        self._tasks = Tasks()
        self._connections = Tasks()
        self._count = 0
        self._said = ""

    # -- where it is

    @property
    def scheme(self) -> str:
        """http or https; of a port given by name it may be known only with the Service."""
        target = self._target
        by_name = isinstance(self.service_port, str) and scheme_of(self.service_port) == "http"
        port = target.service_port if target is not None and by_name else self.service_port
        return scheme_of(port, self._scheme)

    @property
    def url(self) -> str:
        """Where programs on this machine find it: ``http://localhost:PORT``."""
        return f"{self.scheme}://localhost:{self.port}"

    @property
    def container_url(self) -> str:
        """Where containers find it: ``http://host.docker.internal:PORT``."""
        return f"{self.scheme}://{FROM_CONTAINERS}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._count

    async def wait_ready(self) -> ForwardStatus:
        """Return once it is ready; raises ResourceError with the reason once it has failed."""
        async with self._told:
            await self._told.wait_for(lambda: self.status.phase != "waiting")
            status = self.status
        if status.phase == "failed":
            raise ResourceError(f"endpoint {self.name}: {status.reason}")
        return status

    # -- its life

    async def __aenter__(self) -> Self:
        self._listener = self._listen(self.port)
        self._tasks.start(f"endpoint {self.name}", self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._stop_serving()
        finally:
            await self._tasks.close()
        if self.status.phase != "failed":
            await self._tell(ForwardStatus("failed", "the endpoint was closed"))

    async def _stop_serving(self) -> None:
        if self._relisten is not None:
            self._relisten.cancel()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._connections.close()
        await self._leave_tunnels()

    async def _run(self) -> None:
        try:
            reason = await self._follow()
        except Exception as e:
            log.exception("endpoint %s failed", self.name)
            first: Exception = e
            while isinstance(first, ExceptionGroup):
                first = first.exceptions[0]
            reason = f"{type(first).__name__}: {first}"
        self._target = None
        self._reached()
        await self._stop_serving()
        await self._publish(ForwardStatus("failed", reason))

    async def _publish(self, status: ForwardStatus) -> None:
        if status == self.status:
            return
        if status.phase == "ready":
            log.info("endpoint %s: %s leads to pod %s", self.name, status.url, status.pod)
        else:
            log.info("endpoint %s is %s: %s", self.name, status.phase, status.reason)
        await self._tell(status)
        if self._on_change is not None:
            await self._on_change(status)

    async def _tell(self, status: ForwardStatus) -> None:
        self.status = status
        async with self._told:
            self._told.notify_all()

    # -- following the Service and its pods

    async def _follow(self) -> str:
        """Say what is known until there is no hope; the reason."""
        async with asyncio.TaskGroup() as group:
            field = f"metadata.name={self.service}"
            services, watching = self._informer(group, SERVICES, fields=field)
            pods: Informer | None = None
            watching_pods: asyncio.Task[None] | None = None
            selector: Selector | None = None
            self._news.set()
            try:
                while True:
                    await self._news.wait()
                    self._news.clear()
                    service = services.get(self.namespace, self.service)
                    wanted = selector_of(service) if service is not None else None
                    wanted = wanted if isinstance(wanted, Selector) else None
                    if wanted != selector:
                        if watching_pods is not None:
                            watching_pods.cancel()
                        selector, pods, watching_pods = wanted, None, None
                        if wanted is not None:
                            pods, watching_pods = self._informer(group, PODS, labels=str(wanted))
                    status = self._decide(services, pods)
                    if isinstance(status, Never):
                        return status.reason
                    await self._leave_tunnels(self._target.uid if self._target else "")
                    await self._publish(status)
            finally:
                watching.cancel()
                if watching_pods is not None:
                    watching_pods.cancel()

    def _informer(
        self, group: asyncio.TaskGroup, gvr: GVR, *, fields: str = "", labels: str = ""
    ) -> tuple[Informer, asyncio.Task[None]]:
        """An informer whose every change is news, and the task that it runs in."""
        informer = Informer(
            self._client,
            gvr,
            namespace=self.namespace,
            field_selector=fields,
            label_selector=labels,
            clock=self._clock,
        )

        def changed(old: object, new: object, *, initial: bool) -> None:
            self._news.set()

        informer.add_handler(changed)
        informer.add_state_handler(self._news.set)
        name = f"endpoint {self.name}: informer of {gvr.resource}"
        return informer, group.create_task(informer.run(), name=name)

    def _decide(self, services: Informer, pods: Informer | None) -> ForwardStatus | Never:
        name = f"{self.namespace}/{self.service}"
        found = self._found(name, services, pods)
        if isinstance(found, Never):
            return found
        target = found if isinstance(found, Target) else None
        if self._unreached is not None and (target is None or target.uid != self._unreached[0]):
            # Another pod deserves a try of its own, at once.
            self._reached()
        self._target = target
        if isinstance(found, NotYet):
            return ForwardStatus("waiting", found.reason)
        if self._unreached is not None:
            return ForwardStatus("waiting", self._unreached[1])
        if self._listener is None:
            return ForwardStatus("waiting", self._deaf)
        return ForwardStatus("ready", "", self.url, found.pod, found.port)

    def _found(
        self, name: str, services: Informer, pods: Informer | None
    ) -> Target | NotYet | Never:
        for informer in (services, pods):
            if informer is not None and informer.problem is not None:
                return NotYet(f"{informer.name} cannot be followed: {informer.problem}")
        if not services.synced.is_set():
            return NotYet(f"looking for service {name}")
        if pods is not None and not pods.synced.is_set():
            return NotYet(f"looking for the pods of service {name}")
        keep = self._target.uid if self._target is not None else ""
        service = services.get(self.namespace, self.service)
        return resolve(service, name, pods or (), self.service_port, keep)

    # -- pods that cannot be connected to

    def _failed(self, target: Target, error: Exception) -> None:
        """A connection could not be opened: break off new ones, and try from time to time."""
        self._say(f"pod {target.pod} cannot be connected to: {error}")
        if self._unreached is not None or self._target is None or self._target.uid != target.uid:
            return
        self._unreached = target.uid, f"pod {target.pod} cannot be connected to: {error}"
        self._trying = self._tasks.start(f"endpoint {self.name}: back-off", self._try(target))
        self._news.set()

    async def _try(self, target: Target) -> None:
        delay = FIRST_DELAY
        while True:
            await self._clock.sleep(delay)
            delay = min(2 * delay, LAST_DELAY)
            try:
                async with self._client.port_forward(target.pod, target.port, self.namespace):
                    pass
            except PortForwardError:
                pass  # the pod itself has answered
            except Exception as e:
                # Whatever it is: who stopped trying would wait for ever.
                self._unreached = target.uid, f"pod {target.pod} cannot be connected to: {e}"
                self._news.set()
                continue
            self._unreached = self._trying = None
            self._news.set()
            return

    def _reached(self) -> None:
        self._unreached = None
        if self._trying is not None:
            self._trying.cancel()
            self._trying = None

    # -- listening

    def _listen(self, port: int) -> Listener:
        listener = Listener(
            self._hosts, port, accepted=self._accepted, lost=self._lost, clock=self._clock
        )
        self.port = listener.port
        return listener

    def _lost(self, why: str) -> None:
        log.warning("endpoint %s: port %s is lost: %s", self.name, self.port, why)
        self._listener = None
        self._deaf = f"port {self.port} is lost: {why}"
        self._listen_again(FIRST_DELAY)

    def _listen_again(self, delay: float) -> None:
        try:
            # Not the port of before: whatever took it away may still be there.
            self._listener = self._listen(0)
        except PortTakenError as e:
            self._deaf = str(e)
            self._relisten = self._clock.call_later(
                delay, lambda: self._listen_again(min(2 * delay, LAST_DELAY))
            )
        self._news.set()

    # -- connections

    def _accepted(self, connection: socket.socket) -> None:
        target = self._target
        if target is None or self.status.phase != "ready" or self._unreached is not None:
            log.info("endpoint %s: a connection was broken off: %s", self.name, self.status.reason)
            reset(connection)
            return
        self._count += 1
        task = self._connections.start(
            f"endpoint {self.name}: connection to {target.pod}", self._serve(connection, target)
        )
        # Not by the task itself: one that is cancelled before its first step does nothing.
        task.add_done_callback(lambda _: self._ended(connection))

    async def _serve(self, connection: socket.socket, target: Target) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with AsyncExitStack() as stack:
                remote = await stack.enter_async_context(
                    self._tunnels_to(target).connect(target.port)
                )
                await carry(connection, remote, self._clock)
            connection.close()
        except PortForwardError as e:
            self._say(str(e))
        except (ClientError, StatusError) as e:
            self._failed(target, e)
        except OSError as e:
            log.debug("endpoint %s: the client broke off: %s", self.name, e)

    def _tunnels_to(self, target: Target) -> Tunnels:
        tunnels = self._tunnels.get(target.uid)
        if tunnels is None:
            tunnels = Tunnels(self._client, target.pod, self.namespace, clock=self._clock)
            self._tunnels[target.uid] = tunnels
        return tunnels

    async def _leave_tunnels(self, keep: str = "") -> None:
        """Those of pods that nobody will be led to any more."""
        for uid in self._tunnels.keys() - {keep}:
            tunnels = self._tunnels.pop(uid, None)
            if tunnels is not None:
                await tunnels.close()

    def _ended(self, connection: socket.socket) -> None:
        self._count -= 1
        if connection.fileno() >= 0:
            reset(connection)

    def _say(self, text: str) -> None:
        """A warning; who tries over and over again does not fill the log with it."""
        log.log(
            logging.DEBUG if text == self._said else logging.WARNING,
            "endpoint %s: %s",
            self.name,
            text,
        )
        self._said = text
