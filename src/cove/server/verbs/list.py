"""LIST: selectors, pages, and which resource version the answer is of.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from cove.kube import status as st
from cove.kube.status import StatusError
from cove.server.options import ListOptions, list_options, parse_revision
from cove.server.request import Request, Response
from cove.server.store import Expired, State, Stored
from cove.server.verbs._render import list_body
from cove.server.verbs._select import Matcher, matcher

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = ["Page", "list_", "selected", "too_large"]


class Page(NamedTuple):
    """What a list selected: the objects, the list's metadata."""

    items: list[Stored]
    meta: dict[str, Any]


async def list_(api: Api, request: Request, endpoint: Endpoint) -> Response:
    """The objects of a resource."""
    options = list_options(request, watch=False)
    page = await selected(api, request, endpoint, options)
    store = api.store
    if store.revision > store.durable_revision:
        await store.durable(store.revision)
    return list_body(api, request, endpoint, page.items, page.meta)


def too_large(asked: int, current: int) -> StatusError:
    """504: the resource version is from the future."""
    return StatusError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        {
            "causes": [
                {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            ],
            "retryAfterSeconds": 1,
        },
    )


async def selected(api: Api, request: Request, endpoint: Endpoint, options: ListOptions) -> Page:
    """The objects that a list's options select, in the version they are listed in."""
    if not endpoint.converts:
        return select(api, request, endpoint, options)
    test, items, revision, after = _candidates(api, request, endpoint, options)
    if test is not None:
        # Selectors are about what is shown.
        items = await endpoint.shown(api, items)
    page = _page(items, revision, options, test, after, custom=True)
    return Page(await endpoint.shown(api, page.items), page.meta)


def select(api: Api, request: Request, endpoint: Endpoint, options: ListOptions) -> Page:
    """The stored objects that a list's options select, at the resource version they ask for."""
    test, items, revision, after = _candidates(api, request, endpoint, options)
    return _page(items, revision, options, test, after, custom=endpoint.custom)


def _candidates(
    api: Api, request: Request, endpoint: Endpoint, options: ListOptions
) -> tuple[Matcher | None, list[Stored], int, tuple[str, str] | None]:
    """(the test of the selectors, what to test, its revision, after which to start)."""
    test = matcher(endpoint, options)
    namespace = request.info.namespace or None
    if options.continue_:
        state, after = _continued(api, options.continue_)
    else:
        state, after = _state(api, options), None
    items = api.store.listed(state, endpoint.storage, namespace if endpoint.namespaced else None)
    return test, items, state.revision, after


def _state(api: Api, options: ListOptions) -> State:
    text = options.resource_version
    if not text or text == "0":
        return api.store.state
    revision = parse_revision(text)
    current = api.store.revision
    if revision > current:
        raise too_large(revision, current)
    exact = options.match == "Exact" or (not options.match and options.limit > 0)
    if not exact:
        return api.store.state
    try:
        return api.store.at(revision)
    except Expired as e:
        raise st.expired("The resourceVersion for the provided list is too old.") from e


def _page(
    items: list[Stored],
    revision: int,
    options: ListOptions,
    test: Matcher | None,
    after: tuple[str, str] | None,
    *,
    custom: bool,
) -> Page:
    start = 0
    if after is not None:
        start = bisect_left(
            items, (after[0] + "/", after[1]), key=lambda s: (s.namespace + "/", s.name)
        )
    limit = options.limit
    meta: dict[str, Any] = {"resourceVersion": str(revision)}
    if custom:
        meta["continue"] = ""
    if limit <= 0:
        chosen = items[start:] if start else items
        return Page([s for s in chosen if test(s)] if test else chosen, meta)
    out: list[Stored] = []
    index = start
    while index < len(items) and len(out) < limit:
        stored = items[index]
        if test is None or test(stored):
            out.append(stored)
        index += 1
    if index < len(items) and len(out) == limit:
        last = out[-1]
        meta["continue"] = _token(revision, last)
        if test is None:
            meta["remainingItemCount"] = len(items) - index
    return Page(out, meta)


def _token(revision: int, last: Stored) -> str:
    """Where the next page starts: the key right after ``last``, as upstream's tokens look."""
    key = f"{last.namespace}/{last.name}" if last.namespace else last.name
    raw = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": f"{key}\0"})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _continued(api: Api, token: str) -> tuple[State, tuple[str, str]]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        doc = orjson.loads(raw)
        if doc["v"] != "meta.k8s.io/v1":
            raise ValueError(doc["v"])
        namespace, slash, name = str(doc["start"]).rpartition("/")
        revision = int(doc["rv"])
    except (ValueError, KeyError, TypeError, binascii.Error) as e:
        raise st.bad_request("continue key is not valid: illegal base64 data") from e
    if not slash:
        namespace = ""
    if revision == -1:
        return api.store.state, (namespace, name)
    try:
        return api.store.at(revision), (namespace, name)
    except Expired as e:
        fresh = base64.urlsafe_b64encode(
            orjson.dumps({"v": "meta.k8s.io/v1", "rv": -1, "start": doc["start"]})
        )
        error = st.expired(
            "The provided continue parameter is too old to display a consistent list result. You "
            "can start a new list without the continue parameter, or use the continue token in "
            "this response to retrieve the remainder of the results. Continuing with the provided "
            "token results in an inconsistent list - objects that were created, modified, or "
            "deleted between the time the first chunk was returned and now may show up in the list."
        )
        raise ContinueExpiredError(error, fresh.rstrip(b"=").decode()) from e


class ContinueExpiredError(StatusError):
    """410 with a token to go on from the present, in the Status' own metadata."""

    def __init__(self, error: StatusError, token: str) -> None:
        super().__init__(error.code, error.reason, error.message, error.details)
        self.token = token

    @property
    def body(self) -> dict[str, Any]:
        doc = super().body
        doc["metadata"] = {"continue": self.token}
        return doc
