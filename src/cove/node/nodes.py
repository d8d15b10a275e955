"""Node objects: what a node says of itself.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cove.node.driver import Runtime

__all__ = ["SIMULATED", "NodeSpec", "lease", "node_object", "node_status"]

Doc = dict[str, Any]

KUBELET_VERSION = "v1.36.2"
SIMULATED = "cove.dev/simulated"
MESSAGE = (
    "This node is simulated: its pods run no containers. Everything the API tells of them is "
    "made up, and says so."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node to be.  ``capacity`` overrides single resources; quantities as texts."""

    name: str
    address: str
    capacity: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    pod_cidr: str = ""


CAPACITY = {
    "cpu": "8",
    "memory": "16Gi",
    "pods": "110",
    "ephemeral-storage": "100Gi",
    "hugepages-1Gi": "0",
    "hugepages-2Mi": "0",
}


def node_object(spec: NodeSpec, runtime: Runtime, now: str) -> Doc:
    """The Node to create; its status comes with it."""
    labels = {
        "beta.kubernetes.io/arch": runtime.architecture,
        "beta.kubernetes.io/os": runtime.os,
        "kubernetes.io/arch": runtime.architecture,
        "kubernetes.io/hostname": spec.name,
        "kubernetes.io/os": runtime.os,
        **({SIMULATED: "true"} if runtime.simulated else {}),
        **spec.labels,
    }
    annotations = {
        "node.alpha.kubernetes.io/ttl": "0",
        **({SIMULATED: MESSAGE} if runtime.simulated else {}),
        **spec.annotations,
    }
    node: Doc = {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": spec.name, "labels": labels, "annotations": annotations},
        "spec": {},
        "status": node_status(spec, runtime, now),
    }
    if spec.taints:
        node["spec"]["taints"] = [dict(t) for t in spec.taints]
    if spec.pod_cidr:
        node["spec"].update(podCIDR=spec.pod_cidr, podCIDRs=[spec.pod_cidr])
    return node


_CONDITIONS = (
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def node_status(spec: NodeSpec, runtime: Runtime, now: str) -> Doc:
    """The status of a node that is well."""
    capacity = {**CAPACITY, **spec.capacity}
    conditions = [*_CONDITIONS]
    if runtime.simulated:
        conditions.append(("Simulated", "True", "NoContainerRuntime", MESSAGE))
    return {
        "capacity": capacity,
        "allocatable": dict(capacity),
        "conditions": [
            {
                "type": type,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for type, status, reason, message in conditions
        ],
        "addresses": [
            {"type": "InternalIP", "address": spec.address},
            {"type": "Hostname", "address": spec.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kernelVersion": runtime.kernel_version,
            "osImage": runtime.os_image,
            "containerRuntimeVersion": runtime.version,
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": runtime.os,
            "architecture": runtime.architecture,
        },
    }


def lease(node: Doc, seconds: int, now: str) -> Doc:
    """The node's heartbeat."""
    metadata = node["metadata"]
    return {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": "kube-node-lease",
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
        "spec": {
            "holderIdentity": metadata["name"],
            "leaseDurationSeconds": seconds,
            "renewTime": now,
        },
    }
