"""The spec of a pod, in Pods and in the templates of every workload."""

from cove.kube.kinds._podspec.defaults import default_claim_spec, default_resources, default_spec
from cove.kube.kinds._podspec.spec import (
    all_containers,
    default_pod_resources,
    pod_annotations,
    profiles_match,
    validate_spec,
    validate_template,
)
from cove.kube.kinds._podspec.warnings import name_warnings, pod_warnings, spec_warnings

__all__ = [
    "all_containers",
    "default_claim_spec",
    "default_pod_resources",
    "default_resources",
    "default_spec",
    "name_warnings",
    "pod_annotations",
    "pod_warnings",
    "profiles_match",
    "spec_warnings",
    "validate_spec",
    "validate_template",
]
