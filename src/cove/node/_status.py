"""A pod's status as a kubelet makes it of its containers' states.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cove.node.driver import ContainerState, PodState, States

__all__ = ["ended", "pod_status"]

Doc = dict[str, Any]

_WAITING = ContainerState({"waiting": {"reason": "ContainerCreating"}})
_INITIALIZING = ContainerState({"waiting": {"reason": "PodInitializing"}})


def _container(container: Doc, state: ContainerState) -> Doc:
    status: Doc = {
        "name": container["name"],
        "image": state.image or container.get("image", ""),
        "imageID": state.image_id,
        "ready": state.ready,
        "restartCount": state.restarts,
        "started": "running" in state.state and state.started is not False,
        "state": state.state,
        "lastState": state.last,
    }
    if state.id:
        status["containerID"] = state.id
    resources = container.get("resources") or {}
    if state.resources is not None:
        resources = state.resources
    if resources.get("requests"):
        status["allocatedResources"] = resources["requests"]
    if resources:
        status["resources"] = resources
    return status


def ended(status: Mapping[str, Any]) -> bool:
    """Whether a pod's phase is final."""
    return status.get("phase") in ("Succeeded", "Failed")


def _phase(spec: Doc, states: States) -> str:
    """Upstream's getPhase, for containers that were all started."""
    policy = spec.get("restartPolicy", "Always")
    for container in spec.get("initContainers", ()):
        if container.get("restartPolicy") == "Always":
            continue
        state = states.get(container["name"], _WAITING).state
        done = state.get("terminated")
        if done is None:
            return "Pending"
        if done.get("exitCode"):
            return "Failed" if policy == "Never" else "Pending"
    running = waiting = succeeded = failed = stopped = 0
    for container in spec["containers"]:
        found = states.get(container["name"], _WAITING)
        if "running" in found.state:
            running += 1
        elif "terminated" in found.state:
            stopped += 1
            if found.state["terminated"].get("exitCode"):
                failed += 1
            else:
                succeeded += 1
        elif found.last:
            stopped += 1
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running:
        return "Running"
    if policy == "Always":
        return "Running"
    if succeeded == stopped:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _condition(type: str, ok: bool, now: str, reason: str = "", message: str = "") -> Doc:
    condition: Doc = {
        "type": type,
        "status": "True" if ok else "False",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _conditions(pod: Doc, state: PodState, phase: str, now: str) -> list[Doc]:
    spec, states = pod["spec"], state.containers
    old = {c["type"]: c for c in pod.get("status", {}).get("conditions", ())}
    unready = [c["name"] for c in spec["containers"] if not states.get(c["name"], _WAITING).ready]
    reason = message = ""
    if unready:
        reason = "ContainersNotReady"
        message = f"containers with unready status: [{' '.join(unready)}]"
    if phase in ("Succeeded", "Failed"):
        reason, message = ("PodCompleted" if phase == "Succeeded" else "PodFailed"), ""
        unready = unready or ["-"]
    containers = _condition("ContainersReady", not unready, now, reason, message)
    ready = {**containers, "type": "Ready"}
    if not unready:
        gates = [
            g["conditionType"]
            for g in spec.get("readinessGates", ())
            if old.get(g["conditionType"], {}).get("status") != "True"
        ]
        if gates:
            texts = [
                f'corresponding condition of pod readiness gate "{g}" does not exist.'
                if g not in old
                else f'the status of pod readiness gate "{g}" is not "True", '
                f"but {old[g].get('status', '')}"
                for g in gates
            ]
            message = ", ".join(texts)
            ready = _condition(
                "Ready",
                False,
                now,
                "ReadinessGatesNotReady",
                f"[{message}]" if len(texts) > 1 else message,
            )
    inits = [c for c in spec.get("initContainers", ()) if c.get("restartPolicy") != "Always"]
    initialized = all(_done(states.get(c["name"], _WAITING)) for c in inits)
    final = phase in ("Succeeded", "Failed")
    conditions = [
        _condition("PodReadyToStartContainers", state.network and not final, now),
        _condition(
            "Initialized",
            initialized,
            now,
            "PodCompleted"
            if phase == "Succeeded"
            else ("" if initialized else "ContainersNotInitialized"),
        ),
        ready,
        containers,
    ]
    if "PodScheduled" not in old:
        # Pods that were created with a node were never scheduled.
        conditions.append(_condition("PodScheduled", True, now))
    generation = pod["metadata"].get("generation")
    for condition in conditions:
        known = old.get(condition["type"])
        if known is not None and known.get("status") == condition["status"]:
            condition["lastTransitionTime"] = known.get("lastTransitionTime") or now
        if generation:
            condition["observedGeneration"] = generation
    return conditions


def _done(state: ContainerState) -> bool:
    ended = state.state.get("terminated")
    return ended is not None and ended.get("exitCode") == 0


def pod_status(pod: Doc, state: PodState, address: str, host: str, now: str) -> Doc:
    """What to merge into the pod's status.  ``address`` is the pod's IP, ``host`` its node's."""
    spec, states = pod["spec"], state.containers
    phase = "Failed" if state.reason else _phase(spec, states)
    if spec.get("hostNetwork"):
        address = host
    status: Doc = {
        "phase": phase,
        "conditions": _conditions(pod, state, phase, now),
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": pod.get("status", {}).get("startTime") or now,
        "containerStatuses": [
            _container(c, states.get(c["name"], _WAITING)) for c in spec["containers"]
        ],
    }
    if state.network or spec.get("hostNetwork"):
        status["podIP"] = address
        status["podIPs"] = [{"ip": address}]
    if state.reason:
        status["reason"], status["message"] = state.reason, state.message
    if pod["metadata"].get("generation"):
        status["observedGeneration"] = pod["metadata"]["generation"]
    inits = spec.get("initContainers")
    if inits:
        status["initContainerStatuses"] = [
            _container(c, states.get(c["name"], _INITIALIZING)) for c in inits
        ]
    ephemeral = [c for c in spec.get("ephemeralContainers") or () if c["name"] in states]
    if ephemeral:
        status["ephemeralContainerStatuses"] = [_container(c, states[c["name"]]) for c in ephemeral]
    return status
