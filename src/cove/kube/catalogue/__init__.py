"""The catalogue of built-in kinds: what is served, and the type of every document.

``resources()`` and its kin tell what discovery lists; ``schema()`` gives the type of a
kind as a :class:`~cove.kube.schema.Node`.  Next door: ``codec`` turns a client's
document into the one the server keeps, ``discovery`` and ``openapi`` make the
documents by which clients learn about the API.  Custom resources are no business of
this package's; its functions take them as plain values where they must appear.
"""

from cove.kube.catalogue._load import schema
from cove.kube.catalogue._resources import (
    ALL_VERBS,
    Resource,
    Subresource,
    groups,
    preferred_version,
    resource,
    resources,
    storage_version_hash,
    versions,
)

__all__ = [
    "ALL_VERBS",
    "Resource",
    "Subresource",
    "groups",
    "preferred_version",
    "resource",
    "resources",
    "schema",
    "storage_version_hash",
    "versions",
]
