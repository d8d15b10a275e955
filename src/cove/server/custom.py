"""Custom resources: endpoints made of the CRDs in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cove.kube.catalogue.discovery import ExtraGroup
from cove.server.endpoint import Endpoint

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["CustomResources"]


class CustomResources:
    """The custom resources of a cluster."""

    def find(self, api: Api, group: str, version: str, plural: str) -> Endpoint | None:
        """The endpoint of a custom resource, None if no established CRD serves it."""
        return None

    def has_version(self, api: Api, group: str, version: str) -> bool:
        """Whether some CRD serves the version."""
        return False

    def groups(self, api: Api) -> Mapping[str, Sequence[str]]:
        """Group → served versions, the preferred first."""
        return {}

    def discovery(self, api: Api) -> Sequence[ExtraGroup]:
        """What discovery says of them."""
        return ()
