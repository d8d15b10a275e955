"""Group, version and kind or resource: which type a document is, where it is served.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#standard-api-terminology
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["GVK", "GVR", "api_version", "parse_api_version", "version_priority"]


def api_version(group: str, version: str) -> str:
    """``apps/v1``; the core group has no name: ``v1``."""
    return f"{group}/{version}" if group else version


class GVK(NamedTuple):
    """A type: ``GVK("apps", "v1", "Deployment")``."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """What a document of this type says in its apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        """As errors tell it: ``apps/v1, Kind=Deployment``, the core group ``/v1, Kind=Pod``."""
        return f"{self.group}/{self.version}, Kind={self.kind}"


class GVR(NamedTuple):
    """A collection: ``GVR("apps", "v1", "deployments")``."""

    group: str
    version: str
    resource: str

    @property
    def api_version(self) -> str:
        """``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        """The path of its group and version: ``/apis/apps/v1`` or ``/api/v1``."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Resource={self.resource}"


def parse_api_version(text: str) -> tuple[str, str]:
    """(group, version) of an apiVersion; both are "" for an empty one.

    Raises ValueError, worded as upstream does, for more than one slash.
    """
    if not text or text == "/":
        return "", ""
    group, slash, version = text.partition("/")
    if not slash:
        return "", text
    if "/" in version:
        raise ValueError(f"unexpected GroupVersion string: {text}")
    return group, version


_VERSION = re.compile(r"v([0-9]+)(?:(alpha|beta)([0-9]+))?")
_STABILITY = {"alpha": 1, "beta": 2, None: 3}


def version_priority(version: str) -> tuple[int, int, int, str]:
    """A key that sorts versions best first: v2, v1, v1beta2, v1beta1, v1alpha1, then others by name.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        return (0, 0, 0, version)
    major, stability, minor = match.groups()
    return (-_STABILITY[stability], -int(major), -int(minor or 0), "")
