"""The types of discovery/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from typing import Annotated

from cove.operator.entities import Kind, ObjectReference, Part, builtin, field
from cove.operator.markers import Int32, ListSet, MapAtomic, Required, mark

__all__ = [
    "Endpoint",
    "EndpointConditions",
    "EndpointHints",
    "EndpointPort",
    "EndpointSlice",
    "ForNode",
    "ForZone",
]


class EndpointConditions(Part):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Part):
    name: str


class ForNode(Part):
    name: str


class EndpointHints(Part):
    for_zones: list[ForZone] = []
    for_nodes: list[ForNode] = []


class Endpoint(Part):
    addresses: Annotated[list[str], ListSet(), Required()] = []
    conditions: EndpointConditions = field(default_factory=EndpointConditions)
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    deprecated_topology: dict[str, str] = {}
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


@mark(MapAtomic())
class EndpointPort(Part):
    name: str | None = None
    protocol: str | None = None
    port: Int32 | None = None
    app_protocol: str | None = None


@builtin("discovery.k8s.io/v1", "endpointslices")
class EndpointSlice(Kind):
    address_type: str
    endpoints: list[Endpoint] = []
    ports: list[EndpointPort] = []
