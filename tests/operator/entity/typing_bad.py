"""What mypy must refuse; each line says with which code."""

from __future__ import annotations

from cove.operator import Entity, Struct, entity, from_document


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
