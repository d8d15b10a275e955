"""How calls and places in answers are called, wherever a person reads of them.

::

    GET pods/web in default → status.phase
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cove.testing.timeline import Call, Timeline

__all__ = ["call_title", "dotted", "of_secret", "origin"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# An answer with a token in it: serviceaccounts/token and tokenrequests, tokenreviews.
_TOKENS = {("serviceaccounts", "token"), ("tokenrequests", ""), ("tokenreviews", "")}


def dotted(path: Iterable[str | int]) -> str:
    """A way into a document: ``items[0].metadata.labels["app.kubernetes.io/name"]``; "" is all."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


def call_title(call: Call) -> str:
    """A request in a few words: ``GET pods/web in default``, ``GET /version``."""
    if call.kind == "http":
        return f"{call.method} {call.path}"
    words = f"{(call.verb or call.method).upper()} {call.resource}"
    name = call.name
    if not name and call.verb == "create" and isinstance(call.response, dict):
        # What is created may get its name from the server.
        metadata = call.response.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    if name:
        words += f"/{name}"
    if call.subresource:
        words += f"/{call.subresource}"
    return f"{words} in {call.namespace}" if call.namespace else words


def origin(timeline: Timeline, call: int, path: str) -> str:
    """Where a value came from: ``GET pods/web in default → status.phase``; "" if not known."""
    found = timeline.find(call)
    if not isinstance(found, Call):
        return ""
    return f"{call_title(found)} → {path}" if path else call_title(found)


def of_secret(call: Call | None, path: str) -> bool:
    """Whether what is at a place of an answer must not be written down."""
    if call is None or call.kind != "kube":
        return False
    inside = re.sub(r"^items\[\d+\]\.?", "", path)
    top = re.split(r"[.\[]", inside, maxsplit=1)[0]
    if call.resource == "secrets":
        return top in ("", "items", "data", "stringData")
    if (call.resource, call.subresource) in _TOKENS:
        return top in ("", "status", "spec")
    return False
