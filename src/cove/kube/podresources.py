"""What a pod asks for as a whole: its containers', sidecars' and own requests and limits.

Amounts are exact and keep their notation.

Source: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
and KEP-2837 (pod-level resources).
"""

from __future__ import annotations

from typing import Any, Literal

from cove.kube.quantity import Quantity, parse

__all__ = ["Amounts", "amounts", "pod_resources"]

Amounts = dict[str, Quantity]


def amounts(given: dict[str, str] | None) -> Amounts:
    """A resource list as numbers; nothing for None."""
    return {name: parse(text) for name, text in given.items()} if given else {}


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _raise(total: Amounts, least: Amounts) -> None:
    for name, amount in least.items():
        if name not in total or amount > total[name]:
            total[name] = amount


def pod_resources(
    pod: dict[str, Any],
    key: Literal["requests", "limits"],
    *,
    overhead: bool = True,
    status: bool = False,
) -> Amounts:
    """The sum over a pod; resources that nobody names are left out.

    ``overhead``: what the runtime class adds counts too (to limits only where there is
    one).  ``status``: while a container is being resized, the greater of what it asks for
    and what it still has counts.
    """
    spec = pod["spec"]
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _of(pod, container, key, "containerStatuses", status))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of(pod, container, key, "initContainerStatuses", status)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(sidecars, own)
            _raise(peak, sidecars)
        else:
            step = dict(own)
            _add(step, sidecars)
            _raise(peak, step)
    _raise(total, peak)
    for name, amount in amounts((spec.get("resources") or {}).get(key)).items():
        if name in ("cpu", "memory") or name.startswith("hugepages-"):
            total[name] = amount
    if overhead:
        for name, amount in amounts(spec.get("overhead")).items():
            if key == "requests" or total.get(name):
                _add(total, {name: amount})
    return total


def _of(
    pod: dict[str, Any], container: dict[str, Any], key: str, where: str, status: bool
) -> Amounts:
    asked = amounts((container.get("resources") or {}).get(key))
    if not status:
        return asked
    state = pod.get("status") or {}
    name = container.get("name")
    found = next((c for c in state.get(where) or () if c.get("name") == name), None)
    if found is None or found.get("resources") is None:
        return asked
    had = amounts(found["resources"].get(key))
    if key == "requests":
        _raise(had, amounts(found.get("allocatedResources")))
        if any(
            c.get("type") == "PodResizePending" and c.get("reason") in ("Infeasible", "Deferred")
            for c in state.get("conditions") or ()
        ):
            return had
    _raise(had, asked)
    return had
