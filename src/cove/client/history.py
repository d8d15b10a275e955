"""History: the versions that an embedded cluster remembers of an object."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import yaml

from cove.client._client import Client, path_of
from cove.kube.gvk import GVR
from cove.kube.times import parse_time

__all__ = ["Version", "history"]

Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Version:
    """An object as one write left it.

    ``type`` is what the write did; PRESENT is what was there before the window, and has no
    ``time``.  The ``object`` of DELETED is the last one there was.
    """

    type: Literal["PRESENT", "ADDED", "MODIFIED", "DELETED"]
    revision: int
    time: datetime | None
    object: dict[str, Any]

    def diff(self, other: Version) -> str:
        """What changed from this version to ``other``: a unified diff of YAML, "" for nothing.

        Without ``managedFields`` and the resource version, which every write changes.
        """
        return "".join(
            difflib.unified_diff(
                _lines(self.object),
                _lines(other.object),
                f"revision {self.revision}",
                f"revision {other.revision}",
            )
        )


def _lines(obj: Mapping[str, Any]) -> list[str]:
    hidden = ("managedFields", "resourceVersion")
    metadata = {k: v for k, v in obj["metadata"].items() if k not in hidden}
    text: str = yaml.dump({**obj, "metadata": metadata}, Dumper=Dumper, sort_keys=False)
    return text.splitlines(keepends=True)


async def history(
    client: Client, gvr: GVR, name: str = "", namespace: str | None = None
) -> list[Version]:
    """The versions of an object, or with ``name`` "" the writes of a collection, oldest first.

    ``namespace`` None with a name is a cluster-scoped object, without one every namespace.
    Raises StatusError: 404 for what neither is nor was, and from clusters that have no
    history (only embedded ones do).
    """
    doc = await client.request("GET", "/cove/history" + path_of(gvr, namespace, name))
    return [
        Version(
            item["type"],
            int(item["revision"]),
            parse_time(item["time"]) if "time" in item else None,
            item["object"],
        )
        for item in doc["items"]
    ]
