"""exec: a command in a container of a pod, through the API server.

::

    result = await client.exec("web-0", ["tar", "-xf", "-"], "default", stdin=data)

The streams are numbered channels of one WebSocket, ``v5.channel.k8s.io`` (Kubernetes 1.30
and later, which can tell a command that its input has ended) or ``v4.channel.k8s.io``
(every Kubernetes, which cannot: what reads to the end of its input never ends).

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/, KEP-4006,
``k8s.io/apimachinery/pkg/util/remotecommand``
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from cove.client._transport import Transport
from cove.client.errors import ClientError, ExecError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PROTOCOLS", "ExecResult", "run_exec"]

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3
CLOSE = 255
# The longest message that is sent, in bytes.
PIECE = 64 * 1024
# What is kept of each output; a command that says more is read to its end all the same.
KEPT = 1 << 20


class ExecResult(NamedTuple):
    """How a command ended: its exit code and the first MiB of what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """The last words of a command, for people: standard error, else standard output."""
        return (self.stderr or self.stdout).decode(errors="replace").strip()


async def run_exec(
    transport: Transport,
    namespace: str,
    pod: str,
    command: Sequence[str],
    *,
    container: str = "",
    stdin: bytes | AsyncIterable[bytes] | None = None,
    user_agent: str = "",
    protocols: Sequence[str] = PROTOCOLS,
) -> ExecResult:
    """Run ``command`` to its end; ``container`` "" is the pod's first.

    ``stdin`` None gives it none.  Raises StatusError (no such pod, no such container, no
    permission), UnreachableError, :class:`ExecError` when the command could not be started
    or the connection broke off, and ClientError for a transport that has no sockets.  Who is
    cancelled cuts the connection, which ends the command as far as Kubernetes ends it.
    """
    websocket = getattr(transport, "websocket", None)
    if websocket is None:
        raise ClientError(
            "exec needs a connection to the API server, and this client calls it in process: "
            "make a client with Client.connect(kubeconfig.load(...))"
        )
    where = f"{' '.join(command[:1])} in pod {namespace}/{pod}"
    query = [("command", word) for word in command]
    query += [("stdout", "true"), ("stderr", "true")]
    if container:
        query.append(("container", container))
    if stdin is not None:
        query.append(("stdin", "true"))
    opened = websocket(
        f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/exec",
        query=urlencode(query),
        headers={"User-Agent": user_agent} if user_agent else None,
        protocols=tuple(protocols),
    )
    async with opened as socket:
        feeding = asyncio.create_task(_feed(socket, stdin), name=f"input of {where}")
        try:
            return await _outcome(socket, where)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


async def _feed(
    socket: aiohttp.ClientWebSocketResponse, stdin: bytes | AsyncIterable[bytes] | None
) -> None:
    if stdin is None:
        return
    try:
        if isinstance(stdin, bytes):
            for at in range(0, len(stdin), PIECE):
                await socket.send_bytes(b"\0" + stdin[at : at + PIECE])
        else:
            async for data in stdin:
                for at in range(0, len(data), PIECE):
                    await socket.send_bytes(b"\0" + data[at : at + PIECE])
        if (socket.protocol or "").startswith("v5."):
            await socket.send_bytes(bytes((CLOSE, STDIN)))
    except ConnectionError:
        pass  # whoever reads is told why


async def _outcome(socket: aiohttp.ClientWebSocketResponse, where: str) -> ExecResult:
    from aiohttp import WSMsgType

    out, err, told = bytearray(), bytearray(), bytearray()
    streams = {STDOUT: out, STDERR: err, ERROR: told}
    while True:
        message = await socket.receive()
        if message.type is not WSMsgType.BINARY:
            if told:
                break
            raise ExecError(f"{where}: the connection broke off before the command had ended")
        data: bytes = message.data
        stream = streams.get(data[0]) if data else None
        if stream is not None and len(stream) < KEPT:
            stream += data[1:]
        if data and data[0] == ERROR:
            break
    return ExecResult(_code(bytes(told), where), bytes(out), bytes(err))


def _code(told: bytes, where: str) -> int:
    """The exit code in a Status; raises ExecError for a command that did not run."""
    try:
        status = orjson.loads(told)
    except orjson.JSONDecodeError:
        raise ExecError(f"{where}: {told.decode(errors='replace')}") from None
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause.get("message") or 1)
    raise ExecError(f"{where}: {status.get('message') or status.get('reason') or 'it failed'}")
