"""The types of apiregistration/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.markers import Int32, ListMap

__all__ = [
    "APIService",
    "APIServiceCondition",
    "APIServiceSpec",
    "APIServiceStatus",
    "ServiceReference",
]


class ServiceReference(Part):
    namespace: str = ""
    name: str = ""
    port: Int32 | None = None


class APIServiceSpec(Part):
    service: ServiceReference | None = None
    group: str = ""
    version: str = ""
    insecure_skip_tls_verify: bool = field(default=False, name="insecureSkipTLSVerify")
    ca_bundle: bytes = b""
    group_priority_minimum: Int32
    version_priority: Int32


class APIServiceCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class APIServiceStatus(Part):
    conditions: Annotated[list[APIServiceCondition], ListMap("type")] = []


@builtin(
    "apiregistration.k8s.io/v1", "apiservices", categories=("api-extensions",), scope="Cluster"
)
class APIService(Kind):
    spec: APIServiceSpec
    status: APIServiceStatus = field(default_factory=APIServiceStatus)
