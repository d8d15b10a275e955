"""What mypy must take of the types of an operator."""

from __future__ import annotations

from typing import assert_type

from cove.operator import (
    Entity,
    EntityInfo,
    ObjectMeta,
    OwnerReference,
    Struct,
    entity,
    field,
    from_document,
    info,
    merged,
    owner_reference,
    to_document,
    with_owner,
)
from cove.operator.kinds import Pod
from cove.operator.kinds.core_v1 import Container, PodSpec


class Spec(Struct):
    size: int = 1
    image: str
    names: list[str] = field(default_factory=list)


class Status(Struct):
    ready: int = 0


@entity("cache.example.com/v1", scale=("spec.size", "status.ready"))
class Cache(Entity):
    spec: Spec
    status: Status = Status()


@entity("v1", kind="ConfigMap", ignore=True)
class Settings(Entity):
    data: dict[str, str] = {}


cache = Cache(metadata=ObjectMeta(name="a", labels={"app": "a"}), spec=Spec(image="x"))
assert_type(cache.metadata.name, str)
assert_type(cache.spec.size, int)
assert_type(cache.status.ready, int)
assert_type(cache.kind, str)
cache.status.ready = cache.spec.size
cache.metadata.finalizers.append("example.com/f")
assert_type(from_document(Cache, {}), Cache)
assert_type(info(Cache), EntityInfo)
assert_type(owner_reference(cache), OwnerReference)
settings = with_owner(Settings(data={"a": "b"}), cache)
assert_type(settings, Settings)
assert_type(with_owner({"kind": "Pod"}, cache)["kind"], str)
merged(cache, cache, to_document(cache))

pod = Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(containers=[Container(name="c", image="i")]))
assert_type(pod.spec.containers[0].image, str)
assert_type(pod.status.phase, str)
assert_type(pod.spec.priority, int | None)
assert_type(from_document(Pod, {}), Pod)
