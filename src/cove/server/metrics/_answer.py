"""Answers about metrics.k8s.io, made of what the nodes tell at the moment.

Source: ``pkg/api`` (node.go, pod.go, table.go) of metrics-server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cove.kube import status as st
from cove.kube.catalogue import Resource
from cove.kube.catalogue.discovery import ExtraGroup, ExtraVersion
from cove.kube.kinds._kind import Obj
from cove.kube.quantity import Quantity, add
from cove.kube.times import format_duration, format_time
from cove.server.api import encode
from cove.server.negotiate import accept
from cove.server.options import list_options
from cove.server.registry import method_not_allowed
from cove.server.request import Request, Response
from cove.server.verbs._render import partial
from cove.server.verbs._select import matcher

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint
    from cove.server.kubelet import Usage
    from cove.server.store import Stored

__all__ = ["GROUP", "PRIORITY", "VERSION", "answer", "with_metrics"]

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
PRIORITY = 100
_API_VERSION = f"{GROUP}/{VERSION}"
_KINDS = {"nodes": "NodeMetrics", "pods": "PodMetrics"}
_RESOURCES = tuple(
    Resource(GROUP, VERSION, plural, "", kind, plural == "pods", verbs=("get", "list"))
    for plural, kind in _KINDS.items()
)


def with_metrics(api: Api, groups: Sequence[ExtraGroup]) -> Sequence[ExtraGroup]:
    """The groups of discovery, and this one where it is served."""
    if api.kubelet is None:
        return groups
    return (*groups, ExtraGroup(GROUP, (ExtraVersion(VERSION, _RESOURCES),), PRIORITY))


async def answer(api: Api, request: Request) -> Response:
    """NodeMetrics and PodMetrics: one, or those of what labels and fields select."""
    info = request.info
    kind = _KINDS.get(info.resource)
    if info.version != VERSION or kind is None or info.subresource:
        raise st.not_found_generic()
    one = info.verb == "get"
    if (info.resource == "nodes" and info.namespace) or (
        info.resource == "pods" and one and not info.namespace
    ):
        raise st.not_found_generic()
    if info.verb not in ("get", "list") or request.method == "HEAD":
        raise method_not_allowed()
    core = api.registry.builtin("", "v1", info.resource)
    assert core is not None
    read = _nodes if info.resource == "nodes" else _pods
    if not one:
        items = await read(api, core, _selected(api, request, core))
        return _rendered(request, {"kind": f"{kind}List", "items": items})
    stored = api.store.state.get(core.storage, info.namespace, info.name)
    if stored is None:
        raise core.not_found(info.name)
    found = await read(api, core, [stored])
    if not found:
        name = f"{info.namespace}/{info.name}" if info.namespace else info.name
        raise st.not_found(kind.lower(), GROUP, name)
    return _rendered(request, found[0])


def _selected(api: Api, request: Request, core: Endpoint) -> list[Stored]:
    test = matcher(core, list_options(request, watch=False))
    stored = api.store.state.list(core.storage, request.info.namespace or None)
    return [s for s in stored if test is None or test(s)]


async def _nodes(api: Api, core: Endpoint, nodes: Sequence[Stored]) -> list[Obj]:
    assert api.kubelet is not None
    used = await api.kubelet.node_usage()
    return [
        {**_head(api, stored), **_times(used[stored.name]), "usage": _usage(used[stored.name])}
        for stored in nodes
        if stored.name in used
    ]


async def _pods(api: Api, core: Endpoint, pods: Sequence[Stored]) -> list[Obj]:
    kubelet = api.kubelet
    assert kubelet is not None
    running = []
    for stored in pods:
        pod = core.load(stored.data)
        if pod.get("status", {}).get("phase") == "Running" and kubelet.runs(pod):
            running.append((stored, pod))
    used = await kubelet.usage([pod for _, pod in running])
    found = []
    for stored, _ in running:
        containers = used.get(stored.uid)
        if not containers:
            continue
        oldest = min(containers.values(), key=lambda usage: usage.time)
        listed = [{"name": n, "usage": _usage(u)} for n, u in sorted(containers.items())]
        found.append({**_head(api, stored), **_times(oldest), "containers": listed})
    return found


def _head(api: Api, stored: Stored) -> Obj:
    meta: Obj = {"name": stored.name}
    if stored.namespace:
        meta["namespace"] = stored.namespace
    meta["creationTimestamp"] = api.timestamp()
    if stored.labels:
        meta["labels"] = dict(stored.labels)
    kind = _KINDS["pods" if stored.namespace else "nodes"]
    return {"kind": kind, "apiVersion": _API_VERSION, "metadata": meta}


def _times(usage: Usage) -> Obj:
    window = round(usage.window * 1000) * 1_000_000
    return {"timestamp": format_time(usage.time), "window": format_duration(window)}


def _usage(usage: Usage) -> dict[str, str]:
    return {
        "cpu": str(Quantity(usage.cpu)),
        "memory": str(Quantity(usage.memory * 10**9, "BinarySI")),
    }


# -- representations


def _rendered(request: Request, doc: Obj) -> Response:
    """One or a list, as the request wants it."""
    accepted = accept(request.headers.get("Accept") or "")
    items: list[Obj] | None = doc.get("items")
    if items is not None:
        doc = {"kind": doc["kind"], "apiVersion": _API_VERSION, "metadata": {}, "items": items}
    if accepted.transform == "Table":
        doc = _table([doc] if items is None else items, accepted.version)
    elif accepted.transform:
        doc = (
            partial(doc, accepted.version) if items is None else _partials(items, accepted.version)
        )
    return Response(200, encode(doc, accepted.media), accepted.media)


def _partials(items: Sequence[Obj], version: str) -> Obj:
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": {},
        "items": [partial(item, version) for item in items],
    }


def _column(name: str, format: str, description: str = "") -> Obj:
    shared: Mapping[str, Any] = {"type": "string", "priority": 0}
    return {"name": name, "format": format, "description": description, **shared}


def _table(items: Sequence[Obj], version: str) -> Obj:
    columns = [
        _column("Name", "name", "Name of the resource"),
        _column("cpu", "quantity"),
        _column("memory", "quantity"),
        _column("Window", "duration"),
    ]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": {},
        "columnDefinitions": columns if items else None,
        "rows": [{"cells": _cells(item), "object": partial(item, version)} for item in items],
    }


def _cells(item: Obj) -> list[str]:
    used = [c["usage"] for c in item["containers"]] if "containers" in item else [item["usage"]]
    sums = [add(*(u[name] for u in used)) for name in ("cpu", "memory")]
    return [item["metadata"]["name"], *sums, item["window"]]
