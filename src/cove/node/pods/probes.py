"""Probes: is it alive, is it ready, has it started?

Source: https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cove.client import Clock

__all__ = ["Outcome", "Prober", "check", "http_request", "port_of"]

Doc = Mapping[str, Any]
Exec = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]

BODY = 10 * 1024
SHOWN = 2048


class Outcome(NamedTuple):
    """What one try found; ``text`` is for the event."""

    ok: bool
    text: str = ""


def port_of(container: Doc, port: int | str) -> int:
    """A port by number or by its name in the container; raises ValueError."""
    if isinstance(port, int) or str(port).isdecimal():
        return int(port)
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ValueError(f"couldn't find port: {port}")


async def http_request(
    action: Doc, container: Doc, address: str, timeout: float, agent: str
) -> tuple[int, str]:
    """(status, beginning of the body) of an httpGet; raises OSError, ValueError, TimeoutError."""
    import aiohttp

    from cove.client._connector import Connector

    host = action.get("host") or address
    shown = f"[{host}]" if ":" in host else host
    path = action.get("path") or "/"
    scheme = str(action.get("scheme") or "HTTP").lower()
    url = f"{scheme}://{shown}:{port_of(container, action['port'])}/{path.lstrip('/')}"
    headers = {"User-Agent": agent, "Accept": "*/*"}
    headers.update({h["name"]: h["value"] for h in action.get("httpHeaders") or ()})
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    limits = aiohttp.ClientTimeout(total=timeout)
    try:
        async with (
            aiohttp.ClientSession(connector=Connector(ssl=context)) as session,
            session.get(url, headers=headers, timeout=limits, allow_redirects=True) as response,
        ):
            body = await response.content.read(BODY)
            return response.status, body.decode(errors="replace")
    except TimeoutError:
        raise TimeoutError(
            f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        ) from None
    except aiohttp.ClientError as e:
        raise OSError(f'Get "{url}": {_reason(e, host, action, container)}') from e


def _reason(error: Exception, host: str, action: Doc, container: Doc) -> str:
    cause: BaseException | None = getattr(error, "os_error", None) or error
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {host}:{port_of(container, action['port'])}: connect: connection refused"
    return str(error) or type(error).__name__


async def _tcp(action: Doc, container: Doc, address: str, timeout: float) -> Outcome:
    host, port = action.get("host") or address, port_of(container, action["port"])
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return Outcome(False, f"dial tcp {host}:{port}: connect: connection refused")
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as e:
        return Outcome(False, f"dial tcp {host}:{port}: connect: {(e.strerror or str(e)).lower()}")
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass
    return Outcome(True)


async def check(probe: Doc, container: Doc, address: str, run: Exec) -> Outcome:
    """Try once; ``run`` executes a command in the container within a time."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        if probe.get("exec"):
            code, output = await run(probe["exec"].get("command") or (), timeout)
            return Outcome(code == 0, output)
        if probe.get("httpGet"):
            status, body = await http_request(
                probe["httpGet"], container, address, timeout, "kube-probe/1.36"
            )
            if 200 <= status < 400:
                return Outcome(True, body)
            return Outcome(False, f"HTTP probe failed with statuscode: {status}")
        if probe.get("tcpSocket"):
            return await _tcp(probe["tcpSocket"], container, address, timeout)
        if probe.get("grpc"):
            from cove.node.pods.grpc import health

            grpc = probe["grpc"]
            return Outcome(*await health(address, grpc["port"], grpc.get("service") or "", timeout))
    except TimeoutError as e:
        return Outcome(False, str(e) or f"command timed out after {timeout:g}s")
    except (OSError, ValueError) as e:
        return Outcome(False, str(e))
    return Outcome(True)


class Prober:
    """One probe of one container that runs: results are told when they change.

    ``changed(ok, text)`` is called when a threshold is reached; ``failed(text)`` at every
    try that failed.  :meth:`run` ends only by being cancelled, or, with ``once``, at the
    first success that counts.
    """

    def __init__(
        self,
        probe: Doc,
        attempt: Callable[[], Awaitable[Outcome]],
        *,
        clock: Clock,
        initial: bool,
        changed: Callable[[bool, str], None],
        failed: Callable[[str], None],
    ) -> None:
        self._probe = probe
        self._attempt = attempt
        self._clock = clock
        self._result = initial
        self._changed = changed
        self._failed = failed

    async def run(self, *, once: bool = False) -> None:
        """Probe for as long as the container runs."""
        probe = self._probe
        delay = float(probe.get("initialDelaySeconds") or 0)
        period = float(probe.get("periodSeconds") or 10)
        needed = {True: int(probe.get("successThreshold") or 1)}
        needed[False] = int(probe.get("failureThreshold") or 3)
        if delay:
            await self._clock.sleep(delay)
        row, last = 0, self._result
        while True:
            outcome = await self._attempt()
            if not outcome.ok:
                self._failed(outcome.text[:SHOWN])
            row = row + 1 if outcome.ok == last else 1
            last = outcome.ok
            if row >= needed[outcome.ok] and (outcome.ok != self._result or not outcome.ok):
                self._result = outcome.ok
                row = 0
                self._changed(outcome.ok, outcome.text)
                if once and outcome.ok:
                    return
            # A container that is not ready yet is looked at more often, as upstream's does.
            await self._clock.sleep(period)
