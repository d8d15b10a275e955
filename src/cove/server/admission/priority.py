"""Priority: from a class's name to a number, and one global default at most."""

from __future__ import annotations

from typing import Any

import orjson

from cove.server.admission._chain import Attributes, Plugin

__all__ = ["Priority"]

CLASSES = "priorityclasses.scheduling.k8s.io"


class Priority(Plugin):
    """Source: ``plugin/pkg/admission/priority``."""

    name = "Priority"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = frozenset(("pods", CLASSES))

    def admit(self, a: Attributes) -> None:
        """Resolve a new pod's class; on update keep what was resolved."""
        if a.endpoint.storage != "pods" or a.obj is None:
            return
        spec = a.obj["spec"]
        if a.operation == "UPDATE":
            old = (a.old or {}).get("spec", {})
            if "priority" not in spec and "priority" in old:
                spec["priority"] = old["priority"]
            if "preemptionPolicy" not in spec and "preemptionPolicy" in old:
                spec["preemptionPolicy"] = old["preemptionPolicy"]
            return
        name = spec.get("priorityClassName", "")
        if name:
            found = _class(a, name)
            if found is None:
                raise a.forbidden(f"no PriorityClass with name {name} was found")
        else:
            found = _default(a)
            if found is not None:
                spec["priorityClassName"] = found["metadata"]["name"]
        value = found.get("value", 0) if found is not None else 0
        policy = (found or {}).get("preemptionPolicy") or "PreemptLowerPriority"
        if "priority" in spec and spec["priority"] != value:
            raise a.forbidden(
                f"the integer value of priority ({spec['priority']}) must not be provided in pod "
                f"spec; priority admission controller computed {value} from the given "
                "PriorityClass name"
            )
        spec["priority"] = value
        given = spec.get("preemptionPolicy")
        if given and given != policy:
            raise a.forbidden(
                f"the string value of PreemptionPolicy ({given}) must not be provided in pod "
                f"spec; priority admission controller computed {policy} from the given "
                "PriorityClass name"
            )
        spec["preemptionPolicy"] = policy

    def validate(self, a: Attributes) -> None:
        """Refuse a second global default."""
        if a.endpoint.storage != CLASSES or a.obj is None or not a.obj.get("globalDefault"):
            return
        name = a.obj["metadata"]["name"]
        for stored in a.api.store.state.list(CLASSES):
            if stored.name != name and orjson.loads(stored.data).get("globalDefault"):
                raise a.forbidden(
                    f"PriorityClass {stored.name} is already marked as default. Only one default "
                    "can exist"
                )


def _class(a: Attributes, name: str) -> dict[str, Any] | None:
    stored = a.api.store.state.get(CLASSES, "", name)
    if stored is None:
        return None
    found: dict[str, Any] = orjson.loads(stored.data)
    return found


def _default(a: Attributes) -> dict[str, Any] | None:
    """The global default of lowest value, as upstream chooses among several."""
    state = a.api.store.state
    bucket = state.bucket(CLASSES)
    cached = _cache.get(id(bucket))
    if cached is not None and cached[0] is bucket:
        return cached[1]
    found = [
        doc
        for stored in state.list(CLASSES)
        if (doc := orjson.loads(stored.data)).get("globalDefault")
    ]
    best = min(found, key=lambda d: d.get("value", 0)) if found else None
    if len(_cache) > 64:
        _cache.clear()
    _cache[id(bucket)] = (bucket, best)
    return best


_cache: dict[int, tuple[Any, dict[str, Any] | None]] = {}
