"""An embedded cluster that holds what was there when a recording began."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.kube.status import StatusError
from cove.testing.replay.recording import Recording
from cove.testing.replay.state import Item, initial

if TYPE_CHECKING:
    from cove.engines.embedded import EmbeddedCluster, Running

__all__ = ["load_into", "replayed"]


@asynccontextmanager
async def replayed(
    recording: Recording | str | Path,
    *,
    controllers: bool = False,
    partly: bool = False,
    **options: Any,
) -> AsyncIterator[EmbeddedCluster]:
    """A cluster in this process with the objects that the recording tells of::

        async with replayed("run.cove") as cluster:
            pods = await cluster.client.list(PODS, "shop")

    Nothing moves in it unless ``controllers`` are to: those do what they would do in a cluster
    that is as it was, where pods have lost the nodes that were not recorded.  ``options`` are
    those of :func:`cove.embedded`; without nodes by default.  Raises RecordingError, and LookupError
    if objects are missing, because their kinds or their answers were not recorded: it says
    which, and why; ``partly`` goes without them.
    """
    from cove.engines.embedded import embedded

    if not isinstance(recording, Recording):
        recording = Recording.load(recording)
    options.setdefault("nodes", 0)
    async with embedded(controllers=controllers, **options) as cluster:
        problems = load_into(cluster, recording)
        if problems and not partly:
            raise LookupError(
                f"{recording.origin} cannot be replayed whole: "
                + "; ".join(f"{what}: {why}" for what, why in problems.items())
            )
        yield cluster


def load_into(cluster: Running, recording: Recording) -> dict[str, str]:
    """Put the recording's objects into a cluster that runs; what is missing, and why.

    Objects of the same name are written over.  Namespaces that objects are in are made.
    """
    from cove.server.bootstrap import take_over

    problems = {
        f"{entry.method} {entry.path}": f"its answer of {entry.size} bytes was too long to be kept"
        for entry in recording.entries
        if entry.cut and entry.asked.verb in ("get", "list", "watch")
    }
    if recording.dropped:
        problems[f"{recording.dropped} answers"] = "they did not fit into the recording"
    api = cluster.api
    for item in _with_namespaces(initial(recording)):
        metadata = item.object["metadata"]
        try:
            take_over(api, item.group, item.version, item.resource, item.object)
        except StatusError as e:
            group = f".{item.group}" if item.group else ""
            name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
            problems[f"{item.resource}{group} {name}"] = _why(item, e)
    return problems


def _why(item: Item, error: StatusError) -> str:
    if error.code == 404:
        return (
            f"nobody serves {item.group or 'core'}/{item.version}: the definition of the kind was "
            "not recorded (was it allowed to be read?)"
        )
    return str(error)


def _with_namespaces(items: list[Item]) -> list[Item]:
    there = {item.object["metadata"]["name"] for item in items if item.resource == "namespaces"}
    there |= {"default", "kube-system", "kube-public", "kube-node-lease", ""}
    wanted = {_namespace(item.object) for item in items}
    made = [
        Item("", "v1", "namespaces", _a_namespace(name)) for name in sorted(wanted - there) if name
    ]
    definitions = [item for item in items if item.resource == "customresourcedefinitions"]
    rest = [item for item in items if item.resource != "customresourcedefinitions"]
    return [*definitions, *made, *rest]


def _a_namespace(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _namespace(doc: Mapping[str, Any]) -> str:
    return str(doc["metadata"].get("namespace") or "")
