"""pods/log: what a container has written.

Source: ``pkg/registry/core/pod/strategy.go`` (LogLocation), ``ValidatePodLogOptions``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.kube.podoptions import LogOptions
from cove.kube.status import StatusError
from cove.kube.times import TimeError, format_time, parse_time
from cove.server.options import flag, number
from cove.server.request import Request, Response
from cove.server.store import Stored, Watcher
from cove.server.subresources._common import container_of, stored_or_404

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["log"]

TEXT = "text/plain"


def _options(request: Request, now: datetime) -> LogOptions:
    """Those of a request; raises 400 for what is no value, 422 for what is none of use.

    Source: ``ValidatePodLogOptions`` of pkg/apis/core/validation.
    """
    seconds = number(request, "sinceSeconds")
    options = LogOptions(
        follow=flag(request, "follow"),
        previous=flag(request, "previous"),
        timestamps=flag(request, "timestamps"),
        tail_lines=number(request, "tailLines"),
        limit_bytes=number(request, "limitBytes"),
        since=_time(request, "sinceTime"),
    )
    errors: list[FieldError] = []
    if options.tail_lines is not None and options.tail_lines < 0:
        text = "must be greater than or equal to 0"
        errors.append(fe.invalid("tailLines", options.tail_lines, text))
    if options.limit_bytes is not None and options.limit_bytes < 1:
        errors.append(fe.invalid("limitBytes", options.limit_bytes, "must be greater than 0"))
    if seconds is not None:
        if options.since is not None:
            text = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            errors.append(fe.forbidden("", text))
        elif seconds < 1:
            errors.append(fe.invalid("sinceSeconds", seconds, "must be greater than 0"))
        else:
            options = replace(options, since=_before(now, seconds))
    if request.param("stream"):
        errors.append(fe.forbidden("stream", "may not be specified"))
    if errors:
        raise st.invalid("PodLogOptions", "", request.info.name, errors)
    return options


def _before(now: datetime, seconds: int) -> datetime:
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _time(request: Request, name: str) -> datetime | None:
    text = request.param(name)
    if not text:
        return None
    try:
        return parse_time(text)
    except TimeError as e:
        raise st.bad_request(str(e)) from e


async def log(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """GET of a container's log, from the node that runs it.

    What a simulated container logs is one line that says so, written when it started.
    """
    options = _options(request, api.now())
    stored = stored_or_404(api, request, endpoint)
    pod = endpoint.load(stored.data)
    container = container_of(request, pod)
    if not pod["spec"].get("nodeName"):
        return Response(200, b"", TEXT)
    if api.kubelet is not None and api.kubelet.runs(pod):
        return await _written_by(api, request, api.kubelet.logs(pod, container, options))
    status = _status_of(pod, container)
    if options.previous and not status.get("restartCount"):
        raise st.bad_request(
            f'previous terminated container "{container}" in pod "{stored.name}" not found'
        )
    line = (
        f"cove: container {container} of pod {stored.namespace}/{stored.name} is simulated: "
        "nothing runs in it, so it writes no log\n"
    )
    text = _selected(line, _written(pod, status), options)
    if not options.follow or not _running(pod):
        return Response(200, text, TEXT)
    return Response(200, content_type=TEXT, stream=_followed(api, endpoint, stored, text))


async def _written_by(api: Api, request: Request, pieces: AsyncIterator[bytes]) -> Response:
    """What a node tells; its first word may be the answer itself (a StatusError)."""
    with api.session(request):
        first = await anext(pieces, None)
    if first is None:
        return Response(200, b"", TEXT)
    return Response(200, content_type=TEXT, stream=_told(api, request, first, pieces))


async def _told(
    api: Api, request: Request, first: bytes, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    try:
        with api.session(request):
            yield first
            async for piece in pieces:
                yield piece
    except StatusError:
        return  # the status has gone out: there is no way to say it
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _status_of(pod: Obj, container: str) -> Obj:
    status = pod.get("status", {})
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    listed = (c for kind in kinds for c in status.get(kind, ()))
    return next((c for c in listed if c["name"] == container), {})


def _written(pod: Obj, status: Obj) -> datetime:
    state = status.get("state", {})
    started = (state.get("running") or state.get("terminated") or {}).get("startedAt")
    return parse_time(started or pod["metadata"]["creationTimestamp"])


def _selected(line: str, written: datetime, options: LogOptions) -> bytes:
    since = options.since
    if options.tail_lines == 0 or (since is not None and written < since):
        return b""
    if options.timestamps:
        line = f"{format_time(written)} {line}"
    return line.encode()[: options.limit_bytes]


def _running(pod: Obj) -> bool:
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


async def _followed(
    api: Api, endpoint: Endpoint, stored: Stored, text: bytes
) -> AsyncIterator[bytes]:
    """The log so far, and then nothing until the pod has ended or is gone."""
    watcher = Watcher(inside=False)
    api.store.subscribe(endpoint.storage, watcher)
    try:
        if text:
            yield text
        while not watcher.closed:
            now = api.store.state.get(endpoint.storage, stored.namespace, stored.name)
            if now is None or now.uid != stored.uid or not _running(endpoint.load(now.data)):
                return
            await watcher.wait(None, api.config.clock)
            watcher.drain()
    finally:
        api.store.unsubscribe(endpoint.storage, watcher)
