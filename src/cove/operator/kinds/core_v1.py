"""The types of v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import (
    Kind,
    MicroTime,
    ObjectMeta,
    ObjectReference,
    Part,
    builtin,
    field,
)
from cove.operator.kinds import meta_v1
from cove.operator.markers import (
    Default,
    Int32,
    IntOrString,
    ListMap,
    ListSet,
    MapAtomic,
    Quantity,
    Required,
    mark,
)

__all__ = [
    "AWSElasticBlockStoreVolumeSource",
    "Affinity",
    "AppArmorProfile",
    "AttachedVolume",
    "AzureDiskVolumeSource",
    "AzureFilePersistentVolumeSource",
    "AzureFileVolumeSource",
    "Binding",
    "CSIPersistentVolumeSource",
    "CSIVolumeSource",
    "Capabilities",
    "CephFSPersistentVolumeSource",
    "CephFSVolumeSource",
    "CinderPersistentVolumeSource",
    "CinderVolumeSource",
    "ClientIPConfig",
    "ClusterTrustBundleProjection",
    "ComponentCondition",
    "ComponentStatus",
    "ConfigMap",
    "ConfigMapEnvSource",
    "ConfigMapKeySelector",
    "ConfigMapNodeConfigSource",
    "ConfigMapProjection",
    "ConfigMapVolumeSource",
    "Container",
    "ContainerExtendedResourceRequest",
    "ContainerImage",
    "ContainerPort",
    "ContainerResizePolicy",
    "ContainerRestartRule",
    "ContainerRestartRuleOnExitCodes",
    "ContainerState",
    "ContainerStateRunning",
    "ContainerStateTerminated",
    "ContainerStateWaiting",
    "ContainerStatus",
    "ContainerUser",
    "DaemonEndpoint",
    "DownwardAPIProjection",
    "DownwardAPIVolumeFile",
    "DownwardAPIVolumeSource",
    "EmptyDirVolumeSource",
    "EndpointAddress",
    "EndpointPort",
    "EndpointSubset",
    "Endpoints",
    "EnvFromSource",
    "EnvVar",
    "EnvVarSource",
    "EphemeralContainer",
    "EphemeralVolumeSource",
    "Event",
    "EventSeries",
    "EventSource",
    "ExecAction",
    "FCVolumeSource",
    "FileKeySelector",
    "FlexPersistentVolumeSource",
    "FlexVolumeSource",
    "FlockerVolumeSource",
    "GCEPersistentDiskVolumeSource",
    "GRPCAction",
    "GitRepoVolumeSource",
    "GlusterfsPersistentVolumeSource",
    "GlusterfsVolumeSource",
    "HTTPGetAction",
    "HTTPHeader",
    "HostAlias",
    "HostIP",
    "HostPathVolumeSource",
    "ISCSIPersistentVolumeSource",
    "ISCSIVolumeSource",
    "ImageVolumeSource",
    "ImageVolumeStatus",
    "KeyToPath",
    "Lifecycle",
    "LifecycleHandler",
    "LimitRange",
    "LimitRangeItem",
    "LimitRangeSpec",
    "LinuxContainerUser",
    "LoadBalancerIngress",
    "LoadBalancerStatus",
    "LocalObjectReference",
    "LocalVolumeSource",
    "ModifyVolumeStatus",
    "NFSVolumeSource",
    "Namespace",
    "NamespaceCondition",
    "NamespaceSpec",
    "NamespaceStatus",
    "Node",
    "NodeAddress",
    "NodeAffinity",
    "NodeAllocatableResourceClaimStatus",
    "NodeCondition",
    "NodeConfigSource",
    "NodeConfigStatus",
    "NodeDaemonEndpoints",
    "NodeFeatures",
    "NodeRuntimeHandler",
    "NodeRuntimeHandlerFeatures",
    "NodeSelector",
    "NodeSelectorRequirement",
    "NodeSelectorTerm",
    "NodeSpec",
    "NodeStatus",
    "NodeSwapStatus",
    "NodeSystemInfo",
    "ObjectFieldSelector",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PersistentVolumeClaimCondition",
    "PersistentVolumeClaimSpec",
    "PersistentVolumeClaimStatus",
    "PersistentVolumeClaimTemplate",
    "PersistentVolumeClaimVolumeSource",
    "PersistentVolumeSpec",
    "PersistentVolumeStatus",
    "PhotonPersistentDiskVolumeSource",
    "Pod",
    "PodAffinity",
    "PodAffinityTerm",
    "PodAntiAffinity",
    "PodCertificateProjection",
    "PodCondition",
    "PodDNSConfig",
    "PodDNSConfigOption",
    "PodExtendedResourceClaimStatus",
    "PodIP",
    "PodOS",
    "PodReadinessGate",
    "PodResourceClaim",
    "PodResourceClaimStatus",
    "PodSchedulingGate",
    "PodSchedulingGroup",
    "PodSecurityContext",
    "PodSpec",
    "PodStatus",
    "PodTemplate",
    "PodTemplateSpec",
    "PortStatus",
    "PortworxVolumeSource",
    "PreferredSchedulingTerm",
    "Probe",
    "ProjectedVolumeSource",
    "QuobyteVolumeSource",
    "RBDPersistentVolumeSource",
    "RBDVolumeSource",
    "ReplicationController",
    "ReplicationControllerCondition",
    "ReplicationControllerSpec",
    "ReplicationControllerStatus",
    "ResourceClaim",
    "ResourceFieldSelector",
    "ResourceHealth",
    "ResourceQuota",
    "ResourceQuotaSpec",
    "ResourceQuotaStatus",
    "ResourceRequirements",
    "ResourceStatus",
    "SELinuxOptions",
    "ScaleIOPersistentVolumeSource",
    "ScaleIOVolumeSource",
    "ScopeSelector",
    "ScopedResourceSelectorRequirement",
    "SeccompProfile",
    "Secret",
    "SecretEnvSource",
    "SecretKeySelector",
    "SecretProjection",
    "SecretReference",
    "SecretVolumeSource",
    "SecurityContext",
    "Service",
    "ServiceAccount",
    "ServiceAccountTokenProjection",
    "ServicePort",
    "ServiceSpec",
    "ServiceStatus",
    "SessionAffinityConfig",
    "SleepAction",
    "StorageOSPersistentVolumeSource",
    "StorageOSVolumeSource",
    "Sysctl",
    "TCPSocketAction",
    "Taint",
    "Toleration",
    "TopologySelectorLabelRequirement",
    "TopologySelectorTerm",
    "TopologySpreadConstraint",
    "TypedLocalObjectReference",
    "TypedObjectReference",
    "Volume",
    "VolumeDevice",
    "VolumeMount",
    "VolumeMountStatus",
    "VolumeNodeAffinity",
    "VolumeProjection",
    "VolumeResourceRequirements",
    "VolumeStatus",
    "VsphereVirtualDiskVolumeSource",
    "WeightedPodAffinityTerm",
    "WindowsSecurityContextOptions",
]


@builtin("v1", "bindings")
class Binding(Kind):
    target: ObjectReference


class ComponentCondition(Part):
    type: str
    status: str
    message: str = ""
    error: str = ""


@builtin("v1", "componentstatuses", short_names=("cs",), scope="Cluster")
class ComponentStatus(Kind):
    conditions: Annotated[list[ComponentCondition], ListMap("type")] = []


@builtin("v1", "configmaps", short_names=("cm",))
class ConfigMap(Kind):
    immutable: bool | None = None
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}


@mark(MapAtomic())
class EndpointAddress(Part):
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


@mark(MapAtomic())
class EndpointPort(Part):
    name: str = ""
    port: Int32
    protocol: str = ""
    app_protocol: str | None = None


class EndpointSubset(Part):
    addresses: list[EndpointAddress] = []
    not_ready_addresses: list[EndpointAddress] = []
    ports: list[EndpointPort] = []


@builtin("v1", "endpoints", short_names=("ep",))
class Endpoints(Kind):
    subsets: list[EndpointSubset] = []


class EventSource(Part):
    component: str = ""
    host: str = ""


class EventSeries(Part):
    count: Int32 = 0
    last_observed_time: MicroTime | None = None


@builtin("v1", "events", short_names=("ev",))
class Event(Kind):
    involved_object: ObjectReference
    reason: str = ""
    message: str = ""
    source: EventSource = field(default_factory=EventSource)
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    count: Int32 = 0
    type: str = ""
    event_time: MicroTime | None = None
    series: EventSeries | None = None
    action: str = ""
    related: ObjectReference | None = None
    reporting_component: str = ""
    reporting_instance: str = ""


class LimitRangeItem(Part):
    type: str
    max: dict[str, Quantity] = {}
    min: dict[str, Quantity] = {}
    default: dict[str, Quantity] = {}
    default_request: dict[str, Quantity] = {}
    max_limit_request_ratio: dict[str, Quantity] = {}


class LimitRangeSpec(Part):
    limits: Annotated[list[LimitRangeItem], Required()] = []


@builtin("v1", "limitranges", short_names=("limits",))
class LimitRange(Kind):
    spec: LimitRangeSpec = field(default_factory=LimitRangeSpec)


class NamespaceSpec(Part):
    finalizers: list[str] = []


class NamespaceCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class NamespaceStatus(Part):
    phase: str = ""
    conditions: Annotated[list[NamespaceCondition], ListMap("type")] = []


@builtin("v1", "namespaces", short_names=("ns",), scope="Cluster")
class Namespace(Kind):
    spec: NamespaceSpec = field(default_factory=NamespaceSpec)
    status: NamespaceStatus = field(default_factory=NamespaceStatus)


class Taint(Part):
    key: str
    value: str = ""
    effect: str
    time_added: datetime | None = None


class ConfigMapNodeConfigSource(Part):
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""
    kubelet_config_key: str


class NodeConfigSource(Part):
    config_map: ConfigMapNodeConfigSource | None = None


class NodeSpec(Part):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: Annotated[list[str], ListSet()] = field(default_factory=list, name="podCIDRs")
    provider_id: str = field(default="", name="providerID")
    unschedulable: bool = False
    taints: list[Taint] = []
    config_source: NodeConfigSource | None = None
    external_id: str = field(default="", name="externalID")


class NodeCondition(Part):
    type: str
    status: str
    last_heartbeat_time: datetime | None = None
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class NodeAddress(Part):
    type: str
    address: str


class DaemonEndpoint(Part):
    port: Annotated[Int32, Required()] = field(default=0, name="Port")


class NodeDaemonEndpoints(Part):
    kubelet_endpoint: DaemonEndpoint = field(default_factory=DaemonEndpoint)


class NodeSwapStatus(Part):
    capacity: int | None = None


class NodeSystemInfo(Part):
    machine_id: Annotated[str, Required()] = field(default="", name="machineID")
    system_uuid: Annotated[str, Required()] = field(default="", name="systemUUID")
    boot_id: Annotated[str, Required()] = field(default="", name="bootID")
    kernel_version: Annotated[str, Required()] = ""
    os_image: Annotated[str, Required()] = ""
    container_runtime_version: Annotated[str, Required()] = ""
    kubelet_version: Annotated[str, Required()] = ""
    kube_proxy_version: Annotated[str, Required()] = ""
    operating_system: Annotated[str, Required()] = ""
    architecture: Annotated[str, Required()] = ""
    swap: NodeSwapStatus | None = None


class ContainerImage(Part):
    names: list[str] = []
    size_bytes: int = 0


class AttachedVolume(Part):
    name: str
    device_path: str


class NodeConfigStatus(Part):
    assigned: NodeConfigSource | None = None
    active: NodeConfigSource | None = None
    last_known_good: NodeConfigSource | None = None
    error: str = ""


class NodeRuntimeHandlerFeatures(Part):
    recursive_read_only_mounts: bool | None = None
    user_namespaces: bool | None = None


class NodeRuntimeHandler(Part):
    name: str = ""
    features: NodeRuntimeHandlerFeatures | None = None


class NodeFeatures(Part):
    supplemental_groups_policy: bool | None = None


class NodeStatus(Part):
    capacity: dict[str, Quantity] = {}
    allocatable: dict[str, Quantity] = {}
    phase: str = ""
    conditions: Annotated[list[NodeCondition], ListMap("type")] = []
    addresses: Annotated[list[NodeAddress], ListMap("type")] = []
    daemon_endpoints: NodeDaemonEndpoints = field(default_factory=NodeDaemonEndpoints)
    node_info: NodeSystemInfo = field(default_factory=NodeSystemInfo)
    images: list[ContainerImage] = []
    volumes_in_use: list[str] = []
    volumes_attached: list[AttachedVolume] = []
    config: NodeConfigStatus | None = None
    runtime_handlers: list[NodeRuntimeHandler] = []
    features: NodeFeatures | None = None
    declared_features: list[str] = []


@builtin("v1", "nodes", short_names=("no",), scope="Cluster")
class Node(Kind):
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class VolumeResourceRequirements(Part):
    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


@mark(MapAtomic())
class TypedLocalObjectReference(Part):
    api_group: str | None = None
    kind: str
    name: str


class TypedObjectReference(Part):
    api_group: str | None = None
    kind: str
    name: str
    namespace: str | None = None


class PersistentVolumeClaimSpec(Part):
    access_modes: list[str] = []
    selector: meta_v1.LabelSelector | None = None
    resources: VolumeResourceRequirements = field(default_factory=VolumeResourceRequirements)
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedObjectReference | None = None
    volume_attributes_class_name: str | None = None


class PersistentVolumeClaimCondition(Part):
    type: str
    status: str
    last_probe_time: datetime | None = None
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class ModifyVolumeStatus(Part):
    target_volume_attributes_class_name: str = ""
    status: str


class PersistentVolumeClaimStatus(Part):
    phase: str = ""
    access_modes: list[str] = []
    capacity: dict[str, Quantity] = {}
    conditions: Annotated[list[PersistentVolumeClaimCondition], ListMap("type")] = []
    allocated_resources: dict[str, Quantity] = {}
    allocated_resource_statuses: dict[str, str] = {}
    current_volume_attributes_class_name: str | None = None
    modify_volume_status: ModifyVolumeStatus | None = None


@builtin("v1", "persistentvolumeclaims", short_names=("pvc",))
class PersistentVolumeClaim(Kind):
    spec: PersistentVolumeClaimSpec = field(default_factory=PersistentVolumeClaimSpec)
    status: PersistentVolumeClaimStatus = field(default_factory=PersistentVolumeClaimStatus)


class GCEPersistentDiskVolumeSource(Part):
    pd_name: str
    fs_type: str = ""
    partition: Int32 = 0
    read_only: bool = False


class AWSElasticBlockStoreVolumeSource(Part):
    volume_id: str = field(name="volumeID")
    fs_type: str = ""
    partition: Int32 = 0
    read_only: bool = False


class HostPathVolumeSource(Part):
    path: str
    type: str | None = None


class GlusterfsPersistentVolumeSource(Part):
    endpoints: str
    path: str
    read_only: bool = False
    endpoints_namespace: str | None = None


class NFSVolumeSource(Part):
    server: str
    path: str
    read_only: bool = False


@mark(MapAtomic())
class SecretReference(Part):
    name: str = ""
    namespace: str = ""


class RBDPersistentVolumeSource(Part):
    monitors: Annotated[list[str], Required()] = []
    image: str
    fs_type: str = ""
    pool: Annotated[str, Default("rbd")] = ""
    user: Annotated[str, Default("admin")] = ""
    keyring: Annotated[str, Default("/etc/ceph/keyring")] = ""
    secret_ref: SecretReference | None = None
    read_only: bool = False


class ISCSIPersistentVolumeSource(Part):
    target_portal: str
    iqn: str
    lun: Int32
    iscsi_interface: Annotated[str, Default("default")] = ""
    fs_type: str = ""
    read_only: bool = False
    portals: list[str] = []
    chap_auth_discovery: bool = False
    chap_auth_session: bool = False
    secret_ref: SecretReference | None = None
    initiator_name: str | None = None


class CinderPersistentVolumeSource(Part):
    volume_id: str = field(name="volumeID")
    fs_type: str = ""
    read_only: bool = False
    secret_ref: SecretReference | None = None


class CephFSPersistentVolumeSource(Part):
    monitors: Annotated[list[str], Required()] = []
    path: str = ""
    user: str = ""
    secret_file: str = ""
    secret_ref: SecretReference | None = None
    read_only: bool = False


class FCVolumeSource(Part):
    target_wwns: list[str] = field(default_factory=list, name="targetWWNs")
    lun: Int32 | None = None
    fs_type: str = ""
    read_only: bool = False
    wwids: list[str] = []


class FlockerVolumeSource(Part):
    dataset_name: str = ""
    dataset_uuid: str = field(default="", name="datasetUUID")


class FlexPersistentVolumeSource(Part):
    driver: str
    fs_type: str = ""
    secret_ref: SecretReference | None = None
    read_only: bool = False
    options: dict[str, str] = {}


class AzureFilePersistentVolumeSource(Part):
    secret_name: str
    share_name: str
    read_only: bool = False
    secret_namespace: str | None = None


class VsphereVirtualDiskVolumeSource(Part):
    volume_path: str
    fs_type: str = ""
    storage_policy_name: str = ""
    storage_policy_id: str = field(default="", name="storagePolicyID")


class QuobyteVolumeSource(Part):
    registry: str
    volume: str
    read_only: bool = False
    user: str = ""
    group: str = ""
    tenant: str = ""


class AzureDiskVolumeSource(Part):
    disk_name: str
    disk_uri: str = field(name="diskURI")
    caching_mode: Annotated[str | None, Default("ReadWrite")] = None
    fs_type: Annotated[str | None, Default("ext4")] = None
    read_only: Annotated[bool | None, Default(False)] = None
    kind: Annotated[str | None, Default("Shared")] = None


class PhotonPersistentDiskVolumeSource(Part):
    pd_id: str = field(name="pdID")
    fs_type: str = ""


class PortworxVolumeSource(Part):
    volume_id: str = field(name="volumeID")
    fs_type: str = ""
    read_only: bool = False


class ScaleIOPersistentVolumeSource(Part):
    gateway: str
    system: str
    secret_ref: SecretReference
    ssl_enabled: bool = False
    protection_domain: str = ""
    storage_pool: str = ""
    storage_mode: Annotated[str, Default("ThinProvisioned")] = ""
    volume_name: str = ""
    fs_type: Annotated[str, Default("xfs")] = ""
    read_only: bool = False


class LocalVolumeSource(Part):
    path: str
    fs_type: str | None = None


class StorageOSPersistentVolumeSource(Part):
    volume_name: str = ""
    volume_namespace: str = ""
    fs_type: str = ""
    read_only: bool = False
    secret_ref: ObjectReference | None = None


class CSIPersistentVolumeSource(Part):
    driver: str
    volume_handle: str
    read_only: bool = False
    fs_type: str = ""
    volume_attributes: dict[str, str] = {}
    controller_publish_secret_ref: SecretReference | None = None
    node_stage_secret_ref: SecretReference | None = None
    node_publish_secret_ref: SecretReference | None = None
    controller_expand_secret_ref: SecretReference | None = None
    node_expand_secret_ref: SecretReference | None = None


class NodeSelectorRequirement(Part):
    key: str
    operator: str
    values: list[str] = []


@mark(MapAtomic())
class NodeSelectorTerm(Part):
    match_expressions: list[NodeSelectorRequirement] = []
    match_fields: list[NodeSelectorRequirement] = []


@mark(MapAtomic())
class NodeSelector(Part):
    node_selector_terms: Annotated[list[NodeSelectorTerm], Required()] = []


class VolumeNodeAffinity(Part):
    required: NodeSelector | None = None


class PersistentVolumeSpec(Part):
    capacity: dict[str, Quantity] = {}
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    glusterfs: GlusterfsPersistentVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    rbd: RBDPersistentVolumeSource | None = None
    iscsi: ISCSIPersistentVolumeSource | None = None
    cinder: CinderPersistentVolumeSource | None = None
    cephfs: CephFSPersistentVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    flex_volume: FlexPersistentVolumeSource | None = None
    azure_file: AzureFilePersistentVolumeSource | None = None
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    scale_io: ScaleIOPersistentVolumeSource | None = field(default=None, name="scaleIO")
    local: LocalVolumeSource | None = None
    storageos: StorageOSPersistentVolumeSource | None = None
    csi: CSIPersistentVolumeSource | None = None
    access_modes: list[str] = []
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    mount_options: list[str] = []
    volume_mode: str | None = None
    node_affinity: VolumeNodeAffinity | None = None
    volume_attributes_class_name: str | None = None


class PersistentVolumeStatus(Part):
    phase: str = ""
    message: str = ""
    reason: str = ""
    last_phase_transition_time: datetime | None = None


@builtin("v1", "persistentvolumes", short_names=("pv",), scope="Cluster")
class PersistentVolume(Kind):
    spec: PersistentVolumeSpec = field(default_factory=PersistentVolumeSpec)
    status: PersistentVolumeStatus = field(default_factory=PersistentVolumeStatus)


class EmptyDirVolumeSource(Part):
    medium: str = ""
    size_limit: Quantity | None = None


class GitRepoVolumeSource(Part):
    repository: str
    revision: str = ""
    directory: str = ""


class KeyToPath(Part):
    key: str
    path: str
    mode: Int32 | None = None


class SecretVolumeSource(Part):
    secret_name: str = ""
    items: list[KeyToPath] = []
    default_mode: Int32 | None = None
    optional: bool | None = None


@mark(MapAtomic())
class LocalObjectReference(Part):
    name: str = ""


class ISCSIVolumeSource(Part):
    target_portal: str
    iqn: str
    lun: Int32
    iscsi_interface: Annotated[str, Default("default")] = ""
    fs_type: str = ""
    read_only: bool = False
    portals: list[str] = []
    chap_auth_discovery: bool = False
    chap_auth_session: bool = False
    secret_ref: LocalObjectReference | None = None
    initiator_name: str | None = None


class GlusterfsVolumeSource(Part):
    endpoints: str
    path: str
    read_only: bool = False


class PersistentVolumeClaimVolumeSource(Part):
    claim_name: str
    read_only: bool = False


class RBDVolumeSource(Part):
    monitors: Annotated[list[str], Required()] = []
    image: str
    fs_type: str = ""
    pool: Annotated[str, Default("rbd")] = ""
    user: Annotated[str, Default("admin")] = ""
    keyring: Annotated[str, Default("/etc/ceph/keyring")] = ""
    secret_ref: LocalObjectReference | None = None
    read_only: bool = False


class FlexVolumeSource(Part):
    driver: str
    fs_type: str = ""
    secret_ref: LocalObjectReference | None = None
    read_only: bool = False
    options: dict[str, str] = {}


class CinderVolumeSource(Part):
    volume_id: str = field(name="volumeID")
    fs_type: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None


class CephFSVolumeSource(Part):
    monitors: Annotated[list[str], Required()] = []
    path: str = ""
    user: str = ""
    secret_file: str = ""
    secret_ref: LocalObjectReference | None = None
    read_only: bool = False


@mark(MapAtomic())
class ObjectFieldSelector(Part):
    api_version: str = ""
    field_path: str


@mark(MapAtomic())
class ResourceFieldSelector(Part):
    container_name: str = ""
    resource: str
    divisor: Quantity | None = None


class DownwardAPIVolumeFile(Part):
    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: Int32 | None = None


class DownwardAPIVolumeSource(Part):
    items: list[DownwardAPIVolumeFile] = []
    default_mode: Int32 | None = None


class AzureFileVolumeSource(Part):
    secret_name: str
    share_name: str
    read_only: bool = False


class ConfigMapVolumeSource(Part):
    name: str = ""
    items: list[KeyToPath] = []
    default_mode: Int32 | None = None
    optional: bool | None = None


class SecretProjection(Part):
    name: str = ""
    items: list[KeyToPath] = []
    optional: bool | None = None


class DownwardAPIProjection(Part):
    items: list[DownwardAPIVolumeFile] = []


class ConfigMapProjection(Part):
    name: str = ""
    items: list[KeyToPath] = []
    optional: bool | None = None


class ServiceAccountTokenProjection(Part):
    audience: str = ""
    expiration_seconds: int | None = None
    path: str


class ClusterTrustBundleProjection(Part):
    name: str | None = None
    signer_name: str | None = None
    label_selector: meta_v1.LabelSelector | None = None
    optional: bool | None = None
    path: str


class PodCertificateProjection(Part):
    signer_name: Annotated[str, Required()] = ""
    key_type: Annotated[str, Required()] = ""
    max_expiration_seconds: Int32 | None = None
    credential_bundle_path: str = ""
    key_path: str = ""
    certificate_chain_path: str = ""
    user_annotations: dict[str, str] = {}


class VolumeProjection(Part):
    secret: SecretProjection | None = None
    downward_api: DownwardAPIProjection | None = field(default=None, name="downwardAPI")
    config_map: ConfigMapProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None
    cluster_trust_bundle: ClusterTrustBundleProjection | None = None
    pod_certificate: PodCertificateProjection | None = None


class ProjectedVolumeSource(Part):
    sources: list[VolumeProjection] = []
    default_mode: Int32 | None = None


class ScaleIOVolumeSource(Part):
    gateway: str
    system: str
    secret_ref: LocalObjectReference
    ssl_enabled: bool = False
    protection_domain: str = ""
    storage_pool: str = ""
    storage_mode: Annotated[str, Default("ThinProvisioned")] = ""
    volume_name: str = ""
    fs_type: Annotated[str, Default("xfs")] = ""
    read_only: bool = False


class StorageOSVolumeSource(Part):
    volume_name: str = ""
    volume_namespace: str = ""
    fs_type: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None


class CSIVolumeSource(Part):
    driver: str
    read_only: bool | None = None
    fs_type: str | None = None
    volume_attributes: dict[str, str] = {}
    node_publish_secret_ref: LocalObjectReference | None = None


class PersistentVolumeClaimTemplate(Part):
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PersistentVolumeClaimSpec


class EphemeralVolumeSource(Part):
    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class ImageVolumeSource(Part):
    reference: str = ""
    pull_policy: str = ""


class Volume(Part):
    name: str
    host_path: HostPathVolumeSource | None = None
    empty_dir: EmptyDirVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    git_repo: GitRepoVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    flex_volume: FlexVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = field(default=None, name="downwardAPI")
    fc: FCVolumeSource | None = None
    azure_file: AzureFileVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    scale_io: ScaleIOVolumeSource | None = field(default=None, name="scaleIO")
    storageos: StorageOSVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    image: ImageVolumeSource | None = None


class ContainerPort(Part):
    name: str = ""
    host_port: Int32 = 0
    container_port: Int32
    protocol: Annotated[str, Default("TCP")] = ""
    host_ip: str = field(default="", name="hostIP")


class ConfigMapEnvSource(Part):
    name: str = ""
    optional: bool | None = None


class SecretEnvSource(Part):
    name: str = ""
    optional: bool | None = None


class EnvFromSource(Part):
    prefix: str = ""
    config_map_ref: ConfigMapEnvSource | None = None
    secret_ref: SecretEnvSource | None = None


@mark(MapAtomic())
class ConfigMapKeySelector(Part):
    name: str = ""
    key: str
    optional: bool | None = None


@mark(MapAtomic())
class SecretKeySelector(Part):
    name: str = ""
    key: str
    optional: bool | None = None


@mark(MapAtomic())
class FileKeySelector(Part):
    volume_name: str
    path: str
    key: str
    optional: Annotated[bool | None, Default(False)] = None


class EnvVarSource(Part):
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: ConfigMapKeySelector | None = None
    secret_key_ref: SecretKeySelector | None = None
    file_key_ref: FileKeySelector | None = None


class EnvVar(Part):
    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class ResourceClaim(Part):
    name: str
    request: str = ""


class ResourceRequirements(Part):
    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}
    claims: Annotated[list[ResourceClaim], ListMap("name")] = []


class ContainerResizePolicy(Part):
    resource_name: str
    restart_policy: str


class ContainerRestartRuleOnExitCodes(Part):
    operator: Annotated[str, Required()] = ""
    values: Annotated[list[Int32], ListSet()] = []


class ContainerRestartRule(Part):
    action: Annotated[str, Required()] = ""
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class VolumeMount(Part):
    name: str
    read_only: bool = False
    recursive_read_only: str | None = None
    mount_path: str
    sub_path: str = ""
    mount_propagation: str | None = None
    sub_path_expr: str = ""


class VolumeDevice(Part):
    name: str
    device_path: str


class ExecAction(Part):
    command: list[str] = []


class HTTPHeader(Part):
    name: str
    value: str


class HTTPGetAction(Part):
    path: str = ""
    port: IntOrString
    host: str = ""
    scheme: str = ""
    http_headers: list[HTTPHeader] = []


class TCPSocketAction(Part):
    port: IntOrString
    host: str = ""


class GRPCAction(Part):
    port: Int32
    service: str | None = None


class Probe(Part):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: Int32 = 0
    timeout_seconds: Int32 = 0
    period_seconds: Int32 = 0
    success_threshold: Int32 = 0
    failure_threshold: Int32 = 0
    termination_grace_period_seconds: int | None = None


class SleepAction(Part):
    seconds: int


class LifecycleHandler(Part):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Part):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str | None = None


class Capabilities(Part):
    add: list[str] = []
    drop: list[str] = []


class SELinuxOptions(Part):
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class WindowsSecurityContextOptions(Part):
    gmsa_credential_spec_name: str | None = None
    gmsa_credential_spec: str | None = None
    run_as_user_name: str | None = None
    host_process: bool | None = None


class SeccompProfile(Part):
    type: str
    localhost_profile: str | None = None


class AppArmorProfile(Part):
    type: str
    localhost_profile: str | None = None


class SecurityContext(Part):
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsSecurityContextOptions | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    proc_mount: str | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None


class Container(Part):
    name: str
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    ports: Annotated[list[ContainerPort], ListMap("containerPort", "protocol")] = []
    env_from: list[EnvFromSource] = []
    env: Annotated[list[EnvVar], ListMap("name")] = []
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    resize_policy: list[ContainerResizePolicy] = []
    restart_policy: str | None = None
    restart_policy_rules: list[ContainerRestartRule] = []
    volume_mounts: Annotated[list[VolumeMount], ListMap("mountPath")] = []
    volume_devices: Annotated[list[VolumeDevice], ListMap("devicePath")] = []
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class EphemeralContainer(Part):
    name: str
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    ports: Annotated[list[ContainerPort], ListMap("containerPort", "protocol")] = []
    env_from: list[EnvFromSource] = []
    env: Annotated[list[EnvVar], ListMap("name")] = []
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    resize_policy: list[ContainerResizePolicy] = []
    restart_policy: str | None = None
    restart_policy_rules: list[ContainerRestartRule] = []
    volume_mounts: Annotated[list[VolumeMount], ListMap("mountPath")] = []
    volume_devices: Annotated[list[VolumeDevice], ListMap("devicePath")] = []
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target_container_name: str = ""


class Sysctl(Part):
    name: str
    value: str


class PodSecurityContext(Part):
    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsSecurityContextOptions | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: list[int] = []
    supplemental_groups_policy: str | None = None
    fs_group: int | None = None
    sysctls: list[Sysctl] = []
    fs_group_change_policy: str | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    se_linux_change_policy: str | None = None


class PreferredSchedulingTerm(Part):
    weight: Int32
    preference: NodeSelectorTerm


class NodeAffinity(Part):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredSchedulingTerm] = []


class PodAffinityTerm(Part):
    label_selector: meta_v1.LabelSelector | None = None
    namespaces: list[str] = []
    topology_key: str
    namespace_selector: meta_v1.LabelSelector | None = None
    match_label_keys: list[str] = []
    mismatch_label_keys: list[str] = []


class WeightedPodAffinityTerm(Part):
    weight: Int32
    pod_affinity_term: PodAffinityTerm


class PodAffinity(Part):
    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = []
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] = []


class PodAntiAffinity(Part):
    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = []
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] = []


class Affinity(Part):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAntiAffinity | None = None


class Toleration(Part):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class HostAlias(Part):
    ip: str
    hostnames: list[str] = []


class PodDNSConfigOption(Part):
    name: str = ""
    value: str | None = None


class PodDNSConfig(Part):
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[PodDNSConfigOption] = []


class PodReadinessGate(Part):
    condition_type: str


class TopologySpreadConstraint(Part):
    max_skew: Int32
    topology_key: str
    when_unsatisfiable: str
    label_selector: meta_v1.LabelSelector | None = None
    min_domains: Int32 | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: list[str] = []


class PodOS(Part):
    name: str


class PodSchedulingGate(Part):
    name: str


class PodResourceClaim(Part):
    name: str
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class PodSchedulingGroup(Part):
    pod_group_name: str | None = None


class PodSpec(Part):
    volumes: Annotated[list[Volume], ListMap("name")] = []
    init_containers: Annotated[list[Container], ListMap("name")] = []
    containers: Annotated[list[Container], ListMap("name"), Required()] = []
    ephemeral_containers: Annotated[list[EphemeralContainer], ListMap("name")] = []
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    dns_policy: str = ""
    node_selector: Annotated[dict[str, str], MapAtomic()] = {}
    service_account_name: str = ""
    service_account: str = ""
    automount_service_account_token: bool | None = None
    node_name: str = ""
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_ipc: bool = field(default=False, name="hostIPC")
    share_process_namespace: bool | None = None
    security_context: PodSecurityContext | None = None
    image_pull_secrets: Annotated[list[LocalObjectReference], ListMap("name")] = []
    hostname: str = ""
    subdomain: str = ""
    affinity: Affinity | None = None
    scheduler_name: str = ""
    tolerations: list[Toleration] = []
    host_aliases: Annotated[list[HostAlias], ListMap("ip")] = []
    priority_class_name: str = ""
    priority: Int32 | None = None
    dns_config: PodDNSConfig | None = None
    readiness_gates: list[PodReadinessGate] = []
    runtime_class_name: str | None = None
    enable_service_links: bool | None = None
    preemption_policy: str | None = None
    overhead: dict[str, Quantity] = {}
    topology_spread_constraints: Annotated[
        list[TopologySpreadConstraint], ListMap("topologyKey", "whenUnsatisfiable")
    ] = []
    set_hostname_as_fqdn: bool | None = field(default=None, name="setHostnameAsFQDN")
    os: PodOS | None = None
    host_users: bool | None = None
    scheduling_gates: Annotated[list[PodSchedulingGate], ListMap("name")] = []
    resource_claims: Annotated[list[PodResourceClaim], ListMap("name")] = []
    resources: ResourceRequirements | None = None
    hostname_override: str | None = None
    scheduling_group: PodSchedulingGroup | None = None


class PodCondition(Part):
    type: str
    observed_generation: int = 0
    status: str
    last_probe_time: datetime | None = None
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class HostIP(Part):
    ip: str


class PodIP(Part):
    ip: str


class ContainerStateWaiting(Part):
    reason: str = ""
    message: str = ""


class ContainerStateRunning(Part):
    started_at: datetime | None = None


class ContainerStateTerminated(Part):
    exit_code: Int32
    signal: Int32 = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = field(default="", name="containerID")


class ContainerState(Part):
    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ImageVolumeStatus(Part):
    image_ref: Annotated[str, Required()] = ""


class VolumeStatus(Part):
    image: ImageVolumeStatus | None = None


class VolumeMountStatus(Part):
    name: str
    mount_path: str
    read_only: bool = False
    recursive_read_only: str | None = None
    volume_status: VolumeStatus | None = None


class LinuxContainerUser(Part):
    uid: int
    gid: int
    supplemental_groups: list[int] = []


class ContainerUser(Part):
    linux: LinuxContainerUser | None = None


class ResourceHealth(Part):
    resource_id: str = field(name="resourceID")
    health: str = ""
    message: str | None = None


class ResourceStatus(Part):
    name: str
    resources: Annotated[list[ResourceHealth], ListMap("resourceID")] = []


class ContainerStatus(Part):
    name: str
    state: ContainerState = field(default_factory=ContainerState)
    last_state: ContainerState = field(default_factory=ContainerState)
    ready: bool
    restart_count: Int32
    image: str
    image_id: str = field(name="imageID")
    container_id: str = field(default="", name="containerID")
    started: bool | None = None
    allocated_resources: dict[str, Quantity] = {}
    resources: ResourceRequirements | None = None
    volume_mounts: Annotated[list[VolumeMountStatus], ListMap("mountPath")] = []
    user: ContainerUser | None = None
    allocated_resources_status: Annotated[list[ResourceStatus], ListMap("name")] = []
    stop_signal: str | None = None


class PodResourceClaimStatus(Part):
    name: str
    resource_claim_name: str | None = None


class ContainerExtendedResourceRequest(Part):
    container_name: str
    resource_name: str
    request_name: str


class PodExtendedResourceClaimStatus(Part):
    request_mappings: Annotated[list[ContainerExtendedResourceRequest], Required()] = []
    resource_claim_name: str


class NodeAllocatableResourceClaimStatus(Part):
    resource_claim_name: str
    containers: Annotated[list[str], ListSet()] = []
    resources: Annotated[dict[str, Quantity], Required()] = {}


class PodStatus(Part):
    observed_generation: int = 0
    phase: str = ""
    conditions: Annotated[list[PodCondition], ListMap("type")] = []
    message: str = ""
    reason: str = ""
    nominated_node_name: str = ""
    host_ip: str = field(default="", name="hostIP")
    host_ips: list[HostIP] = field(default_factory=list, name="hostIPs")
    pod_ip: str = field(default="", name="podIP")
    pod_ips: Annotated[list[PodIP], ListMap("ip")] = field(default_factory=list, name="podIPs")
    start_time: datetime | None = None
    init_container_statuses: list[ContainerStatus] = []
    container_statuses: list[ContainerStatus] = []
    qos_class: str = ""
    ephemeral_container_statuses: list[ContainerStatus] = []
    resize: str = ""
    resource_claim_statuses: Annotated[list[PodResourceClaimStatus], ListMap("name")] = []
    extended_resource_claim_status: PodExtendedResourceClaimStatus | None = None
    allocated_resources: dict[str, Quantity] = {}
    resources: ResourceRequirements | None = None
    node_allocatable_resource_claim_statuses: list[NodeAllocatableResourceClaimStatus] = []


@builtin("v1", "pods", short_names=("po",), categories=("all",))
class Pod(Kind):
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class PodTemplateSpec(Part):
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec = field(default_factory=PodSpec)


@builtin("v1", "podtemplates")
class PodTemplate(Kind):
    template: PodTemplateSpec = field(default_factory=PodTemplateSpec)


class ReplicationControllerSpec(Part):
    replicas: Annotated[Int32 | None, Default(1)] = None
    min_ready_seconds: Annotated[Int32, Default(0)] = 0
    selector: Annotated[dict[str, str], MapAtomic()] = {}
    template: PodTemplateSpec | None = None


class ReplicationControllerCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class ReplicationControllerStatus(Part):
    replicas: Annotated[Int32, Required()] = 0
    fully_labeled_replicas: Int32 = 0
    ready_replicas: Int32 = 0
    available_replicas: Int32 = 0
    observed_generation: int = 0
    conditions: Annotated[list[ReplicationControllerCondition], ListMap("type")] = []


@builtin("v1", "replicationcontrollers", short_names=("rc",), categories=("all",))
class ReplicationController(Kind):
    spec: ReplicationControllerSpec = field(default_factory=ReplicationControllerSpec)
    status: ReplicationControllerStatus = field(default_factory=ReplicationControllerStatus)


class ScopedResourceSelectorRequirement(Part):
    scope_name: str
    operator: str
    values: list[str] = []


@mark(MapAtomic())
class ScopeSelector(Part):
    match_expressions: list[ScopedResourceSelectorRequirement] = []


class ResourceQuotaSpec(Part):
    hard: dict[str, Quantity] = {}
    scopes: list[str] = []
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(Part):
    hard: dict[str, Quantity] = {}
    used: dict[str, Quantity] = {}


@builtin("v1", "resourcequotas", short_names=("quota",))
class ResourceQuota(Kind):
    spec: ResourceQuotaSpec = field(default_factory=ResourceQuotaSpec)
    status: ResourceQuotaStatus = field(default_factory=ResourceQuotaStatus)


@builtin("v1", "secrets")
class Secret(Kind):
    immutable: bool | None = None
    data: dict[str, bytes] = {}
    string_data: dict[str, str] = {}
    type: str = ""


@builtin("v1", "serviceaccounts", short_names=("sa",))
class ServiceAccount(Kind):
    secrets: Annotated[list[ObjectReference], ListMap("name")] = []
    image_pull_secrets: list[LocalObjectReference] = []
    automount_service_account_token: bool | None = None


class ServicePort(Part):
    name: str = ""
    protocol: Annotated[str, Default("TCP")] = ""
    app_protocol: str | None = None
    port: Int32
    target_port: IntOrString | None = None
    node_port: Int32 = 0


class ClientIPConfig(Part):
    timeout_seconds: Int32 | None = None


class SessionAffinityConfig(Part):
    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Part):
    ports: Annotated[list[ServicePort], ListMap("port", "protocol")] = []
    selector: Annotated[dict[str, str], MapAtomic()] = {}
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: list[str] = field(default_factory=list, name="clusterIPs")
    type: str = ""
    external_ips: list[str] = field(default_factory=list, name="externalIPs")
    session_affinity: str = ""
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    load_balancer_source_ranges: list[str] = []
    external_name: str = ""
    external_traffic_policy: str = ""
    health_check_node_port: Int32 = 0
    publish_not_ready_addresses: bool = False
    session_affinity_config: SessionAffinityConfig | None = None
    ip_families: list[str] = []
    ip_family_policy: str | None = None
    allocate_load_balancer_node_ports: bool | None = None
    load_balancer_class: str | None = None
    internal_traffic_policy: str | None = None
    traffic_distribution: str | None = None


class PortStatus(Part):
    port: Int32
    protocol: str
    error: str | None = None


class LoadBalancerIngress(Part):
    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None
    ports: list[PortStatus] = []


class LoadBalancerStatus(Part):
    ingress: list[LoadBalancerIngress] = []


class ServiceStatus(Part):
    load_balancer: LoadBalancerStatus = field(default_factory=LoadBalancerStatus)
    conditions: Annotated[list[meta_v1.Condition], ListMap("type")] = []


@builtin("v1", "services", short_names=("svc",), categories=("all",))
class Service(Kind):
    spec: ServiceSpec = field(default_factory=ServiceSpec)
    status: ServiceStatus = field(default_factory=ServiceStatus)


class TopologySelectorLabelRequirement(Part):
    key: str
    values: Annotated[list[str], Required()] = []


@mark(MapAtomic())
class TopologySelectorTerm(Part):
    match_label_expressions: list[TopologySelectorLabelRequirement] = []
