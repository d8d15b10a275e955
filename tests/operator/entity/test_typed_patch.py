"""Changes of typed objects, told of raw documents: nothing that the type does not know is lost."""

from __future__ import annotations

import copy
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube.patch import json_patch
from cove.operator import (
    Entity,
    ListMap,
    Struct,
    changes,
    entity,
    from_document,
    merged,
    to_document,
)


class Port(Struct):
    name: str
    number: int = 80


class Rule(Struct):
    host: str = ""
    paths: list[str] = []


class Limits(Struct):
    cpu: int = 1
    memory: str | None = None


class Spec(Struct):
    image: str = "x"
    size: int | None = None
    limits: Limits = Limits()
    extra: Limits | None = None
    ports: Annotated[list[Port], ListMap("name")] = []
    rules: list[Rule] = []
    named: dict[str, Limits] = {}
    tags: list[str] = ["a"]


class Status(Struct):
    ready: int = 0


@entity("example.com/v1")
class Thing(Entity):
    spec: Spec = Spec()
    status: Status | None = None


RAW: dict[str, Any] = {
    "metadata": {
        "name": "a",
        "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}],
        "new": 1,
    },
    "spec": {
        "image": "x",
        "later": {"deep": [1, None]},
        "limits": {"gpu": 4},
        "ports": [{"name": "a", "number": 1, "u": 1}, {"name": "b", "u": 2}],
        "rules": [{"host": "h1", "u": 1}, {"host": "h2", "u": 2}, {"host": "h3", "u": 3}],
    },
}


def after(change: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The patch of a change, and the document it makes."""
    before, obj = from_document(Thing, RAW), from_document(Thing, RAW)
    raw = copy.deepcopy(RAW)
    change(obj)
    ops = changes(before, obj, raw)
    assert raw == RAW
    patched = json_patch(raw, ops)
    assert from_document(Thing, patched) == obj
    return ops, patched


def test_no_change_is_no_patch() -> None:
    assert after(lambda obj: None)[0] == []


def test_a_field_that_was_a_default_is_added() -> None:
    def change(obj: Thing) -> None:
        obj.spec.limits.cpu = 2
        obj.status = Status(ready=1)
        obj.metadata.labels["a/b~c"] = "d"

    ops, patched = after(change)

    assert {"op": "add", "path": "/spec/limits/cpu", "value": 2} in ops
    assert {"op": "add", "path": "/metadata/labels", "value": {"a/b~c": "d"}} in ops
    assert patched["spec"]["limits"] == {"gpu": 4, "cpu": 2}
    assert patched["metadata"]["new"] == 1


def test_a_field_is_replaced_and_removed() -> None:
    def change(obj: Thing) -> None:
        obj.spec.image = "y"
        obj.spec.ports = []

    assert after(change)[0] == [
        {"op": "remove", "path": "/spec/ports"},
        {"op": "replace", "path": "/spec/image", "value": "y"},
    ]


def test_elements_with_keys_keep_what_is_theirs_in_any_order() -> None:
    def change(obj: Thing) -> None:
        obj.spec.ports = [Port(name="b", number=5), Port(name="c"), Port(name="a", number=1)]

    assert after(change)[1]["spec"]["ports"] == [
        {"name": "b", "u": 2, "number": 5},
        {"name": "c", "number": 80},
        {"name": "a", "number": 1, "u": 1},
    ]


@pytest.mark.parametrize(
    ("hosts", "kept"),
    [
        (["h1", "x", "h3"], [1, 2, 3]),
        (["h2", "h3"], [2, 3]),
        (["new", "h1", "h2", "h3"], [None, 1, 2, 3]),
        (["h1", "h2", "h3", "new"], [1, 2, 3, None]),
    ],
    ids=["changed", "removed", "before", "behind"],
)
def test_elements_without_keys_are_known_by_their_place(hosts: list[str], kept: list[Any]) -> None:
    def change(obj: Thing) -> None:
        obj.spec.rules = [Rule(host=h) for h in hosts]

    assert [r.get("u") for r in after(change)[1]["spec"]["rules"]] == kept


def test_two_types_have_no_difference() -> None:
    with pytest.raises(TypeError, match="Thing and Port are two types"):
        merged(Thing(), Port(name="a"), {})


words = st.sampled_from(["a", "b", "c/d", "e~f"])
limits = st.builds(Limits, cpu=st.integers(0, 3), memory=st.none() | words)
specs = st.builds(
    Spec,
    image=words,
    size=st.none() | st.integers(0, 2),
    limits=limits,
    extra=st.none() | limits,
    ports=st.lists(
        st.builds(Port, name=words, number=st.integers(0, 2)),
        max_size=4,
        unique_by=lambda p: p.name,
    ),
    rules=st.lists(st.builds(Rule, host=words, paths=st.lists(words, max_size=2)), max_size=4),
    named=st.dictionaries(words, limits, max_size=3),
    tags=st.lists(words, max_size=3),
)
things = st.builds(Thing, spec=specs, status=st.none() | st.builds(Status, ready=st.integers(0, 2)))


def with_unknown(value: Any, count: list[int]) -> Any:
    """A document with a field of its own in every object that a type describes."""
    if isinstance(value, list):
        return [with_unknown(v, count) for v in value]
    if isinstance(value, dict):
        count[0] += 1
        number = count[0]
        grown = {k: v if k == "named" else with_unknown(v, count) for k, v in value.items()}
        if "named" in value:
            grown["named"] = {k: with_unknown(v, count) for k, v in value["named"].items()}
        return {**grown, "unknown": {"number": number, "null": None}}
    return value


def unknown_of(value: Any, path: str = "") -> dict[str, Any]:
    """Where in the parts that cannot go there is something unknown."""
    found = {}
    if isinstance(value, dict):
        if "unknown" in value:
            found[path] = value["unknown"]
        for key in ("metadata", "spec", "limits"):
            found |= unknown_of(value.get(key), f"{path}/{key}")
    return found


@given(things, things, st.booleans())
def test_unknown_fields_survive_every_change(one: Thing, other: Thing, sparse: bool) -> None:
    """And the patched document reads as the changed object."""
    document = to_document(one)
    if sparse and document["spec"]["limits"] == {"cpu": 1}:
        document["spec"]["limits"] = {}  # as somebody else wrote it
    raw = with_unknown(document, [0])
    before = from_document(Thing, raw)
    assert before == one

    ops = changes(before, other, raw)

    patched = json_patch(raw, ops)
    assert patched == merged(before, other, raw)
    assert from_document(Thing, patched) == other
    assert unknown_of(patched) == unknown_of(raw)
    kept = {p["name"]: p["unknown"] for p in raw["spec"].get("ports", ())}
    for port in patched["spec"].get("ports", ()):
        assert port.get("unknown") == kept.get(port["name"])
    for name, value in patched["spec"].get("named", {}).items():
        assert value.get("unknown") == raw["spec"].get("named", {}).get(name, {}).get("unknown")
    if one.status and other.status:
        assert patched["status"]["unknown"] == raw["status"]["unknown"]


@given(things)
def test_nothing_changed_is_no_operation(thing: Thing) -> None:
    raw = with_unknown(to_document(thing), [0])
    before = from_document(Thing, raw)

    assert changes(before, from_document(Thing, raw), raw) == []
