"""Client: the verbs of the Kubernetes API, for any server and any resource.

A collection is named by its :class:`~cove.kube.gvk.GVR`, objects are plain documents.
What the server refuses is raised as :class:`~cove.kube.status.StatusError`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import quote, urlencode

import orjson

from cove._version import __version__
from cove.client._discovery import Discovery, Resource
from cove.client._http import HttpTransport
from cove.client._transport import Transport
from cove.client.errors import UnreachableError
from cove.client.exec import ExecResult, run_exec
from cove.client.kubeconfig import Connection
from cove.client.portforward import PROTOCOLS, PortForward, open_forward
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

__all__ = ["Client", "ListResult", "PatchType", "WatchEvent"]

log = logging.getLogger("cove.client")

Doc = dict[str, Any]
PatchType = Literal["merge", "json", "strategic", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]

_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_PARTIAL = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
JSON = "application/json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
METADATA_ONE = f"application/json{_PARTIAL}"


class ListResult(NamedTuple):
    """Objects and the collection's resource version; ``continue_`` is "" on the last page."""

    items: list[Doc]
    resource_version: str
    continue_: str = ""


class WatchEvent(NamedTuple):
    """ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: Doc


Batch = list[WatchEvent]


class Client:
    """Talks to one API server through a transport.

    Close it, or use it as an async context manager; that closes the transport, unless it
    was made by :meth:`named`, which shares its parent's.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        user_agent: str = f"cove/{__version__}",
        namespace: str = "default",
    ) -> None:
        self.transport = transport
        self.user_agent = user_agent
        self.namespace = namespace
        self.discovery = Discovery(self._document)
        self._owner = True
        self._headers = {"User-Agent": user_agent, "Accept": JSON}

    @classmethod
    def connect(cls, connection: Connection, *, user_agent: str = f"cove/{__version__}") -> Client:
        """A client over HTTP(S)."""
        return cls(HttpTransport(connection), user_agent=user_agent, namespace=connection.namespace)

    def named(self, user_agent: str) -> Client:
        """The same connection under another name: managedFields tell who wrote what."""
        other = Client(self.transport, user_agent=user_agent, namespace=self.namespace)
        other.discovery = self.discovery
        other._owner = False
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the transport."""
        if self._owner:
            await self.transport.close()

    # -- one request

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes = b"",
        content_type: str = "",
        accept: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of a successful answer to any request; raises StatusError."""
        sent = self._headers
        if content_type or accept or headers:
            sent = {**sent, **(headers or {})}
            if content_type:
                sent["Content-Type"] = content_type
            if accept:
                sent["Accept"] = accept
        answer = await self.transport.request(
            method, path, query=_encode(query), headers=sent, body=body
        )
        if answer.status >= 400:
            raise error_of(answer.status, answer.body)
        return answer.body

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        doc: Any = None,
        content_type: str = JSON,
        accept: str = "",
    ) -> Any:
        """The document that a request with a document (or none) is answered with."""
        body = b"" if doc is None else orjson.dumps(doc)
        data = await self.raw(
            method,
            path,
            query=query,
            body=body,
            content_type=content_type if body else "",
            accept=accept,
        )
        return orjson.loads(data) if data else None

    async def _document(self, path: str, accept: str) -> Any:
        return await self.request("GET", path, accept=accept)

    # -- reading

    async def get(
        self,
        gvr: GVR,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Doc:
        """One object."""
        return await self.request(  # type: ignore[no-any-return]
            "GET",
            path_of(gvr, namespace, name, subresource),
            query={"resourceVersion": resource_version},
            accept=METADATA_ONE if metadata_only else "",
        )

    async def list(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
        page_size: int = 0,
        metadata_only: bool = False,
    ) -> ListResult:
        """All objects of a collection; ``namespace`` None means all namespaces.

        ``page_size`` > 0 fetches them in pages of that size.
        """
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "resourceVersionMatch": resource_version_match,
        }
        items: list[Doc] = []
        token, version = "", ""
        while True:
            page = await self._page(gvr, namespace, query, page_size, token, metadata_only)
            version = version or page.resource_version
            if not items:
                items = page.items
            else:
                items += page.items
            token = page.continue_
            if not token:
                return ListResult(items, version)
            # A continue token knows the resource version.
            query = {**query, "resourceVersion": "", "resourceVersionMatch": ""}

    async def pages(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        page_size: int = 500,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[ListResult]:
        """The pages of a collection, fetched as they are asked for."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        token = ""
        while True:
            page = await self._page(gvr, namespace, query, page_size, token, metadata_only)
            yield page
            token = page.continue_
            if not token:
                return

    async def _page(
        self,
        gvr: GVR,
        namespace: str | None,
        query: Mapping[str, Any],
        limit: int,
        token: str,
        metadata_only: bool,
    ) -> ListResult:
        doc = await self.request(
            "GET",
            path_of(gvr, namespace),
            query={**query, "limit": limit or "", "continue": token},
            accept=METADATA_ONLY if metadata_only else "",
        )
        metadata = doc.get("metadata") or {}
        return ListResult(
            doc.get("items") or [],
            metadata.get("resourceVersion", ""),
            metadata.get("continue") or "",
        )

    @asynccontextmanager
    async def watch_batches(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        bookmarks: bool = True,
        timeout_seconds: int = 0,
        metadata_only: bool = False,
        send_initial_events: bool = False,
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """As :meth:`watch`, in the batches that the server sends."""
        query: dict[str, Any] = {
            "watch": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": timeout_seconds or "",
        }
        if bookmarks:
            query["allowWatchBookmarks"] = "true"
        if send_initial_events:
            query["sendInitialEvents"] = "true"
            query["resourceVersionMatch"] = "NotOlderThan"
        headers = self._headers
        if metadata_only:
            headers = {**headers, "Accept": METADATA_ONE}
        async with self.transport.stream(
            "GET", path_of(gvr, namespace), query=_encode(query), headers=headers
        ) as stream:
            if stream.status >= 400:
                raise error_of(stream.status, b"".join([c async for c in stream.chunks]))
            yield _events(stream.chunks)

    @asynccontextmanager
    async def watch(
        self, gvr: GVR, namespace: str | None = None, **options: Any
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """Events of a collection: ``async with client.watch(PODS) as events``.

        ``options`` are ``resource_version`` (events after it; "" starts with what is
        there), ``label_selector``, ``field_selector``, ``bookmarks``, ``timeout_seconds``
        (0: the server's choice), ``metadata_only``, ``send_initial_events``.  The iterator
        ends when the server ends the watch.  An ERROR event is raised as StatusError (410
        when the resource version is too old).
        """
        async with self.watch_batches(gvr, namespace, **options) as batches:

            async def flat() -> AsyncIterator[WatchEvent]:
                async for batch in batches:
                    for event in batch:
                        yield event

            yield flat()

    # -- writing

    async def create(
        self,
        gvr: GVR,
        obj: Mapping[str, Any],
        namespace: str | None = None,
        *,
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
        field_validation: str = "",
    ) -> Doc:
        """The object as created; ``name`` and ``subresource`` post to a subresource of one."""
        return await self.request(  # type: ignore[no-any-return]
            "POST",
            path_of(gvr, namespace or _namespace(obj), name, subresource),
            query=_write(dry_run, field_manager, field_validation),
            doc=obj,
        )

    async def update(
        self,
        gvr: GVR,
        obj: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
        field_validation: str = "",
    ) -> Doc:
        """The object as written; 409 if its resourceVersion is not the current one."""
        return await self.request(  # type: ignore[no-any-return]
            "PUT",
            path_of(gvr, namespace or _namespace(obj), obj["metadata"]["name"], subresource),
            query=_write(dry_run, field_manager, field_validation),
            doc=obj,
        )

    async def patch(
        self,
        gvr: GVR,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str | None = None,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        dry_run: bool = False,
        field_manager: str = "",
        field_validation: str = "",
        force: bool = False,
    ) -> Doc:
        """The object as patched."""
        query = _write(dry_run, field_manager, field_validation)
        if force:
            query["force"] = "true"
        return await self.request(  # type: ignore[no-any-return]
            "PATCH",
            path_of(gvr, namespace, name, subresource),
            query=query,
            doc=patch,
            content_type=_PATCH_TYPES[type],
        )

    async def apply(
        self,
        gvr: GVR,
        obj: Mapping[str, Any],
        namespace: str | None = None,
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Doc:
        """Server-side apply: the object as merged; 409 names fields that others own."""
        return await self.patch(
            gvr,
            obj["metadata"]["name"],
            obj,
            namespace or _namespace(obj),
            type="apply",
            subresource=subresource,
            dry_run=dry_run,
            field_manager=field_manager,
            force=force,
        )

    async def delete(
        self,
        gvr: GVR,
        name: str,
        namespace: str | None = None,
        *,
        grace: int | None = None,
        propagation: Propagation | None = None,
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> Doc:
        """The deleted object or a Status.

        ``grace`` in seconds, None for the kind's default; ``uid`` and ``resource_version``
        are preconditions (409 if they do not hold).
        """
        return await self.request(  # type: ignore[no-any-return]
            "DELETE",
            path_of(gvr, namespace, name),
            doc=_delete(grace, propagation, uid, resource_version, dry_run),
        )

    async def delete_collection(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace: int | None = None,
        propagation: Propagation | None = None,
    ) -> Doc:
        """Delete what the selectors select; what was deleted, as a list."""
        return await self.request(  # type: ignore[no-any-return]
            "DELETE",
            path_of(gvr, namespace),
            query={"labelSelector": label_selector, "fieldSelector": field_selector},
            doc=_delete(grace, propagation, "", "", dry_run=False),
        )

    # -- streams

    def port_forward(
        self,
        pod: str,
        port: int,
        namespace: str | None = None,
        *,
        protocols: Sequence[str] = PROTOCOLS,
    ) -> AbstractAsyncContextManager[PortForward]:
        """A TCP connection to a port of a pod: ``async with client.port_forward("web", 80)``.

        ``namespace`` None is the client's.  Raises StatusError, UnreachableError, and
        ClientError if this client has no connection (see :mod:`cove.client.portforward`).
        """
        return open_forward(
            self.transport,
            namespace or self.namespace,
            pod,
            port,
            user_agent=self.user_agent,
            protocols=protocols,
        )

    async def exec(
        self,
        pod: str,
        command: Sequence[str],
        namespace: str | None = None,
        *,
        container: str = "",
        stdin: bytes | AsyncIterable[bytes] | None = None,
    ) -> ExecResult:
        """Run a command in a container to its end: its exit code and what it wrote.

        ``namespace`` None is the client's, ``container`` "" the pod's first.  Raises as
        :func:`cove.client.exec.run_exec` says.
        """
        return await run_exec(
            self.transport,
            namespace or self.namespace,
            pod,
            command,
            container=container,
            stdin=stdin,
            user_agent=self.user_agent,
        )

    # -- documents that say themselves what they are

    async def resource_of(self, obj: Mapping[str, Any]) -> Resource:
        """Where a document belongs, by its apiVersion and kind; raises UnknownKindError."""
        return await self.discovery.for_kind(
            str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
        )

    async def version(self) -> Doc:
        """The server's ``/version``."""
        return await self.request("GET", "/version")  # type: ignore[no-any-return]


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


def path_of(gvr: GVR, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
    """The path of a collection, an object or a subresource."""
    group, version, resource = gvr
    path = f"/apis/{group}/{version}" if group else f"/api/{version}"
    if namespace:
        path += f"/namespaces/{namespace if _PLAIN.issuperset(namespace) else quote(namespace, safe='')}"
    path += f"/{resource}"
    if name:
        path += f"/{name if _PLAIN.issuperset(name) else quote(name, safe='')}"
    if subresource:
        path += f"/{subresource}"
    return path


def _namespace(obj: Mapping[str, Any]) -> str | None:
    metadata = obj.get("metadata")
    return metadata.get("namespace") if isinstance(metadata, Mapping) else None


def _encode(query: Mapping[str, Any] | None) -> str:
    if not query:
        return ""
    return urlencode([(k, v) for k, v in query.items() if v != ""])


def _write(dry_run: bool, field_manager: str, field_validation: str) -> dict[str, Any]:
    if not (dry_run or field_manager or field_validation):
        return {}
    return {
        "dryRun": "All" if dry_run else "",
        "fieldManager": field_manager,
        "fieldValidation": field_validation,
    }


def _delete(
    grace: int | None,
    propagation: str | None,
    uid: str,
    resource_version: str,
    dry_run: bool,
) -> Doc | None:
    options: Doc = {}
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    if propagation is not None:
        options["propagationPolicy"] = propagation
    if uid or resource_version:
        options["preconditions"] = preconditions = {}
        if uid:
            preconditions["uid"] = uid
        if resource_version:
            preconditions["resourceVersion"] = resource_version
    if dry_run:
        options["dryRun"] = ["All"]
    if not options:
        return None
    return {"kind": "DeleteOptions", "apiVersion": "v1", **options}


def error_of(status: int, body: bytes) -> StatusError:
    """What an answer of 400 or more says, whether it is a Status or not."""
    try:
        doc = orjson.loads(body)
    except orjson.JSONDecodeError:
        doc = None
    if isinstance(doc, dict) and doc.get("kind") == "Status":
        return StatusError.from_body(status, doc)
    text = body[:200].decode(errors="replace").strip()
    return StatusError(status, "", text or f"the server answered {status}")


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[WatchEvent]]:
    """Whole lines of a watch as events; raises StatusError for an ERROR event."""
    rest: list[bytes] = []
    async for chunk in chunks:
        end = chunk.rfind(b"\n")
        if end < 0:
            rest.append(chunk)
            continue
        text = b"".join((*rest, chunk[:end])) if rest else chunk[:end]
        rest = [chunk[end + 1 :]] if end + 1 < len(chunk) else []
        events: list[WatchEvent] = []
        for line in text.split(b"\n"):
            if not line:
                continue
            try:
                doc = orjson.loads(line)
            except orjson.JSONDecodeError as e:
                raise UnreachableError(f"a watch event is not JSON: {line[:80]!r}") from e
            if doc["type"] == "ERROR":
                if events:
                    yield events
                raise StatusError.from_body(500, doc["object"])
            events.append(WatchEvent(doc["type"], doc["object"]))
        if events:
            yield events
