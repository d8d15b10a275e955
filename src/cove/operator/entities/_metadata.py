"""What every object says of itself, typed and changeable.

:class:`ObjectMeta` is the metadata of entities and built-in kinds; what an absent field means
is as in Go: no text is "", no list is empty.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from cove.operator.entities._struct import Part, Struct
from cove.operator.markers import Length, Pattern, Range

__all__ = ["Condition", "ManagedFieldsEntry", "ObjectMeta", "ObjectReference", "OwnerReference"]


class OwnerReference(Part):
    """An object that this one belongs to: it goes when its owners have gone."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ManagedFieldsEntry(Part):
    """Which fields a manager has set; ``fields_v1`` is the set as the API writes it."""

    manager: str = ""
    operation: str = ""
    api_version: str = ""
    time: datetime | None = None
    fields_type: str = ""
    fields_v1: Any = None
    subresource: str = ""


class ObjectMeta(Part):
    """Name, labels, owners and what the API server keeps beside them."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    self_link: str = ""
    managed_fields: list[ManagedFieldsEntry] = []


class ObjectReference(Part):
    """Which object is meant; Events say so, and fields that refer to others."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class Condition(Struct):
    """One thing that is true of an object, or not."""

    # https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
    type: Annotated[
        str,
        Length(1, 316),
        Pattern(r"^([A-Za-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"),
    ]
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, Length(1, 1024), Pattern(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one word for programs."""
    message: Annotated[str, Length(max=32768)] = ""
    """Why, in a sentence for people."""
    last_transition_time: datetime
    """When the status last changed."""
    observed_generation: Annotated[int | None, Range(min=0)] = None
    """The generation of the object that was looked at."""
