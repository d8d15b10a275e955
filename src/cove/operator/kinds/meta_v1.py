"""The types of meta/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Part
from cove.operator.markers import MapAtomic, Required, mark

__all__ = ["Condition", "FieldSelectorRequirement", "LabelSelector", "LabelSelectorRequirement"]


class LabelSelectorRequirement(Part):
    key: str
    operator: str
    values: list[str] = []


@mark(MapAtomic())
class LabelSelector(Part):
    match_labels: dict[str, str] = {}
    match_expressions: list[LabelSelectorRequirement] = []


class Condition(Part):
    type: str
    status: str
    observed_generation: int = 0
    last_transition_time: Annotated[datetime | None, Required()] = None
    reason: str
    message: str


class FieldSelectorRequirement(Part):
    key: str
    operator: str
    values: list[str] = []
