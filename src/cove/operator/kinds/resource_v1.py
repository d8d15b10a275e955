"""The types of resource/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from cove.operator.entities import Kind, ObjectMeta, Part, builtin, field
from cove.operator.kinds import core_v1, meta_v1
from cove.operator.markers import Default, ListMap, Quantity, Required

__all__ = [
    "AllocatedDeviceStatus",
    "AllocationResult",
    "CELDeviceSelector",
    "CapacityRequestPolicy",
    "CapacityRequestPolicyRange",
    "CapacityRequirements",
    "Counter",
    "CounterSet",
    "Device",
    "DeviceAllocationConfiguration",
    "DeviceAllocationResult",
    "DeviceAttribute",
    "DeviceCapacity",
    "DeviceClaim",
    "DeviceClaimConfiguration",
    "DeviceClass",
    "DeviceClassConfiguration",
    "DeviceClassSpec",
    "DeviceConstraint",
    "DeviceCounterConsumption",
    "DeviceRequest",
    "DeviceRequestAllocationResult",
    "DeviceSelector",
    "DeviceSubRequest",
    "DeviceTaint",
    "DeviceToleration",
    "ExactDeviceRequest",
    "NetworkDeviceData",
    "NodeAllocatableResourceMapping",
    "OpaqueDeviceConfiguration",
    "ResourceClaim",
    "ResourceClaimConsumerReference",
    "ResourceClaimSpec",
    "ResourceClaimStatus",
    "ResourceClaimTemplate",
    "ResourceClaimTemplateSpec",
    "ResourcePool",
    "ResourceSlice",
    "ResourceSliceSpec",
]


class CELDeviceSelector(Part):
    expression: str


class DeviceSelector(Part):
    cel: CELDeviceSelector | None = None


class OpaqueDeviceConfiguration(Part):
    driver: str
    parameters: Annotated[Any, Required()] = None


class DeviceClassConfiguration(Part):
    opaque: OpaqueDeviceConfiguration | None = None


class DeviceClassSpec(Part):
    selectors: list[DeviceSelector] = []
    config: list[DeviceClassConfiguration] = []
    extended_resource_name: str | None = None


@builtin("resource.k8s.io/v1", "deviceclasses", scope="Cluster")
class DeviceClass(Kind):
    spec: DeviceClassSpec


class DeviceToleration(Part):
    key: str = ""
    operator: Annotated[str, Default("Equal")] = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class CapacityRequirements(Part):
    requests: dict[str, Quantity] = {}


class ExactDeviceRequest(Part):
    device_class_name: str
    selectors: list[DeviceSelector] = []
    allocation_mode: str = ""
    count: int = 0
    admin_access: bool | None = None
    tolerations: list[DeviceToleration] = []
    capacity: CapacityRequirements | None = None


class DeviceSubRequest(Part):
    name: str
    device_class_name: str
    selectors: list[DeviceSelector] = []
    allocation_mode: str = ""
    count: int = 0
    tolerations: list[DeviceToleration] = []
    capacity: CapacityRequirements | None = None


class DeviceRequest(Part):
    name: str
    exactly: ExactDeviceRequest | None = None
    first_available: list[DeviceSubRequest] = []


class DeviceConstraint(Part):
    requests: list[str] = []
    match_attribute: str | None = None
    distinct_attribute: str | None = None


class DeviceClaimConfiguration(Part):
    requests: list[str] = []
    opaque: OpaqueDeviceConfiguration | None = None


class DeviceClaim(Part):
    requests: list[DeviceRequest] = []
    constraints: list[DeviceConstraint] = []
    config: list[DeviceClaimConfiguration] = []


class ResourceClaimSpec(Part):
    devices: DeviceClaim = field(default_factory=DeviceClaim)


class DeviceRequestAllocationResult(Part):
    request: str
    driver: str
    pool: str
    device: str
    admin_access: bool | None = None
    tolerations: list[DeviceToleration] = []
    binding_conditions: list[str] = []
    binding_failure_conditions: list[str] = []
    share_id: str | None = field(default=None, name="shareID")
    consumed_capacity: dict[str, Quantity] = {}


class DeviceAllocationConfiguration(Part):
    source: str
    requests: list[str] = []
    opaque: OpaqueDeviceConfiguration | None = None


class DeviceAllocationResult(Part):
    results: list[DeviceRequestAllocationResult] = []
    config: list[DeviceAllocationConfiguration] = []


class AllocationResult(Part):
    devices: DeviceAllocationResult = field(default_factory=DeviceAllocationResult)
    node_selector: core_v1.NodeSelector | None = None
    allocation_timestamp: datetime | None = None


class ResourceClaimConsumerReference(Part):
    api_group: str = ""
    resource: str
    name: str
    uid: str


class NetworkDeviceData(Part):
    interface_name: str = ""
    ips: list[str] = []
    hardware_address: str = ""


class AllocatedDeviceStatus(Part):
    driver: str
    pool: str
    device: str
    share_id: str | None = field(default=None, name="shareID")
    conditions: Annotated[list[meta_v1.Condition], ListMap("type")] = []
    data: Any = None
    network_data: NetworkDeviceData | None = None


class ResourceClaimStatus(Part):
    allocation: AllocationResult | None = None
    reserved_for: Annotated[list[ResourceClaimConsumerReference], ListMap("uid")] = []
    devices: Annotated[
        list[AllocatedDeviceStatus], ListMap("driver", "device", "pool", "shareID")
    ] = []


@builtin("resource.k8s.io/v1", "resourceclaims")
class ResourceClaim(Kind):
    spec: ResourceClaimSpec
    status: ResourceClaimStatus = field(default_factory=ResourceClaimStatus)


class ResourceClaimTemplateSpec(Part):
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ResourceClaimSpec


@builtin("resource.k8s.io/v1", "resourceclaimtemplates")
class ResourceClaimTemplate(Kind):
    spec: ResourceClaimTemplateSpec


class ResourcePool(Part):
    name: str
    generation: int
    resource_slice_count: int


class DeviceAttribute(Part):
    int_: int | None = None
    bool_: bool | None = None
    string: str | None = None
    version: str | None = None
    ints: list[int] = []
    bools: list[bool] = []
    strings: list[str] = []
    versions: list[str] = []


class CapacityRequestPolicyRange(Part):
    min: Annotated[Quantity | None, Required()] = None
    max: Quantity | None = None
    step: Quantity | None = None


class CapacityRequestPolicy(Part):
    default: Quantity | None = None
    valid_values: list[Quantity] = []
    valid_range: CapacityRequestPolicyRange | None = None


class DeviceCapacity(Part):
    value: Quantity
    request_policy: CapacityRequestPolicy | None = None


class Counter(Part):
    value: Quantity


class DeviceCounterConsumption(Part):
    counter_set: str
    counters: Annotated[dict[str, Counter], Required()] = {}


class DeviceTaint(Part):
    key: str
    value: str = ""
    effect: str
    time_added: datetime | None = None


class NodeAllocatableResourceMapping(Part):
    capacity_key: str | None = None
    allocation_multiplier: Quantity | None = None


class Device(Part):
    name: str
    attributes: dict[str, DeviceAttribute] = {}
    capacity: dict[str, DeviceCapacity] = {}
    consumes_counters: list[DeviceCounterConsumption] = []
    node_name: str | None = None
    node_selector: core_v1.NodeSelector | None = None
    all_nodes: bool | None = None
    taints: list[DeviceTaint] = []
    binds_to_node: bool | None = None
    binding_conditions: list[str] = []
    binding_failure_conditions: list[str] = []
    allow_multiple_allocations: bool | None = None
    node_allocatable_resource_mappings: dict[str, NodeAllocatableResourceMapping] = {}


class CounterSet(Part):
    name: str
    counters: Annotated[dict[str, Counter], Required()] = {}


class ResourceSliceSpec(Part):
    driver: str
    pool: ResourcePool
    node_name: str | None = None
    node_selector: core_v1.NodeSelector | None = None
    all_nodes: bool | None = None
    devices: list[Device] = []
    per_device_node_selection: bool | None = None
    shared_counters: list[CounterSet] = []


@builtin("resource.k8s.io/v1", "resourceslices", scope="Cluster")
class ResourceSlice(Kind):
    spec: ResourceSliceSpec
