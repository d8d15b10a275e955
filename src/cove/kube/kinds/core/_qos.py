"""A pod's quality of service class.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
"""

from __future__ import annotations

from typing import Any

from cove.kube.quantity import parse

__all__ = ["qos_class"]

_COMPUTE = ("cpu", "memory")


def qos_class(spec: dict[str, Any]) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort``."""
    whole = spec.get("resources")
    if whole:
        groups = [whole]
    else:
        groups = [
            c.get("resources") or {}
            for key in ("containers", "initContainers")
            for c in spec.get(key) or ()
        ]
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    guaranteed = True
    for group in groups:
        for total, key in ((requests, "requests"), (limits, "limits")):
            amounts = group.get(key)
            found = 0
            if amounts:
                for name in _COMPUTE:
                    if name in amounts:
                        nanos = parse(amounts[name]).nanos
                        if nanos > 0:
                            total[name] = total.get(name, 0) + nanos
                            found += 1
            if key == "limits" and found < 2:
                guaranteed = False
    if not requests and not limits:
        return "BestEffort"
    if guaranteed and requests == limits:
        return "Guaranteed"
    return "Burstable"
