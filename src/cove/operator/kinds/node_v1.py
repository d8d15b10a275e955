"""The types of node/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from typing import Annotated

from cove.operator.entities import Kind, Part, builtin
from cove.operator.kinds import core_v1
from cove.operator.markers import MapAtomic, Quantity

__all__ = ["Overhead", "RuntimeClass", "Scheduling"]


class Overhead(Part):
    pod_fixed: dict[str, Quantity] = {}


class Scheduling(Part):
    node_selector: Annotated[dict[str, str], MapAtomic()] = {}
    tolerations: list[core_v1.Toleration] = []


@builtin("node.k8s.io/v1", "runtimeclasses", scope="Cluster")
class RuntimeClass(Kind):
    handler: str
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None
