"""Nodes are born not ready."""

from __future__ import annotations

from cove.server.admission._chain import Attributes, Plugin

__all__ = ["TaintNodesByCondition"]

TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(Plugin):
    """Taints a new node until its conditions are known."""

    name = "TaintNodesByCondition"
    operations = frozenset(("CREATE",))
    storages = frozenset(("nodes",))

    def admit(self, a: Attributes) -> None:
        """Add the not-ready taint."""
        if a.obj is None:
            return
        spec = a.obj["spec"]
        taints = spec.get("taints", [])
        if not any(
            t.get("key") == TAINT["key"] and t.get("effect") == TAINT["effect"] for t in taints
        ):
            spec["taints"] = [*taints, dict(TAINT)]
