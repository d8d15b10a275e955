"""What a copy of a cluster whose pods run begins with: its pods as they are after a power cut."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from cove.server.store import Store

if TYPE_CHECKING:
    from cove.engines.snapshots import Snapshot
    from cove.server.store import State

__all__ = ["copied", "is_ready", "ready_in", "restarted"]

Doc = dict[str, Any]


def is_ready(pod: Doc) -> bool:
    """Whether it says that it is."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def ready_in(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Namespace and name of the pods that were ready."""
    pods = [orjson.loads(stored.data) for stored in snapshot.state.list("pods")]
    return [(p["metadata"]["namespace"], p["metadata"]["name"]) for p in pods if is_ready(p)]


def restarted(snapshot: Snapshot, ready: list[tuple[str, str]]) -> State:
    """The state with pods that run as their nodes find them after a power cut: not running."""
    store = Store(snapshot.state)
    for stored in snapshot.state.list("pods"):
        pod = orjson.loads(stored.data)
        status = pod.get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed"):
            continue
        kept = [c for c in status.get("conditions") or () if c["type"] == "PodScheduled"]
        pod["status"] = {"phase": "Pending", "conditions": kept}
        if status.get("qosClass"):
            pod["status"]["qosClass"] = status["qosClass"]

        def encode(revision: str, pod: Doc = pod) -> bytes:
            pod["metadata"]["resourceVersion"] = revision
            return orjson.dumps(pod)

        store.put(
            "pods",
            stored.namespace,
            stored.name,
            stored.uid,
            encode,
            stored.labels,
            {**(stored.fields or {}), "status.phase": "Pending", "status.podIP": ""},
        )
    return store.state


def copied(source: str, target: str) -> str:
    """Blobs, which never change, are linked; the rest is copied."""
    if Path(source).name == "data" and "/blobs/" in source:
        try:
            os.link(source, target)
            return target
        except OSError:
            pass
    return str(shutil.copy2(source, target))
