"""RecordingProxy: a way to a cluster that writes down all that goes through.

It listens on loopback with an authority of its own and lets in who has the certificate of its
kubeconfig: nobody else on this machine may use the credentials it speaks with.  Requests go on
as they came, but for these: JSON is asked for in place of protobuf, and a connection that
leaves HTTP has to be a WebSocket, whose contents are not recorded.

For a recording to be of use as a cluster, the proxy reads some things for itself, with the
same credentials: an object before it is changed, objects that were asked for as a table, the
definitions of kinds that are not built in.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote, urlencode

import orjson
import yaml
from aiohttp import WSMsgType, web
from multidict import CIMultiDict

from cove.client import HttpTransport, UnreachableError
from cove.kube import catalogue
from cove.kube.status import StatusError
from cove.pki import server_context
from cove.testing.recording.calls import agent_of
from cove.testing.recording.paths import Asked, asked
from cove.testing.replay.recording import BODY_LIMIT, Entry, Writer, body_of

if TYPE_CHECKING:
    from cove.pki import Credentials
    from cove.testing.recording import RecordingTransport

__all__ = ["RecordingProxy"]

HOST = "127.0.0.1"
# What belongs to one connection, or is said anew for the next.
_OWN = frozenset(
    (
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_WRITING = ("update", "patch", "delete")
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class RecordingProxy:
    """Serves while it is entered; ``transport`` is to the cluster, and stays its owner's to close.

    ``writer`` None writes nothing down: for transports that record.
    ``context`` and ``namespace`` are what its :attr:`kubeconfig` says.  ``companions`` False
    asks the cluster nothing but what it is asked.
    """

    def __init__(
        self,
        transport: HttpTransport | RecordingTransport,
        writer: Writer | None,
        *,
        context: str = "recorded",
        namespace: str = "default",
        companions: bool = True,
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._context = context
        self._namespace = namespace
        self._companions = companions
        self._zero = time.monotonic()
        self._ids = 0
        # What companions were read, or need not be.
        self._known: set[tuple[str, ...]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._credentials = await asyncio.to_thread(_credentials)
        tls = server_context(self._credentials.authority, self._credentials.server)
        self._server = web.Server(
            self._handle,
            access_log=None,
            handler_cancellation=True,
            lingering_time=1.0,
        )
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, HOST, 0, ssl=tls)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()
        self._server.pre_shutdown()
        open_ = [handler.transport for handler in self._server.connections]
        await self._server.shutdown(2.0)
        for transport in open_:
            if transport is not None:
                # A client that keeps an idle connection does not answer TLS' goodbye.
                transport.abort()
        await self._listener.wait_closed()

    @property
    def kubeconfig(self) -> str:
        """A kubeconfig of one context, YAML, for whoever is to be recorded."""
        from base64 import b64encode

        authority, _, admin, _ = self._credentials
        name = self._context
        doc = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": f"https://{HOST}:{self.port}",
                        "certificate-authority-data": b64encode(authority).decode(),
                    },
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        "client-certificate-data": b64encode(admin.certificate).decode(),
                        "client-key-data": b64encode(admin.key).decode(),
                    },
                }
            ],
            "contexts": [
                {
                    "name": name,
                    "context": {"cluster": name, "user": name, "namespace": self._namespace},
                }
            ],
        }
        return yaml.safe_dump(doc, sort_keys=False)

    # -- requests

    async def _handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        if not raw.get_extra_info("peercert"):
            return _refusal(StatusError(401, "Unauthorized", "Unauthorized", {}))
        path, _, query = raw.raw_path.partition("?")
        headers = _forwarded(raw)
        entry = self._entry(raw.method, path, query, headers)
        of = asked(raw.method, path, query)
        try:
            if raw.headers.get("Upgrade"):
                return await self._upgraded(raw, entry, headers)
            body = await raw.content.read()
            entry.body = body_of(body, entry.media)
            entry.cut = len(body) > BODY_LIMIT
            if self._companions:
                await self._accompany(entry, of)
            if of.verb == "watch" or (of.subresource == "log" and "follow=" in query):
                return await self._stream(raw, entry, headers, watch=of.verb == "watch")
            answer = await self._transport.request(
                raw.method, path, query=query, headers=headers, body=body
            )
        except UnreachableError as e:
            entry.error = str(e)
            return _refusal(StatusError(503, "ServiceUnavailable", str(e), {}))
        except asyncio.CancelledError:
            entry.left = True
            raise
        else:
            self._answered(entry, answer.status, answer.headers, answer.body)
            return web.Response(
                status=answer.status, body=answer.body, headers=_returned(answer.headers)
            )
        finally:
            self._end(entry)

    def _entry(self, method: str, path: str, query: str, headers: CIMultiDict[str]) -> Entry:
        self._ids += 1
        return Entry(
            self._ids,
            time.monotonic() - self._zero,
            method,
            path,
            query,
            agent=agent_of(headers.get("User-Agent") or ""),
            accept=headers.get("Accept") or "",
            media=headers.get("Content-Type") or "",
        )

    def _answered(self, entry: Entry, status: int, headers: Any, body: bytes) -> None:
        entry.status = status
        entry.answer_media = headers.get("content-type", "")
        entry.size = len(body)
        entry.cut = entry.cut or entry.size > BODY_LIMIT
        entry.answer = body_of(body, entry.answer_media)
        if entry.answer is not None and "json" not in entry.answer_media:
            # What was YAML is told as the document it is.
            if not isinstance(entry.answer, (str, bytes)):
                entry.answer_media = "application/json"

    def _end(self, entry: Entry) -> None:
        entry.took = time.monotonic() - self._zero - entry.at
        if self._writer is not None:
            self._writer.write(entry)

    async def _stream(
        self, raw: web.BaseRequest, entry: Entry, headers: CIMultiDict[str], *, watch: bool
    ) -> web.StreamResponse:
        async with self._transport.stream(
            raw.method, entry.path, query=entry.query, headers=headers
        ) as stream:
            if not 200 <= stream.status < 300:
                body = b"".join([chunk async for chunk in stream.chunks])
                self._answered(entry, stream.status, stream.headers, body)
                return web.Response(
                    status=stream.status, body=body, headers=_returned(stream.headers)
                )
            entry.status = stream.status
            entry.answer_media = stream.headers.get("content-type", "")
            lines = _Lines(entry) if watch else _Text(entry)
            response = web.StreamResponse(status=stream.status, headers=_returned(stream.headers))
            response.enable_chunked_encoding()
            await response.prepare(raw)
            try:
                async for chunk in stream.chunks:
                    lines.add(chunk)
                    await response.write(chunk)
                await response.write_eof()
            except ConnectionError:
                entry.left = True
            except UnreachableError as e:
                # Begun, it cannot be refused: it breaks off for the client as it did for us.
                entry.error = str(e)
                if raw.transport is not None:
                    raw.transport.abort()
            finally:
                lines.end()
            return response

    async def _upgraded(
        self, raw: web.BaseRequest, entry: Entry, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        if raw.headers["Upgrade"].lower() != "websocket":
            why = "unable to upgrade: cove records WebSockets alone"
            entry.status, entry.answer = 400, why
            return web.Response(status=400, text=why + "\n")
        offered = (raw.headers.get("Sec-WebSocket-Protocol") or "").split(",")
        for name in [name for name in headers if name.lower().startswith("sec-websocket")]:
            del headers[name]
        try:
            async with self._transport.websocket(
                entry.path,
                query=entry.query,
                headers=headers,
                protocols=tuple(p.strip() for p in offered if p.strip()),
            ) as there:
                here = web.WebSocketResponse(
                    protocols=(there.protocol,) if there.protocol else (), max_msg_size=0
                )
                await here.prepare(raw)
                entry.status = 101
                ends = [
                    asyncio.create_task(_pass_on(here, there), name="recorded out"),
                    asyncio.create_task(_pass_on(there, here), name="recorded in"),
                ]
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for end in ends:
                        end.cancel()
                    await asyncio.gather(*ends, return_exceptions=True)
                    await here.close()
                return here
        except StatusError as e:
            entry.status, entry.answer = e.code, e.body
            return _refusal(e)

    # -- what is read besides

    async def _accompany(self, entry: Entry, of: Asked) -> None:
        if of.kind != "kube":
            return
        if of.group and not catalogue.versions(of.group):
            await self._read(f"{_CRDS}/{of.resource}.{of.group}")
        if of.verb in ("get", "list") and not of.subresource:
            if ";as=" in entry.accept:
                await self._read(entry.path, entry.query)
        elif of.verb in _WRITING and of.name:
            await self._read(_path(of))
        elif of.verb == "deletecollection":
            chosen = [
                pair
                for pair in parse_qsl(entry.query)
                if pair[0] in ("labelSelector", "fieldSelector")
            ]
            await self._read(entry.path, urlencode(chosen))

    async def _read(self, path: str, query: str = "") -> None:
        """Read an object or a collection once; that it cannot be read is in the recording."""
        if (path, query) in self._known:
            return
        self._known.add((path, query))
        headers = CIMultiDict({"Accept": "application/json", "User-Agent": "cove-record"})
        entry = self._entry("GET", path, query, headers)
        entry.companion = True
        try:
            answer = await self._transport.request("GET", path, query=query, headers=headers)
        except UnreachableError as e:
            entry.error = str(e)
        else:
            self._answered(entry, answer.status, answer.headers, answer.body)
        self._end(entry)


class _Lines:
    """The events of a watch, into its entry."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._events: list[Any] = []
        self._rest = b""
        entry.events = self._events

    def add(self, chunk: bytes) -> None:
        self._entry.size += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if self._entry.size > BODY_LIMIT:
            self._entry.cut = True
            return
        for line in lines:
            try:
                self._events.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                continue

    def end(self) -> None:
        """Nothing: what is no whole line is no event."""


class _Text:
    """Text that comes in pieces, its beginning, into its entry."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._parts: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        self._entry.size += len(chunk)
        if self._entry.size > BODY_LIMIT:
            self._entry.cut = True
            return
        self._parts.append(chunk)

    def end(self) -> None:
        self._entry.answer = b"".join(self._parts).decode(errors="replace") or None


def _credentials() -> Credentials:
    from cove.pki.authority import Authority

    return Authority.new().credentials([HOST, "localhost"], "recorded", ["cove:recorded"])


def _path(of: Asked) -> str:
    path = f"/apis/{of.group}/{of.version}" if of.group else f"/api/{of.version}"
    if of.namespace:
        path += f"/namespaces/{quote(of.namespace, safe='')}"
    return f"{path}/{of.resource}/{quote(of.name, safe='')}"


def _forwarded(raw: web.BaseRequest) -> CIMultiDict[str]:
    headers = CIMultiDict((k, v) for k, v in raw.headers.items() if k.lower() not in _OWN)
    accept = headers.get("Accept")
    if accept:
        kept = [c for c in accept.split(",") if "protobuf" not in c and "cbor" not in c]
        headers["Accept"] = ",".join(kept) or accept
    return headers


def _returned(headers: Any) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _OWN)


def _refusal(error: StatusError) -> web.Response:
    return web.Response(
        status=error.code, body=orjson.dumps(error.body), content_type="application/json"
    )


async def _pass_on(source: Any, target: Any) -> None:
    async for message in source:
        if message.type == WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await target.send_bytes(message.data)
