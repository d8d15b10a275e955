"""The kind that the tests of entities are about."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Literal

from cove.operator import (
    Column,
    Condition,
    Entity,
    IntOrString,
    ListMap,
    Quantity,
    Struct,
    entity,
)


class Tier(Enum):
    HOT = "hot"
    COLD = "cold"


class Port(Struct):
    name: str
    number: int = 80


class CacheSpec(Struct):
    """A replicated cache."""

    image: str
    size: Annotated[int, Column("Size")] = 1
    """How many replicas."""
    eviction: Literal["lru", "lfu"] = "lru"
    tier: Tier = Tier.HOT
    ratio: float = 0.5
    secret_ref: str | None = None
    ports: Annotated[list[Port], ListMap("name")] = []
    zones: set[str] = set()
    labels: dict[str, str] = {}
    memory: Quantity = "1Gi"
    target: IntOrString = 80
    timeout: timedelta = timedelta(seconds=30)
    born: date | None = None
    seen: datetime | None = None
    token: bytes = b""
    extra: dict[str, Any] = {}


class CacheStatus(Struct):
    ready: Annotated[int, Column("Ready")] = 0
    conditions: Annotated[list[Condition], ListMap("type")] = []


@entity("cache.example.com/v1", short_names=["ca"], scale=("spec.size", "status.ready"))
class Cache(Entity):
    """Caches."""

    spec: CacheSpec
    status: CacheStatus = CacheStatus()


DOCUMENT: dict[str, Any] = {
    "apiVersion": "cache.example.com/v1",
    "kind": "Cache",
    "metadata": {
        "name": "small",
        "namespace": "shop",
        "uid": "u-1",
        "resourceVersion": "7",
        "labels": {"app": "small"},
        "creationTimestamp": "2026-01-02T03:04:05Z",
    },
    "spec": {
        "image": "redis:8",
        "size": 3,
        "eviction": "lfu",
        "tier": "cold",
        "secretRef": "key",
        "ports": [{"name": "a", "number": 1}, {"name": "b"}],
        "zones": ["x"],
        "memory": "500Mi",
        "timeout": "1m30s",
        "token": "aGk=",
        "later": {"not": "known"},
    },
    "status": {"ready": 2},
}
