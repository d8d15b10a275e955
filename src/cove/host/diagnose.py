"""Diagnose: why workloads are not ready, in the cluster's own words.

Gathered when something has failed, so it never raises and is bounded: what it cannot
find out is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cove.client import Client
from cove.client._client import path_of
from cove.host.rollout import PODS, Target, failed, pod_reason, unready
from cove.kube import labels
from cove.kube.gvk import GVR
from cove.kube.status import CoveError

__all__ = ["diagnose"]

log = logging.getLogger("cove.host")

Doc = Mapping[str, Any]

EVENTS = GVR("", "v1", "events")
REPLICA_SETS = GVR("apps", "v1", "replicasets")
# Seconds, workloads, pods of one, events of one, lines of a container's log.
PATIENCE = 10.0
WORKLOADS = 8
PODS_EACH = 3
EVENTS_EACH = 8
LOG_LINES = 10


async def diagnose(client: Client, wanted: Iterable[Target]) -> list[str]:
    """A paragraph for each workload that is not ready: its reason, events, pods and logs."""
    told: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            for target in wanted:
                if len(told) == WORKLOADS:
                    told.append("… and others")
                    break
                told.extend(await _workload(client, target))
    except TimeoutError:
        told.append(f"… the cluster took more than {PATIENCE:.0f} s to tell the rest")
    return told


async def _workload(client: Client, target: Target) -> list[str]:
    try:
        obj: Doc = {**await client.get(target.gvr, target.name, target.namespace)}
    except CoveError as e:
        return [] if getattr(e, "code", 0) == 404 else [f"{target}: {e}"]
    obj = {**obj, "kind": target.kind}
    reason = failed(obj) or unready(obj)
    if not reason:
        return []
    lines = [f"{target} in namespace {target.namespace}: {reason}"]
    try:
        pods = await _pods(client, target, obj)
        names = {(target.kind, target.name)}
        names |= {("Pod", str(pod["metadata"]["name"])) for pod in pods}
        names |= {("PersistentVolumeClaim", name) for pod in pods for name in _claims(pod)}
        names |= {("ReplicaSet", name) for name in await _replica_sets(client, target, obj)}
        lines += [f"  {text}" for text in await _events(client, target.namespace, names)]
        unwell = [pod for pod in pods if pod_reason(pod)]
        for pod in unwell[:PODS_EACH]:
            if target.kind != "Pod":
                lines.append(f"  pod {pod['metadata']['name']}: {pod_reason(pod)}")
            lines += [f"    {text}" for text in await _logs(client, pod)]
        if len(unwell) > PODS_EACH:
            lines.append(f"  … and {len(unwell) - PODS_EACH} more pods")
    except (CoveError, KeyError, TypeError, ValueError) as e:
        log.debug("%s cannot be diagnosed", target, exc_info=e)
    return ["\n".join(lines)]


async def _pods(client: Client, target: Target, obj: Doc) -> Sequence[Doc]:
    if target.kind == "Pod":
        return [obj]
    selector = (obj.get("spec") or {}).get("selector")
    if not selector:
        return []
    found = await client.list(
        PODS, target.namespace, label_selector=str(labels.from_document(selector))
    )
    return sorted(found.items, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))[::-1]


def _claims(pod: Doc) -> list[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    return [
        v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v
    ]


async def _replica_sets(client: Client, target: Target, obj: Doc) -> list[str]:
    if target.kind != "Deployment":
        return []
    uid = obj["metadata"]["uid"]
    found = await client.list(REPLICA_SETS, target.namespace, metadata_only=True)
    return [
        str(each["metadata"]["name"])
        for each in found.items
        if any(o.get("uid") == uid for o in each["metadata"].get("ownerReferences") or ())
    ]


async def _events(client: Client, namespace: str, names: set[tuple[str, str]]) -> list[str]:
    found = await client.list(EVENTS, namespace, field_selector="type=Warning")
    events = [
        (_when(event), event)
        for event in found.items
        if (event["involvedObject"].get("kind"), event["involvedObject"].get("name")) in names
    ]
    events.sort(key=lambda pair: pair[0])
    texts: dict[str, None] = {}
    for _, event in events:
        about = event["involvedObject"]
        texts[
            f"event of {about['kind'].lower()} {about['name']}: "
            f"{event.get('reason', '')}: {str(event.get('message', '')).strip()}"
        ] = None
    return list(texts)[-EVENTS_EACH:]


def _when(event: Doc) -> str:
    times = (event.get("lastTimestamp"), event.get("eventTime"))
    return str(next(filter(None, times), event["metadata"].get("creationTimestamp", "")))


async def _logs(client: Client, pod: Doc) -> list[str]:
    """The last lines of the containers that ended or are not ready."""
    lines: list[str] = []
    status = pod.get("status") or {}
    for container in [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]:
        state = container.get("state") or {}
        ran_before = bool((container.get("lastState") or {}).get("terminated"))
        done_well = (state.get("terminated") or {}).get("exitCode") == 0
        if container.get("ready") or done_well or ("waiting" in state and not ran_before):
            continue
        name = str(container["name"])
        said = await _log(client, pod, name, previous="waiting" in state)
        if said:
            lines.append(f"the last lines of container {name}:")
            lines += [f"  {line}" for line in said]
    return lines


async def _log(client: Client, pod: Doc, container: str, *, previous: bool) -> list[str]:
    metadata = pod["metadata"]
    query = {"container": container, "tailLines": LOG_LINES, "limitBytes": 1 << 16}
    if previous:
        query["previous"] = "true"
    try:
        data = await client.raw(
            "GET",
            path_of(PODS, metadata["namespace"], metadata["name"], "log"),
            query=query,
            accept="*/*",
        )
    except CoveError as e:
        log.debug("no log of %s/%s: %s", metadata["name"], container, e)
        return []
    return data.decode(errors="replace").splitlines()[-LOG_LINES:]
