"""Diagnosis: what a cluster knows of why something did not happen.  It never raises."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cove.host.rollout import pod_reason
from cove.kube.gvk import GVR

if TYPE_CHECKING:
    from cove.client import Client

__all__ = ["Situation", "situation"]

PODS = GVR("", "v1", "pods")
EVENTS = GVR("", "v1", "events")
# Seconds it may take, how much is told at most.
PATIENCE = 5.0
PODS_TOLD = 12
EVENTS_TOLD = 12
LOGS_TOLD = 3
LOG_LINES = 20
# What simulated nodes say of themselves: true of all of them, and no reason for anything.
MADE_UP = "Simulated"

Doc = dict[str, Any]


@dataclass
class Situation:
    """Lines on pods that are not ready (and those of the system), on warnings; logs by pod."""

    pods: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    # Why not all of it could be had, "" if it could.
    problem: str = ""

    @property
    def lines(self) -> list[str]:
        """All of it but the logs, as text."""
        told = []
        if self.pods:
            told += ["pods:", *(f"  {line}" for line in self.pods)]
        if self.warnings:
            told += ["warnings:", *(f"  {line}" for line in self.warnings)]
        if self.problem:
            told.append(self.problem)
        return told


async def situation(
    client: Client, namespace: str | None = None, *, logs: bool = False
) -> Situation:
    """How pods of ``namespace`` (None: of all) and of kube-system are; the last warnings.

    ``logs`` fetches the last lines of pods that are not ready.
    """
    found = Situation()
    try:
        async with asyncio.timeout(PATIENCE):
            await _look(client, namespace, found, logs)
    except TimeoutError:
        found.problem = f"the cluster took more than {PATIENCE:g} s to tell the rest"
    except Exception as e:
        # Whatever is wrong with the cluster, the failure it is asked about is the one to show.
        found.problem = f"the cluster cannot tell: {str(e) or type(e).__name__}"
    return found


async def _look(client: Client, namespace: str | None, found: Situation, logs: bool) -> None:
    pods = (await client.list(PODS, namespace)).items
    if namespace not in (None, "kube-system"):
        pods += (await client.list(PODS, "kube-system")).items
    sick = [pod for pod in pods if not _fine(pod)]
    for pod in sick[:PODS_TOLD]:
        found.pods.append(_told(pod))
    if len(sick) > PODS_TOLD:
        found.pods.append(f"… and {len(sick) - PODS_TOLD} more that are not ready")
    selector = f"type=Warning,reason!={MADE_UP}"
    warnings = (await client.list(EVENTS, namespace, field_selector=selector)).items
    warnings.sort(key=_when)
    for event in warnings[-EVENTS_TOLD:]:
        of = event.get("involvedObject") or {}
        count = event.get("count") or (event.get("series") or {}).get("count") or 1
        often = f" (×{count})" if count > 1 else ""
        found.warnings.append(
            f"{str(of.get('kind', '')).lower()}/{of.get('name', '')}: {event.get('reason', '')}: "
            f"{event.get('message', '')}{often}"
        )
    if logs:
        for pod in sick[:LOGS_TOLD]:
            await _logs(client, pod, found)


def _fine(pod: Doc) -> bool:
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    return any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in status.get("conditions") or ()
    )


def _told(pod: Doc) -> str:
    metadata, status = pod["metadata"], pod.get("status") or {}
    ready = sum(bool(c.get("ready")) for c in status.get("containerStatuses") or ())
    wanted = len((pod.get("spec") or {}).get("containers") or ())
    return (
        f"{metadata.get('namespace', '')}/{metadata['name']} {ready}/{wanted} "
        f"{status.get('phase', 'Pending')}: {pod_reason(pod)}"
    )


def _when(event: Doc) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
    )


async def _logs(client: Client, pod: Doc, found: Situation) -> None:
    metadata = pod["metadata"]
    for container in (pod.get("spec") or {}).get("containers") or ():
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
        query = {"container": container["name"], "tailLines": LOG_LINES}
        try:
            text = await client.raw("GET", path, query=query, accept="*/*")
        except Exception:
            continue
        if text:
            found.logs[f"{metadata['name']}/{container['name']}"] = text.decode(errors="replace")
