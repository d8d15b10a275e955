"""The types of storage/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import core_v1, meta_v1
from cove.operator.markers import Int32, ListMap, ListSet, Quantity, Required

__all__ = [
    "CSIDriver",
    "CSIDriverSpec",
    "CSINode",
    "CSINodeDriver",
    "CSINodeSpec",
    "CSIStorageCapacity",
    "StorageClass",
    "TokenRequest",
    "VolumeAttachment",
    "VolumeAttachmentSource",
    "VolumeAttachmentSpec",
    "VolumeAttachmentStatus",
    "VolumeAttributesClass",
    "VolumeError",
    "VolumeNodeResources",
]


class TokenRequest(Part):
    audience: str
    expiration_seconds: int | None = None


class CSIDriverSpec(Part):
    attach_required: bool | None = None
    pod_info_on_mount: bool | None = None
    volume_lifecycle_modes: Annotated[list[str], ListSet()] = []
    storage_capacity: bool | None = None
    fs_group_policy: str | None = None
    token_requests: list[TokenRequest] = []
    requires_republish: bool | None = None
    se_linux_mount: bool | None = None
    node_allocatable_update_period_seconds: int | None = None
    service_account_token_in_secrets: bool | None = None
    prevent_pod_scheduling_if_missing: bool | None = None


@builtin("storage.k8s.io/v1", "csidrivers", scope="Cluster")
class CSIDriver(Kind):
    spec: CSIDriverSpec


class VolumeNodeResources(Part):
    count: Int32 | None = None


class CSINodeDriver(Part):
    name: str
    node_id: str = field(name="nodeID")
    topology_keys: list[str] = []
    allocatable: VolumeNodeResources | None = None


class CSINodeSpec(Part):
    drivers: Annotated[list[CSINodeDriver], ListMap("name"), Required()] = []


@builtin("storage.k8s.io/v1", "csinodes", scope="Cluster")
class CSINode(Kind):
    spec: CSINodeSpec


@builtin("storage.k8s.io/v1", "csistoragecapacities")
class CSIStorageCapacity(Kind):
    node_topology: meta_v1.LabelSelector | None = None
    storage_class_name: str
    capacity: Quantity | None = None
    maximum_volume_size: Quantity | None = None


@builtin("storage.k8s.io/v1", "storageclasses", short_names=("sc",), scope="Cluster")
class StorageClass(Kind):
    provisioner: str
    parameters: dict[str, str] = {}
    reclaim_policy: str | None = None
    mount_options: list[str] = []
    allow_volume_expansion: bool | None = None
    volume_binding_mode: str | None = None
    allowed_topologies: list[core_v1.TopologySelectorTerm] = []


class VolumeAttachmentSource(Part):
    persistent_volume_name: str | None = None
    inline_volume_spec: core_v1.PersistentVolumeSpec | None = None


class VolumeAttachmentSpec(Part):
    attacher: str
    source: VolumeAttachmentSource
    node_name: str


class VolumeError(Part):
    time: datetime | None = None
    message: str = ""
    error_code: Int32 | None = None


class VolumeAttachmentStatus(Part):
    attached: Annotated[bool, Required()] = False
    attachment_metadata: dict[str, str] = {}
    attach_error: VolumeError | None = None
    detach_error: VolumeError | None = None


@builtin("storage.k8s.io/v1", "volumeattachments", scope="Cluster")
class VolumeAttachment(Kind):
    spec: VolumeAttachmentSpec
    status: VolumeAttachmentStatus = field(default_factory=VolumeAttachmentStatus)


@builtin("storage.k8s.io/v1", "volumeattributesclasses", short_names=("vac",), scope="Cluster")
class VolumeAttributesClass(Kind):
    driver_name: str
    parameters: dict[str, str] = {}
