"""What was there when a recording began: the objects its answers tell of, before the run's writes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from cove.testing.recording.paths import Asked
from cove.testing.replay.recording import Entry, Recording

__all__ = ["Item", "filled", "initial"]

Doc = dict[str, Any]
_COVERED = re.compile(r"<redacted: (\d+) bytes>")
# Kinds that show an object without being it.
_VIEWS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList", "Status")
# Subresources whose answer is the whole object.
_WHOLE = ("", "status")


class Item(NamedTuple):
    """An object and where it is served."""

    group: str
    version: str
    resource: str
    object: Doc


Key = tuple[str, str, str, str]


def initial(recording: Recording) -> list[Item]:
    """The objects, definitions of kinds and namespaces first.

    Each as it was first told of.  One that the run itself made was not there; of one that was
    never read before it was changed, what it was is not known, and it is as the change left it.
    Values that were redacted are as long as the secret ones were, of asterisks.
    """
    found: dict[Key, Item | None] = {}
    uids: set[str] = set()
    for entry in sorted(recording.entries, key=lambda entry: entry.at + entry.took):
        for key, item in _told(entry):
            if key in found:
                continue
            uid = "" if item is None else item.object["metadata"].get("uid", "")
            if uid and uid in uids:
                # The same, served in another group: events.
                continue
            uids.add(uid)
            found[key] = item
    items = [item for item in found.values() if item is not None]
    secrets = ("", "secrets")
    return sorted(
        (
            item._replace(object=filled(item.object))
            if (item.group, item.resource) == secrets
            else item
            for item in items
        ),
        key=_rank,
    )


def _rank(item: Item) -> int:
    order = ("customresourcedefinitions", "namespaces")
    return order.index(item.resource) if item.resource in order else len(order)


def _told(entry: Entry) -> Iterator[tuple[Key, Item | None]]:
    of = entry.asked
    if of.kind != "kube" or of.subresource not in _WHOLE:
        return
    if entry.events is not None:
        yield from _watched(entry, of)
        return
    answer = entry.answer
    if of.verb == "get" and entry.status == 404:
        yield (of.group, of.resource, of.namespace, of.name), None
    if not isinstance(answer, dict) or not 200 <= entry.status < 300:
        return
    kind = answer.get("kind", "")
    if kind in _VIEWS:
        return
    if of.verb == "list":
        for item in answer.get("items") or ():
            if isinstance(item, dict) and _named(item):
                # Items of a list do not say what they are.
                told = {
                    "kind": kind.removesuffix("List"),
                    "apiVersion": answer.get("apiVersion", ""),
                    **item,
                }
                yield _key(of, told), Item(of.group, of.version, of.resource, told)
    elif of.verb in ("get", "update", "patch", "create", "delete") and _named(answer):
        made = of.verb == "create" or entry.status == 201
        if not made or not of.subresource:
            item = None if made else Item(of.group, of.version, of.resource, answer)
            yield _key(of, answer), item


def _watched(entry: Entry, of: Asked) -> Iterator[tuple[Key, Item | None]]:
    query = parse_qs(entry.query)
    later = query.get("resourceVersion", [""])[0] not in ("", "0")
    later = later and query.get("sendInitialEvents") != ["true"]
    for event in entry.events or ():
        if not isinstance(event, dict) or event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            continue
        doc = event.get("object")
        if not isinstance(doc, dict) or not _named(doc) or doc.get("kind") in _VIEWS:
            continue
        new = later and event["type"] == "ADDED"
        yield _key(of, doc), None if new else Item(of.group, of.version, of.resource, doc)


def _named(doc: Mapping[str, Any]) -> bool:
    metadata = doc.get("metadata")
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _key(of: Asked, doc: Mapping[str, Any]) -> Key:
    metadata = doc["metadata"]
    return of.group, of.resource, metadata.get("namespace") or "", metadata["name"]


def filled(value: Any) -> Any:
    """A document about Secrets whose ``data`` is base64 again: of as many asterisks."""
    if isinstance(value, list):
        return [filled(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _stars(each) for name, each in inner.items()}
        if key == "data" and isinstance(inner, dict)
        else filled(inner)
        for key, inner in value.items()
    }


def _stars(value: Any) -> Any:
    match = _COVERED.fullmatch(value) if isinstance(value, str) else None
    return value if match is None else base64.b64encode(b"*" * int(match[1])).decode()
