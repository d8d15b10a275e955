"""metadata.managedFields: who owns which fields, read and written.

Source: ``k8s.io/apimachinery/pkg/util/managedfields/internal`` (managedfields.go, capmanagers.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cove.kube.apply.fieldset import FieldSet, FieldSetError, decode, ordered, union

__all__ = [
    "Entry",
    "Managed",
    "ManagerId",
    "cap",
    "decode_entries",
    "encode_entries",
    "identify",
    "trusted_entries",
]

MAX_UPDATE_MANAGERS = 10
_ANCIENT = "ancient-changes"


class ManagerId(NamedTuple):
    """What makes an entry one entry; ``api_version`` is "" for appliers, who have one each."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    def describe(self) -> str:
        """As conflicts tell it: ``"kubectl" with subresource "status" using apps/v1``."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == "Update":
            text += f" using {self.api_version}"
        return text


class Entry(NamedTuple):
    """What one manager owns, at which version, since when (None: not told)."""

    fields: FieldSet
    api_version: str
    time: str | None
    # The document it was read from while it still says the same, so that it is not made anew.
    document: dict[str, Any] | None = None


Managed = dict[ManagerId, Entry]


def identify(manager: str, operation: str, api_version: str, subresource: str) -> ManagerId:
    """The identity of a request's manager."""
    return ManagerId(manager, operation, "" if operation == "Apply" else api_version, subresource)


def decode_entries(documents: list[Mapping[str, Any]]) -> Managed:
    """The managers of a list of entries; raises FieldSetError if one of them is not valid."""
    out: Managed = {}
    for i, doc in enumerate(documents):
        operation = doc.get("operation") or ""
        if operation not in ("Apply", "Update"):
            raise FieldSetError("operation must be `Apply` or `Update`")
        version = doc.get("apiVersion") or ""
        if not version:
            raise FieldSetError("apiVersion must not be empty")
        kind = doc.get("fieldsType") or ""
        if kind != "FieldsV1":
            raise FieldSetError(
                f'invalid fieldsType "{kind}" in managed fields entry {i}'
                if kind
                else f"missing fieldsType in managed fields entry {i}"
            )
        identity = identify(
            doc.get("manager") or "", operation, version, doc.get("subresource") or ""
        )
        fields = decode(doc.get("fieldsV1"))
        # Written again where it says more than was understood.
        same = fields == doc.get("fieldsV1")
        out[identity] = Entry(fields, version, doc.get("time"), dict(doc) if same else None)
    return out


def trusted_entries(documents: list[dict[str, Any]]) -> Managed:
    """The managers of entries this module wrote: nothing is checked, sets are used as they are."""
    return {
        ManagerId(
            doc.get("manager", ""),
            doc["operation"],
            "" if doc["operation"] == "Apply" else doc["apiVersion"],
            doc.get("subresource", ""),
        ): Entry(doc.get("fieldsV1") or {}, doc["apiVersion"], doc.get("time"), doc)
        for doc in documents
    }


def _order(doc: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    return (
        doc["operation"],
        doc.get("time") or "",
        doc.get("manager", ""),
        doc["apiVersion"],
        doc.get("subresource", ""),
    )


def encode_entries(managed: Managed) -> list[dict[str, Any]]:
    """The list to write: appliers first, oldest first."""
    out: list[dict[str, Any]] = []
    for identity, entry in managed.items():
        if entry.document is not None:
            out.append(entry.document)
            continue
        doc: dict[str, Any] = {}
        if identity.manager:
            doc["manager"] = identity.manager
        doc["operation"] = identity.operation
        doc["apiVersion"] = entry.api_version
        if entry.time:
            doc["time"] = entry.time
        doc["fieldsType"] = "FieldsV1"
        doc["fieldsV1"] = ordered(entry.fields)
        if identity.subresource:
            doc["subresource"] = identity.subresource
        out.append(doc)
    if len(out) > 1:
        out.sort(key=_order)
    return out


def cap(managed: Managed) -> Managed:
    """At most ten update managers: the oldest of a version are merged into "ancient-changes"."""
    updaters = [m for m in managed if m.operation == "Update"]
    if len(updaters) <= MAX_UPDATE_MANAGERS:
        return managed
    out = dict(managed)
    updaters.sort(key=lambda m: (managed[m].time or "", m))
    first: dict[str, ManagerId] = {}
    count = len(updaters)
    for identity in updaters:
        if count <= MAX_UPDATE_MANAGERS:
            break
        entry = out[identity]
        version = entry.api_version
        bucket = ManagerId(_ANCIENT, "Update", version, "")
        if version not in first:
            first[version] = identity
            continue
        if bucket not in out:
            out[bucket] = out.pop(first[version])
        merged = union(entry.fields, out[bucket].fields)
        out.pop(identity, None)
        out[bucket] = Entry(merged, version, entry.time)
        count -= 1
    return out
