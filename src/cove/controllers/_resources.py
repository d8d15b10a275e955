"""The collections that controllers work on."""

from __future__ import annotations

from cove.kube.gvk import GVR

NAMESPACES = GVR("", "v1", "namespaces")
NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
ENDPOINTS = GVR("", "v1", "endpoints")
EVENTS = GVR("", "v1", "events")
CONFIG_MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
REPLICATION_CONTROLLERS = GVR("", "v1", "replicationcontrollers")
RESOURCE_QUOTAS = GVR("", "v1", "resourcequotas")
PERSISTENT_VOLUMES = GVR("", "v1", "persistentvolumes")
PERSISTENT_VOLUME_CLAIMS = GVR("", "v1", "persistentvolumeclaims")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
REPLICA_SETS = GVR("apps", "v1", "replicasets")
STATEFUL_SETS = GVR("apps", "v1", "statefulsets")
DAEMON_SETS = GVR("apps", "v1", "daemonsets")
CONTROLLER_REVISIONS = GVR("apps", "v1", "controllerrevisions")
JOBS = GVR("batch", "v1", "jobs")
CRON_JOBS = GVR("batch", "v1", "cronjobs")
ENDPOINT_SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
CLUSTER_ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")
LEASES = GVR("coordination.k8s.io", "v1", "leases")
CSI_NODES = GVR("storage.k8s.io", "v1", "csinodes")
STORAGE_CLASSES = GVR("storage.k8s.io", "v1", "storageclasses")
POD_DISRUPTION_BUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
AUTOSCALERS = GVR("autoscaling", "v2", "horizontalpodautoscalers")
PRIORITY_CLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses")
CUSTOM_RESOURCE_DEFINITIONS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
CERTIFICATE_SIGNING_REQUESTS = GVR("certificates.k8s.io", "v1", "certificatesigningrequests")
SUBJECT_ACCESS_REVIEWS = GVR("authorization.k8s.io", "v1", "subjectaccessreviews")
IP_ADDRESSES = GVR("networking.k8s.io", "v1", "ipaddresses")
SERVICE_CIDRS = GVR("networking.k8s.io", "v1", "servicecidrs")
VALIDATING_ADMISSION_POLICIES = GVR(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"
)
RESOURCE_CLAIMS = GVR("resource.k8s.io", "v1", "resourceclaims")
RESOURCE_CLAIM_TEMPLATES = GVR("resource.k8s.io", "v1", "resourceclaimtemplates")
