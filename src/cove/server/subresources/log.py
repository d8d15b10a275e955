"""pods/log: what a container has written.

Source: ``pkg/registry/core/pod/strategy.go`` (LogLocation), ``ValidatePodLogOptions``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
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


class LogOptions(NamedTuple):
    """PodLogOptions; None is what was not asked for."""

    follow: bool
    previous: bool
    timestamps: bool
    tail_lines: int | None
    limit_bytes: int | None
    since_seconds: int | None
    since_time: datetime | None

    @classmethod
    def of(cls, request: Request) -> LogOptions:
        """Those of a request; raises 400 for what is no value, 422 for what is none of use.

        Source: ``ValidatePodLogOptions`` of pkg/apis/core/validation.
        """
        options = cls(
            flag(request, "follow"),
            flag(request, "previous"),
            flag(request, "timestamps"),
            number(request, "tailLines"),
            number(request, "limitBytes"),
            number(request, "sinceSeconds"),
            _time(request, "sinceTime"),
        )
        errors: list[FieldError] = []
        if options.tail_lines is not None and options.tail_lines < 0:
            text = "must be greater than or equal to 0"
            errors.append(fe.invalid("tailLines", options.tail_lines, text))
        if options.limit_bytes is not None and options.limit_bytes < 1:
            errors.append(fe.invalid("limitBytes", options.limit_bytes, "must be greater than 0"))
        if options.since_seconds is not None:
            if options.since_time is not None:
                text = "at most one of `sinceTime` or `sinceSeconds` may be specified"
                errors.append(fe.forbidden("", text))
            elif options.since_seconds < 1:
                text = "must be greater than 0"
                errors.append(fe.invalid("sinceSeconds", options.since_seconds, text))
        if request.param("stream"):
            errors.append(fe.forbidden("stream", "may not be specified"))
        if errors:
            raise st.invalid("PodLogOptions", "", request.info.name, errors)
        return options


def _time(request: Request, name: str) -> datetime | None:
    text = request.param(name)
    if not text:
        return None
    try:
        return parse_time(text)
    except TimeError as e:
        raise st.bad_request(str(e)) from e


async def log(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """GET of a container's log.

    What a simulated container logs is one line that says so, written when it started.
    """
    options = LogOptions.of(request)
    stored = stored_or_404(api, request, endpoint)
    pod = endpoint.load(stored.data)
    container = container_of(request, pod)
    if not pod["spec"].get("nodeName"):
        return Response(200, b"", TEXT)
    status = _status_of(pod, container)
    if options.previous and not status.get("restartCount"):
        raise st.bad_request(
            f'previous terminated container "{container}" in pod "{stored.name}" not found'
        )
    line = (
        f"cove: container {container} of pod {stored.namespace}/{stored.name} is simulated: "
        "nothing runs in it, so it writes no log\n"
    )
    text = _selected(line, _written(pod, status), options, api.now())
    if not options.follow or not _running(pod):
        return Response(200, text, TEXT)
    return Response(200, content_type=TEXT, stream=_followed(api, endpoint, stored, text))


def _status_of(pod: Obj, container: str) -> Obj:
    status = pod.get("status", {})
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    listed = (c for kind in kinds for c in status.get(kind, ()))
    return next((c for c in listed if c["name"] == container), {})


def _written(pod: Obj, status: Obj) -> datetime:
    state = status.get("state", {})
    started = (state.get("running") or state.get("terminated") or {}).get("startedAt")
    return parse_time(started or pod["metadata"]["creationTimestamp"])


def _selected(line: str, written: datetime, options: LogOptions, now: datetime) -> bytes:
    since = options.since_time
    if options.since_seconds is not None:
        since = now - timedelta(seconds=options.since_seconds)
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
