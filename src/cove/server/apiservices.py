"""APIService objects that the server makes for what it serves itself.

Source: ``pkg/controllers/autoregister`` of kube-aggregator: one per group and version,
labelled as managed; those of CRDs come and go with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.kube import catalogue
from cove.kube.catalogue.discovery import group_priority, version_priority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cove.server.api import Api

__all__ = ["builtin_documents", "ensure", "remove"]

APISERVICES = "apiservices.apiregistration.k8s.io"
MANAGED = "kube-aggregator.kubernetes.io/automanaged"


def _document(
    api: Api, group: str, version: str, managed: str, priority: int = 0
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "version": version,
        "groupPriorityMinimum": priority or group_priority(group),
        "versionPriority": version_priority(group, version),
    }
    if group:
        spec["group"] = group
    return {
        "metadata": {"name": f"{version}.{group}", "labels": {MANAGED: managed}},
        "spec": spec,
        "status": {
            "conditions": [
                {
                    "type": "Available",
                    "status": "True",
                    "lastTransitionTime": api.timestamp(),
                    "reason": "Local",
                    "message": "Local APIServices are always available",
                }
            ]
        },
    }


def builtin_documents(api: Api) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(group, version, plural, document) of the APIServices of all built-in groups."""
    for group in catalogue.groups():
        for version in catalogue.versions(group):
            yield (
                "apiregistration.k8s.io",
                "v1",
                "apiservices",
                _document(api, group, version, "onstart"),
            )


def ensure(api: Api, group: str, version: str, *, priority: int = 0) -> None:
    """Make the APIService of a group's version that is not built in if it is missing.

    ``priority`` 0 is that of custom resources.
    """
    from cove.server.bootstrap import seed

    if api.store.state.get(APISERVICES, "", f"{version}.{group}") is None:
        doc = _document(api, group, version, "true", priority)
        seed(api, "apiregistration.k8s.io", "v1", "apiservices", doc)


def remove(api: Api, group: str, version: str) -> None:
    """Remove the APIService of a version that is not served any more, if the server made it."""
    from cove.server.verbs._write import remove as remove_object

    name = f"{version}.{group}"
    stored = api.store.state.get(APISERVICES, "", name)
    if stored is None or MANAGED not in (stored.labels or {}):
        return
    endpoint = api.registry.builtin("apiregistration.k8s.io", "v1", "apiservices")
    assert endpoint is not None
    remove_object(api, endpoint, endpoint.load(stored.data))
