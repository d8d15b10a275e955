"""Small plugins that fill in pods."""

from __future__ import annotations

from typing import Any

from cove.server.admission._chain import Attributes, Plugin

__all__ = [
    "AlwaysPullImages",
    "DefaultTolerationSeconds",
    "ExtendedResourceToleration",
    "PodTopologyLabels",
]

PODS = frozenset(("pods",))
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
SECONDS = 300


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The init and ordinary containers of a pod spec."""
    return [*spec.get("initContainers", ()), *spec.get("containers", ())]


class DefaultTolerationSeconds(Plugin):
    """A pod stays five minutes on a node that is not ready or not reachable."""

    name = "DefaultTolerationSeconds"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = PODS

    def admit(self, a: Attributes) -> None:
        """Add the tolerations that are not covered yet."""
        if a.obj is None:
            return
        spec = a.obj["spec"]
        tolerations = spec.get("tolerations")
        missing = [
            key
            for key in (NOT_READY, UNREACHABLE)
            if not any(_covers(t, key) for t in tolerations or ())
        ]
        if missing:
            spec["tolerations"] = [
                *(tolerations or ()),
                *(
                    {
                        "key": key,
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": SECONDS,
                    }
                    for key in missing
                ),
            ]


def _covers(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in (
        "NoExecute",
        "",
    )


class ExtendedResourceToleration(Plugin):
    """Tolerates the taints that nodes with extended resources carry (off by default)."""

    name = "ExtendedResourceToleration"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = PODS

    def admit(self, a: Attributes) -> None:
        """One toleration for each extended resource that a container asks for."""
        if a.obj is None:
            return
        spec = a.obj["spec"]
        wanted = {
            resource
            for container in containers(spec)
            for resource in container.get("resources", {}).get("requests", ())
            if "/" in resource and not resource.partition("/")[0].endswith("kubernetes.io")
        }
        tolerations = spec.get("tolerations", [])
        for resource in sorted(wanted):
            if not any(t.get("key") == resource for t in tolerations):
                tolerations = [*tolerations, {"key": resource, "operator": "Exists"}]
        if tolerations:
            spec["tolerations"] = tolerations


class AlwaysPullImages(Plugin):
    """Every container pulls its image each time (off by default)."""

    name = "AlwaysPullImages"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = PODS

    def admit(self, a: Attributes) -> None:
        """Set imagePullPolicy."""
        if a.obj is not None:
            for container in containers(a.obj["spec"]):
                container["imagePullPolicy"] = "Always"


class PodTopologyLabels(Plugin):
    """A pod bound to a node carries the node's zone and region labels (KEP-4742)."""

    name = "PodTopologyLabels"
    operations = frozenset(("CREATE",))
    storages = PODS
    subresources = frozenset(("", "binding"))
    LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")

    def admit(self, a: Attributes) -> None:
        """Copy the labels of the node the pod names."""
        if a.obj is None:
            return
        if a.subresource == "binding":
            node = (a.obj.get("target") or {}).get("name", "")
        else:
            node = a.obj["spec"].get("nodeName", "")
        stored = a.api.store.state.get("nodes", "", node) if node else None
        if stored is None or not stored.labels:
            return
        found = {k: stored.labels[k] for k in self.LABELS if k in stored.labels}
        if found:
            meta = a.obj.setdefault("metadata", {})
            meta["labels"] = {**meta.get("labels", {}), **found}
