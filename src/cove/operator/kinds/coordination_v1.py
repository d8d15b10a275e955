"""The types of coordination/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from cove.operator.entities import Kind, MicroTime, Part, builtin, field
from cove.operator.markers import Int32

__all__ = ["Lease", "LeaseSpec"]


class LeaseSpec(Part):
    holder_identity: str | None = None
    lease_duration_seconds: Int32 | None = None
    acquire_time: MicroTime | None = None
    renew_time: MicroTime | None = None
    lease_transitions: Int32 | None = None
    strategy: str | None = None
    preferred_holder: str | None = None


@builtin("coordination.k8s.io/v1", "leases")
class Lease(Kind):
    spec: LeaseSpec = field(default_factory=LeaseSpec)
