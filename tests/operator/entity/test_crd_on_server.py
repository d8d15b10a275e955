"""Definitions of entities on the API server: taken, established, and enforced."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

import pydantic
import pytest
from tests.conftest import Kubectl
from tests.operator.entity.caches import Cache, Port, Tier

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator import (
    Column,
    Condition,
    EmbeddedResource,
    Entity,
    Immutable,
    IntOrString,
    Items,
    Length,
    ListMap,
    MapAtomic,
    MultipleOf,
    ObjectMeta,
    Pattern,
    PreserveUnknown,
    Properties,
    Quantity,
    Range,
    Rule,
    Struct,
    changes,
    crd,
    entity,
    from_document,
    info,
    mark,
    to_document,
)

CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")


@mark(Rule("self.low <= self.high", "low is above high", field_path=".low"))
class Bounds(Struct):
    low: Annotated[int, Range(0, 100)] = 0
    high: int = 10


class BoxSpec(Struct):
    """What is in a box."""

    image: Annotated[str, Pattern(r"^[^:]+:.+$"), Length(max=64), Immutable("is set for good")]
    size: Annotated[int, Range(1, 10), Column("Size")] = 1
    """How many."""
    step: Annotated[int, MultipleOf(5)] = 5
    ratio: Annotated[float, Range(0, 1, exclusive_min=True)] = 0.5
    eviction: Literal["lru", "lfu"] = "lru"
    tier: Tier | None = None
    secret_ref: str | None = None
    ports: Annotated[list[Port], ListMap("name"), Items(max=3)] = []
    zones: set[str] = set()
    labels: Annotated[dict[str, str], Properties(max=2)] = {}
    memory: Quantity = "1Gi"
    target: IntOrString = "80%"
    timeout: timedelta = timedelta(seconds=30)
    token: bytes = b""
    bounds: Annotated[Bounds, MapAtomic()] = Bounds()
    free: Annotated[Bounds | None, PreserveUnknown] = None
    template: EmbeddedResource | None = None
    extra: dict[str, Any] = {}


class BoxStatus(Struct):
    ready: Annotated[int, Column("Ready")] = 0
    selector: str = ""
    conditions: Annotated[list[Condition], ListMap("type")] = []


@entity(
    "box.example.com/v1",
    short_names=["bx"],
    categories=["things"],
    scale=("spec.size", "status.ready", "status.selector"),
    selectable=["spec.eviction"],
    columns=[Column("Age", ".metadata.creationTimestamp", "date")],
)
class Box(Entity):
    """Something with sides."""

    spec: BoxSpec
    status: BoxStatus = BoxStatus()


BOXES = info(Box).gvr


def box(name: str = "a", **spec: Any) -> dict[str, Any]:
    obj = Box(metadata=ObjectMeta(name=name, namespace="default"), spec=BoxSpec(image="redis:8"))
    doc = to_document(obj)
    doc["spec"] = {"image": "redis:8", **spec}
    return doc


async def define(cluster: EmbeddedCluster, doc: dict[str, Any]) -> None:
    created = await cluster.client.create(CRDS, doc)
    found = await cluster.client.get(CRDS, created["metadata"]["name"])
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.fixture
async def boxes(api: EmbeddedCluster) -> EmbeddedCluster:
    """A server that knows boxes."""
    await define(api, crd(Box))
    return api


async def test_a_definition_is_established_and_its_objects_are_taken(
    boxes: EmbeddedCluster,
) -> None:
    """What Python has as defaults is what the server fills in."""
    sent = Box(metadata=ObjectMeta(name="a", namespace="default"), spec=BoxSpec(image="redis:8"))

    created = await boxes.client.create(BOXES, to_document(sent))
    bare = await boxes.client.create(BOXES, box("b"))

    found, filled = from_document(Box, created), from_document(Box, bare)
    assert found.spec == filled.spec == sent.spec
    assert found.metadata.uid
    assert found.metadata.generation == 1


async def test_all_that_a_type_can_hold_comes_back(boxes: EmbeddedCluster) -> None:
    sent = Box(
        metadata=ObjectMeta(name="full", namespace="default", labels={"a": "b"}),
        spec=BoxSpec(
            image="redis:8",
            size=3,
            tier=Tier.COLD,
            secret_ref="key",
            ports=[Port(name="a"), Port(name="b", number=1)],
            zones={"x", "y"},
            labels={"c": "d"},
            memory=5,
            target=80,
            timeout=timedelta(hours=2, milliseconds=5),
            token=b"secret",
            bounds=Bounds(low=3),
            free=Bounds(low=4),
            template={
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "x"},
                "spec": {"any": [1]},
            },
            extra={"deep": [None, {"x": 1.5}]},
        ),
    )

    created = await boxes.client.create(BOXES, to_document(sent))

    assert from_document(Box, created).spec == sent.spec


@pytest.mark.parametrize(
    ("spec", "path", "says"),
    [
        ({"image": None}, "spec.image", "Required value"),
        ({"image": "redis"}, "spec.image", "should match"),
        ({"image": "a:" + "b" * 70}, "spec.image", "may not be more than 64"),
        ({"size": 11}, "spec.size", "should be less than or equal to 10"),
        ({"size": "1"}, "spec.size", "must be of type integer"),
        ({"step": 7}, "spec.step", "multiple of 5"),
        ({"ratio": 0}, "spec.ratio", "should be greater than 0"),
        ({"eviction": "x"}, "spec.eviction", "Unsupported value"),
        ({"tier": "warm"}, "spec.tier", "Unsupported value"),
        ({"ports": [{"name": "a"}, {"name": "a"}]}, "spec.ports[1]", "Duplicate value"),
        ({"ports": [{"number": 1}]}, "spec.ports[0].name", "Required value"),
        ({"ports": [{"name": n} for n in "abcd"]}, "spec.ports", "Too many"),
        ({"zones": ["x", "x"]}, "spec.zones[1]", "Duplicate value"),
        ({"labels": {"a": 1}}, "spec.labels.a", "must be of type string"),
        ({"labels": {"a": "", "b": "", "c": ""}}, "spec.labels", "at most 2"),
        ({"memory": "1 Gi"}, "spec.memory", "should match"),
        ({"target": 1.5}, "spec.target", "must be of type"),
        ({"timeout": "soon"}, "spec.timeout", "duration"),
        ({"token": "?"}, "spec.token", "byte"),
        ({"bounds": {"low": 7, "high": 3}}, "spec.bounds.low", "low is above high"),
        (
            {"bounds": {"low": 101, "high": 200}},
            "spec.bounds.low",
            "should be less than or equal to 100",
        ),
        ({"template": {"kind": "Pod"}}, "spec.template.apiVersion", "Required value"),
    ],
    ids=lambda v: str(v)[:40],
)
async def test_what_does_not_fit_is_refused_with_the_path(
    boxes: EmbeddedCluster, spec: dict[str, Any], path: str, says: str
) -> None:
    with pytest.raises(StatusError) as error:
        await boxes.client.create(BOXES, box(**spec))

    assert error.value.code == 422
    assert error.value.details is not None
    causes = {c["field"]: c["message"] for c in error.value.details["causes"]}
    assert path in causes
    assert says in causes[path]


async def test_null_is_taken_where_the_type_has_none(boxes: EmbeddedCluster) -> None:
    created = await boxes.client.create(BOXES, box(secretRef=None, tier=None, size=None))

    assert created["spec"]["secretRef"] is None
    assert created["spec"]["tier"] is None
    assert created["spec"]["size"] == 1
    assert from_document(Box, created).spec.tier is None


async def test_unknown_fields_are_pruned_but_where_they_are_kept(boxes: EmbeddedCluster) -> None:
    created = await boxes.client.create(
        BOXES, box(unknown=1, bounds={"x": 1}, free={"x": 1}, extra={"x": {"y": 1}})
    )

    assert "unknown" not in created["spec"]
    assert created["spec"]["bounds"] == {"low": 0, "high": 10}
    assert created["spec"]["free"] == {"low": 0, "high": 10, "x": 1}
    assert created["spec"]["extra"] == {"x": {"y": 1}}


async def test_what_is_immutable_cannot_be_changed(boxes: EmbeddedCluster) -> None:
    await boxes.client.create(BOXES, box())

    with pytest.raises(StatusError, match=r"spec\.image: Invalid value: .*is set for good"):
        await boxes.client.patch(BOXES, "a", {"spec": {"image": "redis:9"}}, "default")


async def test_status_is_a_subresource_and_patched_by_what_changed(boxes: EmbeddedCluster) -> None:
    raw = await boxes.client.create(BOXES, box())
    before, after = from_document(Box, raw), from_document(Box, raw)
    after.status.ready = 2

    patch = changes(before, after, raw)
    written = await boxes.client.patch(
        BOXES, "a", patch, "default", type="json", subresource="status"
    )

    assert from_document(Box, written).status.ready == 2
    assert written["metadata"]["generation"] == 1
    ignored = await boxes.client.patch(BOXES, "a", {"status": {"ready": 9}}, "default")
    assert ignored["status"]["ready"] == 2


async def test_scale_is_a_subresource(boxes: EmbeddedCluster) -> None:
    await boxes.client.create(BOXES, box())

    await boxes.client.patch(BOXES, "a", {"spec": {"replicas": 4}}, "default", subresource="scale")

    found = await boxes.client.get(BOXES, "a", "default", subresource="scale")
    assert found["spec"]["replicas"] == 4
    assert (await boxes.client.get(BOXES, "a", "default"))["spec"]["size"] == 4


async def test_selectable_fields_select(boxes: EmbeddedCluster) -> None:
    await boxes.client.create(BOXES, box("a"))
    await boxes.client.create(BOXES, box("b", eviction="lfu"))

    found = await boxes.client.list(BOXES, "default", field_selector="spec.eviction=lfu")

    assert [o["metadata"]["name"] for o in found.items] == ["b"]


async def test_applied_lists_are_merged_by_their_keys(boxes: EmbeddedCluster) -> None:
    await boxes.client.apply(BOXES, box(ports=[{"name": "a", "number": 1}]), field_manager="one")

    doc = box(ports=[{"name": "b", "number": 2}])
    found = await boxes.client.apply(BOXES, doc, field_manager="two")

    assert [p["name"] for p in found["spec"]["ports"]] == ["a", "b"]


class Model(pydantic.BaseModel):
    size: int = pydantic.Field(1, ge=1, le=3)
    image: str


@entity("box.example.com/v1", scope="Cluster")
class Crate(Entity):
    spec: Model


async def test_models_of_pydantic_are_enforced(api: EmbeddedCluster) -> None:
    await define(api, crd(Crate))
    crates = info(Crate).gvr
    obj = Crate(metadata=ObjectMeta(name="a"), spec=Model(image="x"))

    created = await api.client.create(crates, to_document(obj))

    assert from_document(Crate, created).spec == obj.spec
    doc = to_document(obj)
    doc["spec"]["size"] = 4
    with pytest.raises(StatusError, match=r"spec\.size: Invalid value: 4"):
        await api.client.create(crates, doc)


async def test_several_versions_are_served(api: EmbeddedCluster) -> None:
    @entity("box.example.com/v1beta1", kind="Box")
    class Old(Entity):
        spec: dict[str, Any] = {}
        status: BoxStatus = BoxStatus()

    await define(api, crd(Old, Box))

    await api.client.create(BOXES, box())
    old = from_document(Old, await api.client.get(info(Old).gvr, "a", "default"))

    assert old.spec["image"] == "redis:8"


async def test_a_kind_without_a_spec_keeps_its_fields(api: EmbeddedCluster) -> None:
    @entity("box.example.com/v1")
    class Note(Entity):
        text: str = "empty"
        lines: list[str] = []

    await define(api, crd(Note))
    created = await api.client.create(
        info(Note).gvr,
        to_document(Note(metadata=ObjectMeta(name="n", namespace="default"), lines=["a"])),
    )

    assert (created["text"], created["lines"]) == ("empty", ["a"])


async def test_the_kind_of_the_other_tests_is_taken(api: EmbeddedCluster) -> None:
    await define(api, crd(Cache))


@pytest.mark.requires("kubectl")
async def test_columns_show(cluster: EmbeddedCluster, kubectl: Kubectl) -> None:
    await define(cluster, crd(Box))
    await cluster.client.create(BOXES, box(size=3))

    lines = (await kubectl("get", "bx")).splitlines()

    assert lines[0].split() == ["NAME", "SIZE", "READY", "AGE"]
    assert lines[1].split()[:2] == ["a", "3"]
    assert "box.box.example.com/a" in await kubectl("get", "things", "-o", "name")
    assert "How many." in await kubectl("explain", "box.spec.size")
