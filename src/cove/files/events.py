"""Events: what happened to an object, as a table.

Asked for by field selectors on name, namespace, kind and uid, so that neither a namesake of
another kind nor an earlier object of that name leaks in.  Times are absolute: a file that
nothing happened to keeps its checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.kube.gvk import GVR

if TYPE_CHECKING:
    from cove.client import Client

__all__ = ["EVENTS_GVR", "Row", "fetch", "field_selector", "rows", "table"]

Doc = dict[str, Any]
EVENTS_GVR = GVR("", "v1", "events")
PAGE = 500
NONE = "No events.\n"


class Row(NamedTuple):
    """An event as it is printed; ``seen`` is "-" where nobody says when."""

    seen: str
    times: int
    type: str
    reason: str
    source: str
    message: str


def escape(value: str) -> str:
    """A value in a field selector: ``\\``, ``,`` and ``=`` are escaped.

    Source: ``EscapeValue`` of k8s.io/apimachinery/pkg/fields.
    """
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def field_selector(kind: str, name: str, namespace: str, uid: str) -> str:
    """The selector of the events of one object; of one without a namespace, whatever theirs."""
    parts = {"name": name, "namespace": namespace, "kind": kind, "uid": uid}
    return ",".join(
        f"involvedObject.{field}={escape(value)}" for field, value in parts.items() if value
    )


async def fetch(client: Client, kind: str, name: str, namespace: str, uid: str) -> list[Doc]:
    """The events of one object, from its namespace (from all, for one without)."""
    result = await client.list(
        EVENTS_GVR,
        namespace or None,
        field_selector=field_selector(kind, name, namespace, uid),
        page_size=PAGE,
    )
    return result.items


def rows(events: Sequence[Doc]) -> list[Row]:
    """The events, the last one last."""
    return sorted(map(_row, events), key=lambda row: "" if row.seen == "-" else row.seen)


def _row(event: Doc) -> Row:
    series = event.get("series") or {}
    source = event.get("source") or {}
    seen = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return Row(
        seen or "-",
        series.get("count") or event.get("count") or 1,
        _line(event.get("type") or ""),
        _line(event.get("reason") or ""),
        _line(source.get("component") or event.get("reportingComponent") or ""),
        _line(event.get("message") or ""),
    )


def _line(text: str) -> str:
    return " ".join(text.splitlines()).strip()


def table(found: Sequence[Row]) -> str:
    """The rows below a heading, as kubectl aligns them."""
    if not found:
        return NONE
    heads = ("LAST SEEN", "COUNT", "TYPE", "REASON", "FROM", "MESSAGE")
    lines = [heads, *(tuple(map(str, row)) for row in found)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads) - 1)]
    return "".join(
        "   ".join(
            [*(cell.ljust(w) for cell, w in zip(line[:-1], widths, strict=True)), line[-1]]
        ).rstrip()
        + "\n"
        for line in lines
    )
