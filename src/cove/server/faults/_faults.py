"""Faults: those of one cluster, and what each can be."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cove.kube import status as st
from cove.kube.status import StatusError
from cove.server.faults._fault import Cut, Drop, Effect, Fail, Fault, Hang, Latency, Stall
from cove.server.faults._match import Match
from cove.server.request import Request, Response

if TYPE_CHECKING:
    from cove.client.clock import Clock
    from cove.server.store import Store

__all__ = ["Faults"]


class Faults:
    """The faults of one cluster; nothing goes wrong until one is added.

    Every method that adds one takes ``verbs``, ``resources``, ``namespaces``, ``names``,
    ``users``, ``agents``, ``paths`` (see :class:`~cove.server.faults.Match`), ``rate`` (the
    share of matching requests, drawn from a generator with a seed, so that a run can be
    repeated), ``count`` (how many requests in all, None: no end) and ``skip`` (how many
    pass first).  It returns the :class:`~cove.server.faults.Fault`, which is lifted by
    :meth:`~cove.server.faults.Fault.lift` or by leaving it as a context.  Several that
    strike the same request act in the order they were added.
    """

    def __init__(self, store: Store, *, seed: int = 0) -> None:
        self.active: tuple[Fault, ...] = ()
        self.rng = random.Random(seed)
        self._store = store

    # -- adding

    def error(
        self,
        code: int,
        message: str = "",
        *,
        retry_after: int = 0,
        after: bool = False,
        **match: Any,
    ) -> Fault:
        """Requests are refused with a Status of this HTTP code (400–599).

        ``message`` "" is what an API server says with the code.  ``retry_after`` seconds
        are told as Retry-After and in the details, 0 for none.  ``after`` refuses once the
        request was done: the answer is lost, the write is not.
        """
        if not 400 <= code <= 599:
            raise ValueError(f"an error's code is between 400 and 599: {code}")
        return self._add(Fail(_refusal(code, message, retry_after), late=after), match)

    def latency(self, seconds: float, *, jitter: float = 0.0, **match: Any) -> Fault:
        """Requests wait ``seconds``, and up to ``jitter`` seconds more, by the cluster's clock."""
        if seconds < 0 or jitter < 0:
            raise ValueError("latency cannot be negative")
        return self._add(Latency(lambda: seconds + jitter * self.rng.random()), match)

    def hang(self, **match: Any) -> Fault:
        """Requests are not answered before the fault is lifted."""
        return self._add(Hang(), match)

    def reset(self, *, after: bool = False, **match: Any) -> Fault:
        """Connections are reset in place of an answer; ``after``: once the request was done."""
        return self._add(Cut(late=after), match)

    def drop_watches(
        self, *, events: int = 0, code: int = 0, cut: bool = False, **match: Any
    ) -> Fault:
        """Watches that are opened from now on end after ``events`` events.

        They end as upstream ends them, or, with ``code`` (410 for "too old resource
        version"), by an ERROR event, or with ``cut`` by a reset.
        """
        if code and cut:
            raise ValueError("a watch ends by an error or by a reset, not by both")
        error = _refusal(code, "", 0)(None) if code else None
        return self._add(Drop(events, error, cut=cut), {**match, "verbs": "watch"})

    def stall_watches(self, *, events: int = 0, **match: Any) -> Fault:
        """Watches that are opened from now on fall silent after ``events`` events."""
        return self._add(Stall(events), {**match, "verbs": "watch"})

    # -- at once

    def disconnect(self, resource: str = "") -> None:
        """End the open watches of a resource (``pods``, ``deployments.apps``), "" for all."""
        if resource:
            self._store.disconnect_resource(resource)
        else:
            self._store.disconnect()

    def compact(self) -> None:
        """Forget the past: every earlier resource version is too old (410) from now on."""
        self._store.compact()

    def clear(self) -> None:
        """Lift all."""
        for fault in self.active:
            fault.lift()

    def _add(self, effect: Effect, options: dict[str, Any]) -> Fault:
        rate, count, skip = (
            options.pop("rate", 1.0),
            options.pop("count", None),
            options.pop("skip", 0),
        )
        fault = Fault(self, Match.of(**options), effect, rate=rate, count=count, skip=skip)
        self.active = (*self.active, fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Strike no more with it; unknown ones are ignored."""
        self.active = tuple(f for f in self.active if f is not fault)

    # -- striking

    async def before(self, request: Request, clock: Clock) -> tuple[Fault, ...]:
        """Do to a request what is done before it is served; the faults that struck.

        Raises StatusError and CutError.
        """
        struck = tuple(fault for fault in self.active if fault.strikes(request))
        for fault in struck:
            await fault.effect.before(request, clock, fault.lifted)
        return struck

    @staticmethod
    def after(struck: tuple[Fault, ...], request: Request, response: Response) -> Response:
        """Do to an answer what is done to it; raises StatusError and CutError."""
        for fault in struck:
            response = fault.effect.after(request, response, fault.lifted)
        return response


_SAID = {
    400: ("BadRequest", "the server rejected our request for an unknown reason"),
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "forbidden by a fault"),
    404: ("NotFound", "the server could not find the requested resource"),
    405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
    408: ("Timeout", "the request did not complete within the allotted timeout"),
    409: ("Conflict", ""),
    410: ("Expired", "The provided resource version is too old."),
    413: ("RequestEntityTooLarge", "Request entity too large"),
    429: ("TooManyRequests", "Too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: injected by a fault"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
}


def _refusal(code: int, message: str, retry_after: int) -> Callable[[Request | None], StatusError]:
    reason, said = _SAID.get(code, ("", f"injected by a fault: {code}"))

    def refuse(request: Request | None) -> StatusError:
        error = StatusError(code, reason, message or said, {})
        if request is not None and request.info.is_resource:
            info = request.info
            if code == 409 and not message:
                error = st.conflict(
                    info.resource,
                    info.group,
                    info.name,
                    "the object has been modified; please apply your changes to the latest "
                    "version and try again",
                )
            elif code == 403 and not message:
                error = st.forbidden(info.resource, info.group, info.name, said)
        if retry_after:
            details = {**(error.details or {}), "retryAfterSeconds": retry_after}
            error = StatusError(error.code, error.reason, error.message, details)
        return error

    return refuse
