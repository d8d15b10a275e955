"""Ingresses get the default class; services may be denied external addresses."""

from __future__ import annotations

import orjson

from cove.server.admission._chain import Attributes, Plugin

__all__ = ["DefaultIngressClass", "DenyServiceExternalIPs"]

CLASSES = "ingressclasses.networking.k8s.io"
DEFAULT = "ingressclass.kubernetes.io/is-default-class"


class DefaultIngressClass(Plugin):
    """An ingress without a class gets the newest default one."""

    name = "DefaultIngressClass"
    operations = frozenset(("CREATE",))
    storages = frozenset(("ingresses.networking.k8s.io",))

    def admit(self, a: Attributes) -> None:
        """Set spec.ingressClassName."""
        if a.obj is None or "ingressClassName" in a.obj["spec"]:
            return
        if "kubernetes.io/ingress.class" in a.obj["metadata"].get("annotations", {}):
            return
        found = []
        for stored in a.api.store.state.list(CLASSES):
            meta = orjson.loads(stored.data)["metadata"]
            if meta.get("annotations", {}).get(DEFAULT) == "true":
                found.append((meta["creationTimestamp"], stored.name))
        if found:
            newest = max(t for t, _ in found)
            a.obj["spec"]["ingressClassName"] = min(n for t, n in found if t == newest)


class DenyServiceExternalIPs(Plugin):
    """Refuses new external addresses of services (off by default)."""

    name = "DenyServiceExternalIPs"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = frozenset(("services",))

    def validate(self, a: Attributes) -> None:
        """Only addresses that were there before."""
        if a.obj is None:
            return
        old = set((a.old or {}).get("spec", {}).get("externalIPs", ()))
        if set(a.obj["spec"].get("externalIPs", ())) - old:
            raise a.forbidden("Use of external IPs is denied by admission control.")
