"""Api: one cluster's API, from a request to a response.

It owns nothing that must be closed: the store, the token keys and the tasks around it
belong to whoever made it (:class:`cove.server.http.HttpServer`, an embedded cluster, a
fork).  A fork is another Api over a forked store that shares every cache of this one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

import orjson

from cove.client.clock import Clock, SystemClock
from cove.kube import status as st
from cove.kube.status import StatusError
from cove.kube.times import format_time
from cove.server import observe
from cove.server.aggregation import Remotes, proxy
from cove.server.endpoint import Endpoint
from cove.server.faults import Faults
from cove.server.flowcontrol import flow_headers
from cove.server.negotiate import status_media
from cove.server.outgoing import Outgoing
from cove.server.request import Request, Response, parse_info
from cove.server.store import Store
from cove.server.warning import warning_headers

if TYPE_CHECKING:
    from cove.server.admission import Admission
    from cove.server.identity import Identity
    from cove.server.kubelet import Kubelet
    from cove.server.observe import Observer
    from cove.server.registry import Registry

__all__ = ["Api", "Config"]

# What the store of a real API server takes in one request.
BODY_LIMIT = 3 * 1024 * 1024
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a cluster is started with and keeps for life.

    ``clock`` is what everything goes by; ``rng`` names generated objects, allocates ports and
    addresses.
    """

    service_subnet: IPv4Network | IPv6Network = field(
        default_factory=lambda: ip_network("10.96.0.0/12")
    )
    pod_subnet: IPv4Network | IPv6Network = field(
        default_factory=lambda: ip_network("10.244.0.0/16")
    )
    enable_admission: frozenset[str] = frozenset()
    disable_admission: frozenset[str] = frozenset()
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.SystemRandom)
    issuer: str = "https://kubernetes.default.svc"


class Api:
    """Answers requests.

    :meth:`handle` never raises but for cancellation and, where a fault cuts the connection,
    :class:`~cove.server.faults.CutError`; so does the stream of its response.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        registry: Registry,
        identity: Identity,
        admission: Admission,
        outgoing: Outgoing | None = None,
    ) -> None:
        self.store = store
        self.config = config
        self.registry = registry
        self.identity = identity
        self.admission = admission
        # Calls to webhooks and extension servers; closed by whoever made this.
        self.outgoing = outgoing or Outgoing((config.pod_subnet, config.service_subnet))
        self.remotes = Remotes()
        self.faults = Faults(store)
        # Who sees every request; a fork begins with none.
        self.observers: tuple[Observer, ...] = ()
        store.clock = config.clock
        # What its owner adds to the paths below /cove/, by their first part.
        self.extra: dict[str, Callable[[Api, Request], Awaitable[Response]]] = {}
        # The nodes, where they run containers.
        self.kubelet: Kubelet | None = None
        # Requests that last; cancelled when the server stops.
        self.sessions: set[asyncio.Task[Any]] = set()
        # host:port as clients reach the server; told by discovery once it is known.
        self.server_address = ""
        # The offset of the service address given out last (hooks/services.py); 0: none yet.
        self.last_address = 0
        # The text of a second, and from when until when it is right.
        never = datetime.min.replace(tzinfo=UTC)
        self._second = ("", never, never)

    def fork(self, clock: Clock | None = None, *, revision: int | None = None) -> Api:
        """An Api with the same content that goes its own way from here on.

        ``clock`` None shares the original's.  ``revision`` None is now; raises
        :class:`~cove.server.store.Expired` for one that has left the window.
        """
        return Api(
            self.store.fork(revision),
            self.config if clock is None else replace(self.config, clock=clock),
            registry=self.registry,
            identity=self.identity,
            admission=self.admission,
            outgoing=self.outgoing,
        )

    @contextmanager
    def session(self, request: Request) -> Iterator[None]:
        """What is done inside lasts as long as the client wants, or until the server stops.

        A caller in this process is not the server's to end.
        """
        task = asyncio.current_task() if request.upgrade is not None else None
        if task is not None:
            self.sessions.add(task)
        try:
            yield
        finally:
            if task is not None:
                self.sessions.discard(task)

    def now(self) -> datetime:
        """The time, UTC."""
        return self.config.clock.now()

    def timestamp(self) -> str:
        """The time as metadata writes it: RFC 3339, seconds."""
        now = self.config.clock.now()
        text, since, until = self._second
        if not since <= now < until:
            since = now.replace(microsecond=0)
            text = format_time(since)
            self._second = (text, since, since + _SECOND)
        return text

    async def handle(self, request: Request, *, observed: bool = False) -> Response:
        """The answer to a request whose ``user`` is already authenticated.

        ``observed`` says that the observers have been told of it.
        """
        if self.observers and not observed:
            return await observe.observed(self, request)
        faults = self.faults
        try:
            info = request.info = parse_info(request.method, request.path)
            if info.is_resource and info.verb in ("list", "watch", "get"):
                info = _told_by_query(request)
            identity = self.identity
            if request.headers.get("Impersonate-User") is not None or identity.impersonates(
                request
            ):
                request.user = identity.impersonate(self, request)
            struck = await faults.before(request, self.config.clock) if faults.active else ()
            user = request.user
            if not user.in_group("system:masters"):
                identity.authorize(self, user, request)
            remote = self.remotes.find(self, request.path)
            if remote is not None:
                response = await proxy(self, request, remote)
            elif self.kubelet is not None and info.group == "metrics.k8s.io":
                response = await self.registry.metrics(self, request)
            elif info.is_resource:
                endpoint = self.registry.find(self, info, request.path)
                if isinstance(endpoint, Response):
                    return endpoint
                if len(request.body) > BODY_LIMIT:
                    raise st.request_entity_too_large(BODY_LIMIT)
                response = await self.registry.dispatch(self, request, endpoint)
            else:
                response = await self.registry.path(self, request)
            if remote is None and info.subresource not in _LONG:
                _indent(request, response)
            if struck:
                response = faults.after(struck, request, response)
        except StatusError as e:
            response = self.error(request, e)
        except (RecursionError, orjson.JSONEncodeError) as e:
            unfit = _unfit(request, e)
            if unfit is None:
                raise
            response = self.error(request, unfit)
        if request.upgrade is not None and request.info.subresource not in _LONG:
            response.headers += flow_headers(self, request)
        if request.warnings:
            response.headers += warning_headers(request.warnings)
        return response

    def error(self, request: Request, error: StatusError) -> Response:
        """A Status as the request wants it encoded."""
        media = status_media(request.headers.get("Accept") or "")
        body = encode(error.body, media)
        response = Response(error.code, body, media)
        _indent(request, response)
        retry = (error.details or {}).get("retryAfterSeconds")
        if retry:
            response.headers.append(("Retry-After", str(retry)))
        return response


# Upstream classifies no connection that lasts, but for watches.
_LONG = frozenset(("attach", "exec", "log", "portforward", "proxy"))


def _unfit(request: Request, error: Exception) -> StatusError | None:
    """What is wrong with a body that nests deeper, or counts further, than can be stored.

    None if the error is no fault of a body.  Nothing was written: objects are encoded first.
    """
    if not request.body:
        return None
    if isinstance(error, RecursionError) or "Recursion limit" in str(error):
        return st.bad_request("the body of the request exceeded max depth")
    if "64-bit" in str(error):
        return st.bad_request("the body of the request has a number that fits into no int64")
    return None


def encode(doc: Any, media: str) -> bytes:
    """A document in a media type, with the line break that Go's encoder writes at the end."""
    if media == "application/yaml":
        import yaml

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        text: bytes = yaml.dump(doc, Dumper=dumper, encoding="utf-8", sort_keys=True)
        return text
    return orjson.dumps(doc, option=orjson.OPT_APPEND_NEWLINE)


# Who reads what they get themselves; source: isPrettyPrint of k8s.io/apiserver's negotiation.
_READERS = ("curl", "Wget", "Mozilla/5.0")


def _indent(request: Request, response: Response) -> None:
    """Lay a document out for a person, if it is JSON and one asks for it."""
    asked = request.param("pretty") if request.query_string else ""
    if asked:
        wanted = asked in ("1", "t", "T", "true", "TRUE", "True")
    else:
        wanted = (request.headers.get("User-Agent") or "").startswith(_READERS)
    # What is no answer of the encoder (OpenAPI, texts) has no line break at its end.
    if wanted and response.content_type.startswith("application/json"):
        if response.stream is None and response.body.endswith(b"\n"):
            document = orjson.loads(response.body)
            response.body = orjson.dumps(document, option=orjson.OPT_INDENT_2)


def _told_by_query(request: Request) -> Any:
    """A list may be a watch, and a field selector on the name makes it about one object."""
    info = request.info
    if not request.query_string:
        return info
    query = request.query
    watch = query.get("watch")
    watching = (
        info.verb == "list"
        and watch is not None
        and (not watch[0] or watch[0].lower() not in ("false", "0"))
    )
    selector = request.param("fieldSelector") if info.verb in ("list", "watch") else ""
    name = ""
    if selector and not info.name:
        for clause in selector.split(","):
            label, _, value = clause.partition("=")
            if label == "metadata.name" and value:
                name = value.lstrip("=")
    if not watching and not name:
        return info
    told = type(info)()
    for slot in type(info).__slots__:
        setattr(told, slot, getattr(info, slot))
    if watching:
        told.verb = "watch"
    if name:
        told.name = name
    request.info = told
    return told


def exists(api: Api, resource: str, namespace: str, name: str) -> bool:
    """Whether an object is stored."""
    return api.store.state.get(resource, namespace, name) is not None


def load(api: Api, endpoint: Endpoint, namespace: str, name: str) -> dict[str, Any] | None:
    """A stored object decoded, or None."""
    stored = api.store.state.get(endpoint.storage, namespace, name)
    return None if stored is None else endpoint.load(stored.data)
