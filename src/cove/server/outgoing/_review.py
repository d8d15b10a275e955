"""A review posted to a webhook, and its answer read as client-go reads it.

Source: ``rest/request.go`` of client-go, whose texts errors repeat.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube.catalogue import codec
from cove.kube.catalogue._text import TextError
from cove.kube.field_errors import render
from cove.server.outgoing._client import Answer
from cove.server.outgoing._errors import CallError
from cove.server.outgoing._target import Target

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["review"]

_TEXTS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be "
    "processing the request",
}


async def review(
    api: Api, target: Target, document: dict[str, Any], *, timeout: float, tell: bool = True
) -> dict[str, Any]:
    """The answered document, of whatever kind; raises :class:`CallError`.

    ``timeout`` is in seconds; ``tell`` has the webhook told it, in the query.
    """
    query = f"timeout={math.ceil(timeout)}s" if tell else ""
    answer = await api.outgoing.post(
        api, target, orjson.dumps(document), timeout=timeout, query=query
    )
    return _document(answer)


def _document(answer: Answer) -> dict[str, Any]:
    if not 200 <= answer.status <= 206:
        raise CallError(_refusal(answer))
    if not answer.body:
        raise CallError(
            f"0-length response with status code: {answer.status} and content type: "
            f"{answer.content_type}"
        )
    try:
        doc = codec.load_json(answer.body)
    except TextError as e:
        raise CallError(f"couldn't get version/kind; json parse error: {e}") from e
    if not isinstance(doc, dict):
        raise CallError(
            "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value "
            "of type struct"
        )
    for key in ("kind", "apiVersion"):
        if not doc.get(key):
            title = "Kind" if key == "kind" else "apiVersion"
            shown = answer.body.decode(errors="replace")
            raise CallError(f"Object '{title}' is missing in '{shown}'")
    return doc


def _refusal(answer: Answer) -> str:
    """What client-go makes of a status that is no success."""
    try:
        doc = orjson.loads(answer.body)
        if doc["kind"] == "Status" and doc.get("status") == "Failure" and doc.get("message"):
            return str(doc["message"])
    except (ValueError, KeyError, TypeError):
        pass
    kind = answer.content_type.partition(";")[0].strip()
    text = "unknown"
    if not kind or kind.startswith("text/"):
        text = answer.body.decode(errors="replace").strip()
    code = answer.status
    if code in _TEXTS:
        return _TEXTS[code]
    if code in (403, 406, 415):
        return text
    if code >= 500:
        return f"an error on the server ({render(text)}) has prevented the request from succeeding"
    return f"the server responded with the status code {code} but did not return more information"
