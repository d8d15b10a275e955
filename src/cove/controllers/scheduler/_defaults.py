"""What spreads pods that say nothing of it: their services and controllers."""

from __future__ import annotations

from typing import Any

from cove.client import Informer
from cove.client.meta import controller_of
from cove.controllers.scheduler._spread import system_defaults
from cove.kube.labels import Selector, from_document, from_map

__all__ = ["Defaults"]

Doc = dict[str, Any]


class Defaults:
    """The system's default constraints of pods.

    Source: https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/#internal-default-constraints
    """

    def __init__(self, services: Informer, controllers: dict[str, Informer]) -> None:
        self._services = services
        self._controllers = controllers

    def of(self, pod: Doc) -> list[tuple[Doc, Selector]]:
        """Constraints for one pod; none where nothing selects it."""
        metadata = pod["metadata"]
        namespace = metadata["namespace"]
        labels = metadata.get("labels") or {}
        merged: dict[str, str] = {}
        if labels:
            for service in self._services.list(namespace):
                selector = service["spec"].get("selector")
                if selector and selector.items() <= labels.items():
                    merged.update(selector)
        requirements = list(from_map(merged).requirements) if merged else []
        owner = controller_of(pod)
        if owner is not None and owner["kind"] in self._controllers:
            found = self._controllers[owner["kind"]].get(namespace, owner["name"])
            if found is not None:
                document = found["spec"].get("selector")
                if owner["kind"] == "ReplicationController":
                    document = {"matchLabels": document or {}}
                requirements += from_document(document).requirements
        return system_defaults(Selector(requirements)) if requirements else []
