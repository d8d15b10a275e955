"""RuntimeClass: overhead and scheduling of pods that name one."""

from __future__ import annotations

from typing import Any

import orjson

from cove.server.admission._chain import Attributes, Plugin

__all__ = ["RuntimeClass"]

CLASSES = "runtimeclasses.node.k8s.io"


class RuntimeClass(Plugin):
    """Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-overhead/"""

    name = "RuntimeClass"
    operations = frozenset(("CREATE",))
    storages = frozenset(("pods",))

    def admit(self, a: Attributes) -> None:
        """Take overhead, node selector and tolerations over from the class."""
        if a.obj is None:
            return
        found, spec = _class(a), a.obj["spec"]
        if found is None:
            return
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead:
            given = spec.get("overhead")
            if given is not None and given != overhead:
                raise a.forbidden(
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                )
            spec["overhead"] = dict(overhead)
        scheduling = found.get("scheduling") or {}
        selector = dict(spec.get("nodeSelector", {}))
        for key, value in scheduling.get("nodeSelector", {}).items():
            if key in selector and selector[key] != value:
                raise a.forbidden(
                    f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                    f"pod.spec.nodeSelector[{key}] = {selector[key]}"
                )
            selector[key] = value
        if selector:
            spec["nodeSelector"] = selector
        for toleration in scheduling.get("tolerations", ()):
            if toleration not in spec.get("tolerations", ()):
                spec["tolerations"] = [*spec.get("tolerations", ()), dict(toleration)]

    def validate(self, a: Attributes) -> None:
        """Overhead comes from a class or not at all."""
        if a.obj is None:
            return
        overhead = a.obj["spec"].get("overhead")
        if overhead and not ((_class(a) or {}).get("overhead") or {}).get("podFixed"):
            raise a.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )


def _class(a: Attributes) -> dict[str, Any] | None:
    name = (a.obj or {})["spec"].get("runtimeClassName")
    if not name:
        return None
    stored = a.api.store.state.get(CLASSES, "", name)
    if stored is None:
        raise a.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
    found: dict[str, Any] = orjson.loads(stored.data)
    return found
