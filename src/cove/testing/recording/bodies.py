"""Bodies: from the bytes of a request or an answer to what a timeline shows of them.

Nothing here is done before somebody looks: a recorder keeps bytes.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from cove.testing.recording.redact import redact, redact_text

__all__ = ["ITEMS", "KEPT", "TEXT", "head_of", "read", "shown"]

# Of a body up to so many bytes are kept; of a longer list its first items, else nothing.
KEPT = 256 * 1024
# So many items of a list are shown.
ITEMS = 100
# So many characters of a text that is no document: logs, errors of proxies.
TEXT = 16 * 1024
# The key of the element that stands for the items that are not shown.
SHORTENED = "<shortened>"

_YAML = ("application/yaml", "application/apply-patch+yaml", "text/yaml")
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_ITEMS = b'"items":['


def head_of(body: bytes) -> bytes:
    """As much of a body as is kept."""
    return body if len(body) <= KEPT else body[:KEPT]


def read(body: bytes, media: str) -> Any:
    """A body as a document; text where it is none; None for an empty one.

    ``media`` is its Content-Type, "" where nobody told.
    """
    if not body:
        return None
    media = media.partition(";")[0].strip().lower()
    if media.startswith(_PROTOBUF) or body.startswith(b"k8s\x00"):
        return _protobuf(body, media)
    if not media.startswith("text/plain"):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    if media in _YAML:
        return _yaml(body)
    return _text(body, media)


def _protobuf(body: bytes, media: str) -> Any:
    from cove.kube.catalogue import protobuf

    try:
        return protobuf.decode(body)
    except protobuf.ProtobufError:
        return _binary(body, media or _PROTOBUF)


def _yaml(body: bytes) -> Any:
    import yaml

    from cove.kube.catalogue import codec

    try:
        doc, _ = codec.load_yaml(body)
    except (ValueError, yaml.YAMLError, RecursionError):
        return _text(body, "")
    return doc


def _text(body: bytes, media: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return _binary(body, media or "no text")


def _binary(body: bytes, media: str) -> str:
    return f"<{len(body)} bytes: {media}>"


def shown(body: bytes, media: str, size: int, *, secret: bool) -> Any:
    """What a timeline shows: redacted, and shortened where it is long.

    ``body`` is what was kept of ``size`` bytes; None for what was too long to keep.
    ``secret`` says that it is about Secrets.
    """
    doc = _beginning(body, size) if size > len(body) else _shortened(read(body, media))
    if isinstance(doc, str):
        if secret:
            return f"<redacted: {size} bytes>"
        doc = redact_text(doc)
        return doc if len(doc) <= TEXT else f"{doc[:TEXT]}\n<of {size} bytes>"
    try:
        return redact(doc, secret=secret)
    except RecursionError:
        return f"<{size} bytes: nested too deeply>"


def _shortened(doc: Any) -> Any:
    if not isinstance(doc, dict):
        return doc
    for key in ("items", "rows"):
        items = doc.get(key)
        if isinstance(items, list) and len(items) > ITEMS:
            marker = {SHORTENED: f"the first {ITEMS} of {len(items)}"}
            return {**doc, key: [*items[:ITEMS], marker]}
    return doc


def _beginning(body: bytes, size: int) -> Any:
    """The first items of a list whose end was not kept; text where it was text."""
    if body.lstrip()[:1] != b"{":
        text = body.decode(errors="replace")
        return text if text.isprintable() or "\n" in text else None
    start = body.find(_ITEMS)
    if start < 0:
        return None
    try:
        doc = orjson.loads(body[:start] + b'"items":[]}')
    except orjson.JSONDecodeError:
        return None
    text, at = body[start + len(_ITEMS) :].decode(errors="ignore"), 0
    items: list[Any] = []
    decoder = json.JSONDecoder()
    while len(items) < ITEMS:
        while text[at : at + 1] in (",", " ", "\n", "\t"):
            at += 1
        try:
            item, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        items.append(item)
    doc["items"] = [*items, {SHORTENED: f"the first {len(items)} of a list of {size} bytes"}]
    return doc
