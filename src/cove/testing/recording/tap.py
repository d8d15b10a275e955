"""ServerTap: what others ask an embedded server, on the test's timeline.

kubectl, Helm, an operator, official clients: whoever speaks to the cluster or fork that is
tapped, over HTTPS or in this process.  What a :class:`RecordingTransport` of the test sent is
there already; the tap only adds what the object was before.
"""

from __future__ import annotations

import itertools
import secrets
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cove.server.request import Request, Response, parse_info
from cove.testing.recording.calls import Recorded, agent_of, begin
from cove.testing.recording.paths import is_discovery
from cove.testing.recording.transport import CALL_HEADER, Source
from cove.testing.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from cove.server.api import Api

__all__ = ["ServerTap"]

Doc = dict[str, Any]
# Controllers, scheduler and nodes of a cluster in this process: see cove.engines._running.
_SYSTEM = "system:apiserver"
_HARMLESS = ("GET", "HEAD", "POST")
_WRITING = ("update", "patch", "delete")


class ServerTap:
    """Observes an Api while it is entered: ``with ServerTap(cluster.api, timeline) as tap: …``.

    ``timeline`` gets the calls, those of discovery excepted.  ``system`` includes what the
    cluster asks itself: its controllers, scheduler and nodes.  Give ``tap`` to the
    :class:`RecordingTransport` of every client of the test, so that its calls are told once.
    """

    def __init__(self, api: Api, timeline: Source, *, system: bool = False) -> None:
        self._api = api
        self._source: Callable[[], Timeline | None] = (
            (lambda: timeline) if isinstance(timeline, Timeline) else timeline
        )
        self._system = system
        self._token = secrets.token_hex(8)
        self._ids = itertools.count(1)
        self._claimed: dict[str, Recorded] = {}
        # Whether any was: requests are looked at for it from then on.
        self._claims = False

    def __enter__(self) -> Self:
        self._api.observers = (*self._api.observers, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._api.observers = tuple(each for each in self._api.observers if each is not self)

    # -- calls of the test's own clients

    def claim(self, call: Recorded) -> str:
        """What the header of a request says that is on a timeline already."""
        self._claims = True
        mark = f"{self._token}-{next(self._ids)}"
        self._claimed[mark] = call
        return mark

    def release(self, mark: str) -> None:
        """The call is over."""
        self._claimed.pop(mark, None)

    # -- an observer

    def began(self, api: Api, request: Request) -> _Noted | None:
        """Put a request on the timeline, unless it is there or nobody wants to know."""
        if request.user.name == _SYSTEM and not self._system:
            return None
        headers = request.headers
        mark = headers.get(CALL_HEADER) if self._claims else None
        if mark is not None and mark.startswith(self._token):
            mine = self._claimed.get(mark)
            if mine is not None:
                _remember(api, request, mine)
            return None
        if is_discovery(request.path):
            return None
        timeline = self._source()
        if timeline is None:
            return None
        call = begin(
            timeline,
            request.method,
            request.path,
            request.query_string,
            agent_of(headers.get("User-Agent") or ""),
            request.body,
            (headers.get("Content-Type") or "") if request.body else "",
        )
        _remember(api, request, call)
        return _Noted(call, timeline)


def _remember(api: Api, request: Request, call: Recorded) -> None:
    """Have a write know what the object was: its bytes, decoded when somebody looks."""
    if request.method in _HARMLESS:
        return
    info = parse_info(request.method, request.path)
    if not info.is_resource or not info.name or info.verb not in _WRITING:
        return
    try:
        endpoint = api.registry.get(api, info.group, info.version, info.resource)
    except Exception:
        # Of a definition that is broken nobody can be told more than the server itself tells.
        return
    if endpoint is None:
        return
    namespace = info.namespace if endpoint.namespaced else ""
    stored = api.store.state.get(endpoint.storage, namespace, info.name)
    if stored is not None:
        known, data = endpoint, stored.data
        call.was(lambda: known.load(data))


class _Noted:
    """One request of somebody else."""

    __slots__ = ("_call", "_timeline")

    def __init__(self, call: Recorded, timeline: Timeline) -> None:
        self._call = call
        self._timeline = timeline

    def _took(self) -> float:
        return self._timeline.now() - self._call.at

    def answered(self, response: Response) -> None:
        """Note the answer."""
        if response.stream is not None:
            self._call.opened(response.status, response.content_type)
        else:
            self._call.answered(response.status, response.content_type, response.body, self._took())

    def chunk(self, data: bytes) -> None:
        """Note a piece of it."""
        self._call.chunk(self._timeline.now(), data)

    def ended(self, error: BaseException | None) -> None:
        """Note its end; a stream that has begun ends when who reads it goes away."""
        call = self._call
        if error is None and call.took is not None:
            return
        if error is None or (call.status and type(error).__name__ == "CancelledError"):
            call.ended(self._took())
        else:
            call.failed(error, self._took())
