"""What the controllers of Endpoints and EndpointSlices share: services, pods, addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from cove.client import Informer
from cove.client.meta import key_of
from cove.controllers._conditions import find
from cove.controllers._pods import is_ready
from cove.kube.labels import from_map

__all__ = [
    "HEADLESS",
    "TRIGGER_TIME",
    "ServiceIndex",
    "batch_delay",
    "family_of",
    "hostname_of",
    "is_headless",
    "pod_ip",
    "port_of",
    "serves",
    "target_ref",
    "trigger_time",
]

Doc = dict[str, Any]

HEADLESS = "service.kubernetes.io/headless"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


def is_headless(service: Doc) -> bool:
    """Whether the service has no address of its own."""
    return bool(service["spec"].get("clusterIP") == "None")


def family_of(address: str) -> str:
    """IPv4 or IPv6."""
    return f"IPv{ipaddress.ip_address(address).version}"


def pod_ip(pod: Doc, family: str) -> str:
    """The pod's address of a family, "" if it has none."""
    status = pod.get("status", {})
    addresses = [p["ip"] for p in status.get("podIPs") or ()]
    if not addresses and status.get("podIP"):
        addresses = [status["podIP"]]
    return next((a for a in addresses if family_of(a) == family), "")


def serves(pod: Doc, *, terminating: bool) -> bool:
    """Whether a pod is to be listed at all: it has an address and has not ended."""
    status = pod.get("status", {})
    if status.get("phase") in ("Succeeded", "Failed") or not status.get("podIP"):
        return False
    return terminating or "deletionTimestamp" not in pod["metadata"]


def port_of(pod: Doc, port: Doc) -> int | None:
    """The number behind a service's port on a pod; None if the pod has no port of that name."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    protocol = port.get("protocol", "TCP")
    containers = [
        *pod["spec"]["containers"],
        *(c for c in pod["spec"].get("initContainers", ()) if c.get("restartPolicy") == "Always"),
    ]
    for container in containers:
        for declared in container.get("ports", ()):
            if declared.get("name") == target and declared.get("protocol", "TCP") == protocol:
                return int(declared["containerPort"])
    return None


def hostname_of(pod: Doc, service: Doc) -> str:
    """The pod's host name if it is a member of the service's domain."""
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        return str(spec["hostname"])
    return ""


def target_ref(pod: Doc) -> Doc:
    """What an endpoint says it stands for."""
    metadata = pod["metadata"]
    return {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def trigger_time(pods: list[Doc], service: Doc) -> str:
    """When the latest of the changes behind the endpoints happened: a readiness, or the service."""
    latest: str = service["metadata"].get("creationTimestamp") or ""
    for pod in pods:
        condition = find(pod.get("status", {}).get("conditions"), "Ready")
        moment = (condition or {}).get("lastTransitionTime") or ""
        latest = max(latest, moment)
    return latest


def batch_delay(endpoints: int) -> float:
    """Seconds to gather changes for: a large service costs too much to do over for each pod."""
    return 0.0 if endpoints < 100 else min(endpoints / 2000.0, 1.0)


def _matters(old: Doc, new: Doc) -> bool:
    """Whether a pod's change can show in endpoints."""
    a, b = old.get("status", {}), new.get("status", {})
    return (
        a.get("podIP") != b.get("podIP")
        or a.get("podIPs") != b.get("podIPs")
        or is_ready(old) != is_ready(new)
        or (a.get("phase") != b.get("phase"))
        or old["spec"].get("nodeName") != new["spec"].get("nodeName")
        or ("deletionTimestamp" in old["metadata"]) != ("deletionTimestamp" in new["metadata"])
        or old["metadata"].get("labels") != new["metadata"].get("labels")
    )


class ServiceIndex:
    """Calls ``changed`` with the keys of services whose pods changed in what endpoints show."""

    def __init__(self, services: Informer, pods: Informer, changed: Callable[[str], None]) -> None:
        self._services = services
        self._changed = changed
        pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        pod = new or old
        assert pod is not None
        services = self._services.list(pod["metadata"]["namespace"])
        if not services:
            return
        if old is not None and new is not None and not _matters(old, new):
            return
        labels = [o["metadata"].get("labels") for o in (old, new) if o is not None]
        for service in services:
            selector = service["spec"].get("selector")
            if selector:
                matcher = from_map(selector)
                if any(matcher.matches(one) for one in labels):
                    self._changed(key_of(service))
