"""Entities: what a class says of its kind, its documents, what is wrong with one, references."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pydantic
import pytest
from tests.operator.entity.caches import DOCUMENT, Cache, CacheSpec, CacheStatus, Port, Tier

from cove.operator import (
    DocumentError,
    Entity,
    EntityError,
    MicroTime,
    ObjectMeta,
    Struct,
    changes,
    entity,
    field,
    from_document,
    from_json,
    info,
    object_reference,
    owner_reference,
    to_document,
    with_owner,
)

HERE = Path(__file__).parent


def cache(**spec: Any) -> Cache:
    metadata = ObjectMeta(name="small", namespace="shop", uid="u-1")
    return Cache(metadata=metadata, spec=CacheSpec(image="redis:8", **spec))


def test_a_class_says_where_its_objects_are_served() -> None:
    known = info(Cache)

    assert str(known) == "cache.example.com/v1 Cache"
    assert (known.plural, known.singular, known.scope) == ("caches", "cache", "Namespaced")
    assert known.gvr.prefix == "/apis/cache.example.com/v1"
    assert known.crd_name == "caches.cache.example.com"
    assert (known.has_spec, known.has_status, known.namespaced) == (True, True, True)
    assert info(cache()) is known


def test_kinds_of_others_may_be_anywhere() -> None:
    @entity("apps/v1", kind="Deployment", ignore=True)
    class Other(Entity):
        spec: dict[str, Any] = {}

    @entity("v1", kind="ConfigMap", ignore=True)
    class Settings(Entity):
        data: dict[str, str] = {}

    known = info(Other)

    assert (known.group, known.kind, known.ignore, known.has_status) == (
        "apps",
        "Deployment",
        True,
        False,
    )
    settings = from_document(
        Settings, {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    )
    assert settings.data == {"x": "1"}
    assert info(Settings).has_spec is False
    assert to_document(settings)["apiVersion"] == "v1"


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("Cache", "caches"),
        ("Policy", "policies"),
        ("Gateway", "gateways"),
        ("Ingress", "ingresses"),
        ("Box", "boxes"),
        ("Patch", "patches"),
    ],
)
def test_the_plural_is_english(kind: str, plural: str) -> None:
    @entity("example.com/v1", kind=kind)
    class Any_(Entity):
        pass

    assert info(Any_).plural == plural


@pytest.mark.parametrize(
    ("version", "settings", "says"),
    [
        ("example.com", {}, "write group/version"),
        ("a/b/c", {}, "write group/version"),
        ("example/v1", {}, "at least one dot"),
        ("Example.com/v1", {}, "group 'Example.com'"),
        ("example.com/1", {}, "version '1'"),
        ("example.com/v1", {"kind": "my_kind"}, "kind 'my_kind'"),
        ("example.com/v1", {"plural": "Caches"}, "plural 'Caches'"),
        ("example.com/v1", {"short_names": ["C"]}, "short name 'C'"),
        ("example.com/v1", {"categories": ["a b"]}, "category 'a b'"),
        ("example.com/v1", {"scope": "Galaxy"}, "scope is Namespaced or Cluster"),
        ("example.com/v1", {"scale": ("spec.a", "status.b")}, "scale needs a status"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_at_the_class(
    version: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(EntityError, match=re.escape(says)):

        @entity(version, **settings)
        class Thing(Entity):
            pass


def test_a_class_that_is_no_entity_is_told_so() -> None:
    with pytest.raises(EntityError, match=r"write class Bare\(Entity\)"):

        @entity("example.com/v1")  # type: ignore[type-var]
        class Bare:
            pass

    with pytest.raises(EntityError, match="says nothing of its kind"):
        info(Entity)


def test_a_document_becomes_an_object() -> None:
    found = from_document(Cache, DOCUMENT)

    assert found.metadata.name == "small"
    assert found.metadata.labels == {"app": "small"}
    assert found.metadata.creation_timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (found.spec.size, found.spec.secret_ref, found.spec.tier) == (3, "key", Tier.COLD)
    assert found.spec.ports == [Port(name="a", number=1), Port(name="b", number=80)]
    assert found.spec.timeout == timedelta(seconds=90)
    assert found.spec.token == b"hi"
    assert found.status.ready == 2


def test_json_becomes_the_same_object() -> None:
    import orjson

    assert from_json(Cache, orjson.dumps(DOCUMENT)) == from_document(Cache, DOCUMENT)


def test_an_object_becomes_a_document() -> None:
    """What is None or empty is left out; what is a default is not."""
    obj = cache(born=date(2026, 1, 2), zones={"b", "a"}, timeout=timedelta(minutes=5))

    assert to_document(obj) == {
        "apiVersion": "cache.example.com/v1",
        "kind": "Cache",
        "metadata": {"name": "small", "namespace": "shop", "uid": "u-1"},
        "spec": {
            "image": "redis:8",
            "size": 1,
            "eviction": "lru",
            "tier": "hot",
            "ratio": 0.5,
            "zones": ["a", "b"],
            "memory": "1Gi",
            "target": 80,
            "timeout": "5m0s",
            "born": "2026-01-02",
        },
        "status": {"ready": 0},
    }


def test_writing_and_reading_gives_the_same() -> None:
    obj = from_document(Cache, DOCUMENT)

    assert from_document(Cache, to_document(obj)) == obj


def test_defaults_are_every_object_s_own() -> None:
    class Inner(Struct):
        names: list[str] = ["a"]

    class Outer(Struct):
        inner: Inner = Inner()
        more: list[int] = field(default_factory=list)

    one, other = Outer(), Outer()
    one.inner.names.append("b")
    one.more.append(1)

    assert (other.inner.names, other.more) == (["a"], [])
    assert to_document(other) == {"inner": {"names": ["a"]}}


def test_none_is_written_where_it_is_not_the_default() -> None:
    class Part(Struct):
        value: int | None = 3
        items: list[int] = [1]

    assert to_document(Part(value=None, items=[])) == {"value": None, "items": []}


def test_words_of_python_lose_their_underscore() -> None:
    class Rule(Struct):
        from_: str = ""
        cluster_ip: str = field(default="", name="clusterIP")

    assert to_document(Rule(from_="a", cluster_ip="b")) == {"from": "a", "clusterIP": "b"}
    assert from_document(Rule, {"from": "c"}).from_ == "c"


def test_micro_times_have_six_decimals() -> None:
    class Lease(Struct):
        renew_time: MicroTime | None = None

    at = MicroTime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    assert to_document(Lease(renew_time=at)) == {"renewTime": "2026-01-02T03:04:05.000000Z"}
    assert from_document(
        Lease, {"renewTime": "2026-01-02T03:04:05.000006Z"}
    ).renew_time == at.replace(microsecond=6)


def change(path: str, value: Any) -> dict[str, Any]:
    """The document with one place changed, or taken away by ``...``."""
    doc = copy.deepcopy(DOCUMENT)
    *way, last = path.split(".")
    here: Any = doc
    for key in way:
        here = here[int(key)] if key.isdigit() else here[key]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return doc


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("spec.size", "many", "spec.size: expected an integer, got a string"),
        ("spec.image", ..., "spec.image: is required"),
        ("spec", ..., "spec: is required"),
        ("spec.image", None, "spec.image: is required"),
        ("spec.eviction", "no", "spec.eviction: expected one of lru, lfu, got 'no'"),
        ("spec.tier", "warm", "spec.tier: expected one of hot, cold, got 'warm'"),
        ("spec.ports.1.number", "x", "spec.ports[1].number: expected an integer, got a string"),
        ("spec.ports.1.name", ..., "spec.ports[1].name: is required"),
        ("spec.ports", {}, "spec.ports: expected a list, got an object"),
        ("spec.secretRef", 1, "spec.secretRef: expected a string, got an integer"),
        (
            "spec.labels",
            {"a": "1", "b/c": 2},
            "spec.labels[b/c]: expected a string, got an integer",
        ),
        ("spec.token", "?", "spec.token: invalid base64 encoded string"),
        ("spec.timeout", "soon", 'spec.timeout: time: invalid duration "soon"'),
        ("spec.target", 1.5, "spec.target: expected an integer or a string, got a number"),
        ("metadata.creationTimestamp", "now", "metadata.creationTimestamp: invalid RFC3339"),
        ("kind", "Pod", "kind: expected Cache, got Pod"),
        ("apiVersion", "v1", "apiVersion: expected cache.example.com/v1, got v1"),
    ],
)
def test_a_document_that_does_not_fit_is_told_where_and_why(
    path: str, value: Any, says: str
) -> None:
    doc = change(path, value)

    with pytest.raises(DocumentError) as error:
        from_document(Cache, doc)

    assert str(error.value).startswith(f"Cache shop/small: {says}")


def test_null_is_absent_where_the_type_has_no_null() -> None:
    doc = change("metadata.labels", None)
    doc["spec"]["size"] = None
    doc["spec"]["ports"][1]["number"] = None

    found = from_document(Cache, doc)

    assert (found.metadata.labels, found.spec.size, found.spec.ports[1].number) == ({}, 1, 80)


def test_an_object_shares_nothing_with_its_document() -> None:
    """Nor with what is written of it: informers' documents are everybody's."""
    doc = change("spec.extra", {"deep": {"x": 1}})
    before = copy.deepcopy(doc)

    found = from_document(Cache, doc)
    found.spec.extra["deep"]["x"] = 2
    written = to_document(found)
    written["spec"]["extra"]["deep"]["x"] = 3

    assert doc == before
    assert found.spec.extra == {"deep": {"x": 2}}
    assert changes(from_document(Cache, doc), found, doc) == [
        {"op": "replace", "path": "/spec/extra/deep/x", "value": 2}
    ]


def test_what_is_no_json_is_read_too() -> None:
    """From YAML, say: a number that no machine word holds."""

    class Open(Struct):
        value: Any = None

    assert from_document(Open, {"value": 2**70}).value == 2**70


def test_text_that_is_no_json_is_told_so() -> None:
    with pytest.raises(DocumentError, match="expected JSON"):
        from_json(Cache, b"{")
    with pytest.raises(DocumentError, match="spec: is required"):
        from_json(Cache, b"{}")


def test_names_in_annotations_are_found_in_functions_too() -> None:
    class Local(Struct):
        value: timedelta

    @entity("example.com/v1")
    class Holder(Entity):
        spec: dict[str, list[Local | None]]
        next: Holder | None = None

    found = from_document(Holder, {"spec": {"a": [{"value": "1h"}, None]}, "next": {"spec": {}}})

    assert found.spec["a"][0] == Local(value=timedelta(hours=1))
    assert isinstance(found.next, Holder)


def test_names_that_are_nowhere_are_told() -> None:
    @entity("example.com/v1")
    class Lost(Entity):
        spec: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(EntityError, match=r"Lost\.spec: name 'Nowhere' is not defined"):
        from_document(Lost, {})


class Model(pydantic.BaseModel):
    size: int = 1
    image_name: str = pydantic.Field(alias="imageName")
    note: str | None = None


@entity("example.com/v1")
class Pydantic(Entity):
    spec: Model


def test_models_of_pydantic_are_taken() -> None:
    found = from_document(Pydantic, {"metadata": {"name": "a"}, "spec": {"imageName": "x"}})

    assert (found.spec.size, found.spec.image_name) == (1, "x")
    assert to_document(found)["spec"] == {"size": 1, "imageName": "x"}
    with pytest.raises(
        DocumentError, match=r"^Pydantic: spec\.size: Input should be a valid integer"
    ):
        from_document(Pydantic, {"spec": {"imageName": "x", "size": "many"}})


def test_an_object_is_referred_to() -> None:
    assert to_document(object_reference(cache())) == {
        "apiVersion": "cache.example.com/v1",
        "kind": "Cache",
        "name": "small",
        "namespace": "shop",
        "uid": "u-1",
    }


def test_an_owner_is_referred_to() -> None:
    reference = {
        "apiVersion": "cache.example.com/v1",
        "kind": "Cache",
        "name": "small",
        "uid": "u-1",
    }

    assert to_document(owner_reference(cache())) == {
        **reference,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert to_document(owner_reference(cache(), controller=False, block=False)) == reference
    with pytest.raises(EntityError, match="has no uid yet"):
        owner_reference(Cache(spec=CacheSpec(image="x")))


def test_an_owner_is_added_once() -> None:
    @entity("v1", kind="ConfigMap", ignore=True)
    class Settings(Entity):
        pass

    child = Settings(metadata=ObjectMeta(name="s", namespace="shop"))
    doc: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "p"}}

    for _ in range(2):
        assert with_owner(child, cache()) is child
        assert with_owner(doc, cache()) is doc

    assert child.metadata.owner_references == [owner_reference(cache())]
    assert doc["metadata"]["ownerReferences"] == [to_document(owner_reference(cache()))]


def test_an_owner_that_cannot_be_is_refused() -> None:
    other = cache()
    other.metadata.uid = "u-2"
    child: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}}
    with_owner(child, cache())

    with pytest.raises(EntityError, match="Pod p has a controller already: Cache small"):
        with_owner(child, other)
    with_owner(child, other, controller=False)
    assert [r["uid"] for r in child["metadata"]["ownerReferences"]] == ["u-1", "u-2"]

    child["metadata"]["namespace"] = "elsewhere"
    with pytest.raises(EntityError, match="is in namespace elsewhere"):
        with_owner(child, cache())

    @entity("example.com/v1", scope="Cluster")
    class Wide(Entity):
        pass

    with pytest.raises(EntityError, match="belongs to no namespace"):
        with_owner(Wide(), cache())


def test_the_door_has_what_it_says() -> None:
    import cove.operator

    assert [getattr(cove.operator, name) for name in cove.operator.__all__]
    with pytest.raises(AttributeError):
        _ = cove.operator.nothing  # type: ignore[attr-defined]


def test_the_door_is_cheap() -> None:
    """Nothing of CEL, servers or built-in kinds is loaded with it."""
    program = (
        "import sys, cove.operator; from cove.operator import Entity, entity, info\n"
        "print([m for m in sys.modules if m.startswith(('cove.server', 'cove.client', 'aiohttp',"
        " 'cove.kube.cel', 'cel_expr', 'cove.kube.kinds', 'cove.operator.kinds', 'pydantic'))])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_mypy_understands_the_types() -> None:
    """Both samples in one run: nothing in the good one, the named codes in the bad one."""
    files = [HERE / "typing_good.py", HERE / "typing_bad.py"]
    expected = {
        (file.name, number, code)
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        for code in re.findall(r"# E: ([\w-]+)", line)
    }

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent.parent.parent,
    )

    found = {
        (Path(name).name, int(number), code)
        for name, number, code in re.findall(
            r"^(\S+\.py):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE
        )
    }
    assert found == expected, done.stdout
    assert len(expected) >= 9


def test_status_is_what_makes_the_subresource() -> None:
    assert CacheStatus().ready == 0
    assert info(Cache).has_status
    assert not info(Pydantic).has_status
