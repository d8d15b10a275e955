"""What the scheduler keeps of nodes and pods: room, use, and what their specs demand.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cove.controllers.scheduler._terms import Term, preferred_terms, required_terms
from cove.kube.quantity import parse

__all__ = ["NodeInfo", "PodInfo", "requests_of"]

Doc = dict[str, Any]

# What a container that asks for nothing counts as when nodes are compared (not when they
# are checked): 100 millicores and 200 MB, as upstream.
DEFAULT_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024


@lru_cache(maxsize=4096)
def amount(resource: str, text: str | int | float) -> int:
    """A quantity in the scheduler's units: millicores for cpu, whole units otherwise."""
    quantity = parse(text)
    return quantity.milli if resource == "cpu" else quantity.value


def _sum(into: dict[str, int], requests: Doc | None) -> None:
    for name, text in (requests or {}).items():
        into[name] = into.get(name, 0) + amount(name, text)


def _requests(container: Doc) -> dict[str, int]:
    out: dict[str, int] = {}
    _sum(out, (container.get("resources") or {}).get("requests"))
    return out


def _combine(containers: Iterable[tuple[dict[str, int], bool, bool]]) -> dict[str, int]:
    """Totals of (requests, is init, restarts always): inits run one by one before the rest,
    those that always restart stay."""
    total: dict[str, int] = {}
    peak: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    for requests, init, stays in containers:
        if not init or stays:
            for name, value in requests.items():
                total[name] = total.get(name, 0) + value
        if not init:
            continue
        if stays:
            for name, value in requests.items():
                sidecars[name] = sidecars.get(name, 0) + value
            step = sidecars
        else:
            step = {n: sidecars.get(n, 0) + requests.get(n, 0) for n in {*sidecars, *requests}}
        for name, value in step.items():
            peak[name] = max(peak.get(name, 0), value)
    for name, value in peak.items():
        total[name] = max(total.get(name, 0), value)
    return total


# What a pod may ask for as a whole; huge pages too.
POD_LEVEL = ("cpu", "memory")


def requests_of(spec: Doc) -> dict[str, int]:
    """What a pod asks for.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
    """
    total = _combine(
        [
            *(
                (_requests(c), True, c.get("restartPolicy") == "Always")
                for c in spec.get("initContainers", ())
            ),
            *((_requests(c), False, False) for c in spec["containers"]),
        ]
    )
    for name, text in ((spec.get("resources") or {}).get("requests") or {}).items():
        # Pod-level requests stand for all containers.
        if name in POD_LEVEL or name.startswith("hugepages-"):
            total[name] = amount(name, text)
    _sum(total, spec.get("overhead"))
    return total


class PodInfo:
    """One pod: what it uses and what it forbids others."""

    __slots__ = (
        "affinity",
        "anti_affinity",
        "claims",
        "cpu",
        "has_affinity",
        "key",
        "labels",
        "memory",
        "namespace",
        "node",
        "ports",
        "preferred",
        "priority",
        "requests",
        "started",
        "terminating",
        "uid",
    )

    def __init__(self, pod: Doc) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        self.uid: str = metadata["uid"]
        self.namespace: str = metadata["namespace"]
        self.key = f"{self.namespace}/{metadata['name']}"
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.node: str = spec.get("nodeName", "")
        self.priority: int = spec.get("priority", 0)
        self.terminating = "deletionTimestamp" in metadata
        # RFC 3339; "" while no node has taken note of the pod.
        self.started: str = pod.get("status", {}).get("startTime") or ""
        self.requests = requests_of(spec)
        cpu = self.requests.get("cpu", 0)
        memory = self.requests.get("memory", 0)
        self.cpu = cpu or DEFAULT_CPU * len(spec["containers"])
        self.memory = memory or DEFAULT_MEMORY * len(spec["containers"])
        self.ports = host_ports(spec)
        self.claims = claims_of(pod)
        self.affinity: tuple[Term, ...] = ()
        self.anti_affinity: tuple[Term, ...] = ()
        self.preferred: tuple[Term, ...] = ()
        affinity = spec.get("affinity")
        if affinity:
            self.affinity = required_terms(affinity.get("podAffinity"), self)
            self.anti_affinity = required_terms(affinity.get("podAntiAffinity"), self)
            self.preferred = preferred_terms(spec, self)
        # Whether it has a say in where other pods had better go.
        self.has_affinity = bool(self.affinity or self.preferred)


def claims_of(pod: Doc) -> tuple[str, ...]:
    """Names of the claims that a pod's volumes use, those of ephemeral volumes included."""
    volumes = pod["spec"].get("volumes")
    if not volumes:
        return ()
    names = []
    for volume in volumes:
        claim = volume.get("persistentVolumeClaim")
        if claim:
            names.append(claim["claimName"])
        elif volume.get("ephemeral"):
            names.append(f"{pod['metadata']['name']}-{volume['name']}")
    return tuple(names)


def host_ports(spec: Doc) -> list[tuple[str, str, int]]:
    """(address, protocol, port) that a pod takes of its node."""
    return [
        (port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), port["hostPort"])
        for container in (
            *spec["containers"],
            # Of init containers only those that stay keep their ports.
            *(c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"),
        )
        for port in container.get("ports", ())
        if port.get("hostPort")
    ]


class NodeInfo:
    """One node and the pods on it.  ``generation`` grows with every change."""

    __slots__ = (
        "allocatable",
        "by_label",
        "cpu",
        "generation",
        "images",
        "labels",
        "max_pods",
        "memory",
        "name",
        "node",
        "pods",
        "ports",
        "requested",
        "taints",
        "tie",
        "unschedulable",
        "with_affinity",
        "with_anti_affinity",
    )

    def __init__(self, name: str, tie: float) -> None:
        self.name = name
        self.tie = tie
        self.node: Doc | None = None
        self.generation = 0
        self.labels: dict[str, str] = {}
        self.taints: list[Doc] = []
        self.unschedulable = False
        self.allocatable: dict[str, int] = {}
        self.max_pods = 0
        self.requested: dict[str, int] = {}
        self.cpu = 0
        self.memory = 0
        self.pods: dict[str, PodInfo] = {}
        self.ports: dict[tuple[str, str, int], int] = {}
        # Pods by (namespace, label, value): selectors look at few of a node's many pods.
        self.by_label: dict[tuple[str, str, str], dict[str, PodInfo]] = {}
        self.with_anti_affinity: dict[str, PodInfo] = {}
        self.with_affinity: dict[str, PodInfo] = {}
        # Bytes by image name.
        self.images: dict[str, int] = {}

    def set_node(self, node: Doc) -> None:
        """Take a new state of the node."""
        self.node = node
        self.generation += 1
        self.labels = node["metadata"].get("labels") or {}
        spec, status = node.get("spec", {}), node.get("status", {})
        self.taints = spec.get("taints") or []
        self.unschedulable = bool(spec.get("unschedulable"))
        self.allocatable = {
            name: amount(name, text) for name, text in (status.get("allocatable") or {}).items()
        }
        self.max_pods = self.allocatable.get("pods", 0)
        self.images = {
            name: image.get("sizeBytes", 0)
            for image in status.get("images") or ()
            for name in image.get("names") or ()
        }

    def add(self, pod: PodInfo) -> None:
        """A pod is on the node, or will be."""
        self.generation += 1
        self.pods[pod.uid] = pod
        self._index(pod)
        for name, value in pod.requests.items():
            self.requested[name] = self.requested.get(name, 0) + value
        self.cpu += pod.cpu
        self.memory += pod.memory
        for port in pod.ports:
            self.ports[port] = self.ports.get(port, 0) + 1
        if pod.anti_affinity:
            self.with_anti_affinity[pod.uid] = pod
        if pod.has_affinity:
            self.with_affinity[pod.uid] = pod

    def remove(self, uid: str) -> PodInfo | None:
        """A pod is off the node."""
        pod = self.pods.pop(uid, None)
        if pod is None:
            return None
        self.generation += 1
        self._unindex(pod)
        for name, value in pod.requests.items():
            self.requested[name] -= value
        self.cpu -= pod.cpu
        self.memory -= pod.memory
        for port in pod.ports:
            self.ports[port] -= 1
            if not self.ports[port]:
                del self.ports[port]
        self.with_anti_affinity.pop(uid, None)
        self.with_affinity.pop(uid, None)
        return pod

    def _index(self, pod: PodInfo) -> None:
        for label, value in pod.labels.items():
            self.by_label.setdefault((pod.namespace, label, value), {})[pod.uid] = pod

    def _unindex(self, pod: PodInfo) -> None:
        for label, value in pod.labels.items():
            found = self.by_label[pod.namespace, label, value]
            del found[pod.uid]
            if not found:
                del self.by_label[pod.namespace, label, value]

    def relabel(self, pod: PodInfo, labels: dict[str, str]) -> None:
        """A pod on the node has other labels now."""
        if labels != pod.labels:
            self._unindex(pod)
            pod.labels = labels
            self._index(pod)

    def lacks(self, requests: dict[str, int]) -> list[str]:
        """Why the requests do not fit, in upstream's words; empty if they do."""
        reasons = []
        if len(self.pods) + 1 > self.max_pods:
            reasons.append("Too many pods")
        allocatable, requested = self.allocatable, self.requested
        for name, value in requests.items():
            if value and value > allocatable.get(name, 0) - requested.get(name, 0):
                reasons.append(f"Insufficient {name}")
        return reasons

    def too_small(self, requests: dict[str, int]) -> bool:
        """Whether the requests would not even fit the empty node."""
        allocatable = self.allocatable
        return any(value > allocatable.get(name, 0) for name, value in requests.items())

    def fits(self, requests: dict[str, int]) -> bool:
        """Whether the requests fit."""
        if len(self.pods) >= self.max_pods:
            return False
        allocatable, requested = self.allocatable, self.requested
        for name, value in requests.items():
            if value and value > allocatable.get(name, 0) - requested.get(name, 0):
                return False
        return True

    def conflicts(self, ports: list[tuple[str, str, int]]) -> bool:
        """Whether a host port is taken; 0.0.0.0 stands for every address."""
        for address, protocol, number in ports:
            for taken_address, taken_protocol, taken in self.ports:
                if taken == number and taken_protocol == protocol:
                    if "0.0.0.0" in (address, taken_address) or address == taken_address:
                        return True
        return False

    def score(self, cpu: int, memory: int) -> float:
        """0–200: how empty and how evenly used the node is with a pod of that size.

        An estimate that needs no other node, for clusters so large that pods are not
        compared with all of them; :mod:`._score` is what upstream does.
        """
        room_cpu = self.allocatable.get("cpu", 0)
        room_memory = self.allocatable.get("memory", 0)
        if not room_cpu or not room_memory:
            return 0.0
        used_cpu = min((self.cpu + cpu) / room_cpu, 1.0)
        used_memory = min((self.memory + memory) / room_memory, 1.0)
        least = 100.0 - 50.0 * (used_cpu + used_memory)
        balanced = 100.0 - 50.0 * abs(used_cpu - used_memory)
        return least + balanced
