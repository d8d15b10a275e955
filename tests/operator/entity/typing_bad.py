"""What mypy must refuse; each line says with which code."""

from __future__ import annotations

from cove.operator import Entity, Struct, entity, from_document
from cove.operator.kinds import Pod
from cove.operator.kinds.core_v1 import Container, PodSpec


class Spec(Struct):
    size: int = 1
    image: str


@entity("cache.example.com/v1", scope="Somewhere")  # E: arg-type
class Cache(Entity):
    spec: Spec


Cache()  # E: call-arg
Cache(spec=Spec(image=1))  # E: arg-type
Spec(3, image="y")  # E: call-arg
cache = Cache(spec=Spec(image="x"))
cache.spec.size = "many"  # E: assignment
print(cache.spec.colour)  # E: attr-defined
cache.metadata.name = 3  # E: assignment
print(cache.status)  # E: attr-defined
number: int = from_document(Cache, {})  # E: assignment


@entity("cache.example.com/v1")
class Bare:  # E: type-var
    spec: Spec


pod = Pod(spec=PodSpec(containers=[Container(image="i")]))  # E: call-arg
pod.status.phase = None  # E: assignment
