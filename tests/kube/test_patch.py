"""The three patches: algebra, and the answers of a real API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube.patch import PatchError, json_patch, merge_patch, strategic_merge_patch
from cove.kube.schema import Field, Node

SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.text("ab", max_size=2))
KEYS = st.text("abc", min_size=1, max_size=2)
VALUES = st.recursive(
    SCALARS, lambda c: st.lists(c, max_size=3) | st.dictionaries(KEYS, c, max_size=3), max_leaves=8
)
DOCS = st.dictionaries(KEYS, VALUES, max_size=4)
PATCHES = st.dictionaries(KEYS, VALUES | st.none(), max_size=4)


def diff(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {k: None for k in old if k not in new}
    for key, value in new.items():
        if key not in old:
            out[key] = value
        elif isinstance(old[key], dict) and isinstance(value, dict):
            out[key] = diff(old[key], value)
        elif old[key] != value or type(old[key]) is not type(value):
            out[key] = value
    return out


@given(DOCS, DOCS)
def test_merging_the_difference_gives_the_other_document(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert merge_patch(old, diff(old, new)) == new


@given(DOCS, PATCHES)
def test_a_merge_patch_applied_twice_changes_nothing_more(
    doc: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = copy.deepcopy((doc, patch))
    once = merge_patch(doc, patch)

    assert merge_patch(once, patch) == once
    assert (doc, patch) == before


@given(DOCS, PATCHES)
def test_without_a_schema_a_strategic_patch_is_a_merge_patch(
    doc: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert strategic_merge_patch(doc, patch, Node("any")) == merge_patch(doc, patch)


@pytest.mark.parametrize(
    ("doc", "ops", "expected"),
    [
        ({"a": [1, 2]}, [{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2]}),
        ({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 9}], {"a": [1, 2, 9]}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/-1", "value": 9}], {"a": [1, 9]}),
        ({}, [{"op": "replace", "path": "/x", "value": 1}], {"x": 1}),
        ({}, [{"op": "copy", "from": "/x", "path": "/y"}], {"y": None}),
        ({"a": {"b~/": 1}}, [{"op": "remove", "path": "/a/b~0~1"}], {"a": {}}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": 1}, [{"op": "test", "path": "/zz", "value": None}], {"a": 1}),
    ],
    ids=["insert", "append", "negative", "replace-missing", "copy-missing", "escape", "move", "test-null"],
)  # fmt: skip
def test_json_patch(doc: dict[str, Any], ops: list[Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy(doc)

    assert json_patch(doc, ops) == expected
    assert doc == before


@pytest.mark.parametrize(
    "op",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "remove", "path": "/zz"},
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"op": "nope", "path": "/a"},
        {"op": "add", "value": 1},
        {"op": "add", "path": "/l/9", "value": 1},
    ],
)
def test_an_operation_that_does_not_apply_is_422(op: dict[str, Any]) -> None:
    with pytest.raises(PatchError) as raised:
        json_patch({"a": 1, "l": []}, [op])

    assert raised.value.code == 422
    assert raised.value.body["details"] == {}


def element(**more: Field) -> Node:
    return Node(
        "struct",
        name="io.k8s.api.core.v1.Container",
        fields={
            "name": Field("name", Node("string")),
            "image": Field("image", Node("string")),
            **more,
        },
    )


SPEC = Node(
    "struct",
    name="io.k8s.api.core.v1.PodSpec",
    fields={
        "containers": Field("containers", Node("list", items=element()), merge_key="name", strategies=frozenset(["merge"])),
        "finalizers": Field("finalizers", Node("list", items=Node("string")), strategies=frozenset(["merge"])),
        "args": Field("args", Node("list", items=Node("string"))),
        "strategy": Field("strategy", Node("map", items=Node("any")), strategies=frozenset(["retainKeys"])),
    },
)  # fmt: skip


def c(name: str, image: str = "i", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **more}


@pytest.mark.parametrize(
    ("doc", "patch", "expected"),
    [
        ({"containers": [c("a"), c("b")]}, {"containers": [{"name": "b", "image": "j"}]}, {"containers": [c("a"), c("b", "j")]}),
        ({"containers": [c("a"), c("b")]}, {"containers": [c("n")]}, {"containers": [c("n"), c("a"), c("b")]}),
        ({"containers": [c("a"), c("b")]}, {"containers": [{"$patch": "delete", "name": "a"}]}, {"containers": [c("b")]}),
        ({"containers": [c("a")]}, {"containers": [{"$patch": "replace"}, c("z")]}, {"containers": [c("z")]}),
        ({"containers": [c("a"), c("b")]}, {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, {"containers": [c("b"), c("a")]}),
        ({"containers": [c("a"), c("s"), c("b")]},
         {"$setElementOrder/containers": [{"name": "b"}, {"name": "n"}, {"name": "a"}], "containers": [c("n")]},
         {"containers": [c("s"), c("b"), c("n"), c("a")]}),
        ({"finalizers": ["x", "y"]}, {"finalizers": ["z", "x"]}, {"finalizers": ["z", "x", "y"]}),
        ({"finalizers": ["x", "y"]}, {"$deleteFromPrimitiveList/finalizers": ["x"]}, {"finalizers": ["y"]}),
        ({"args": ["x"]}, {"args": ["y"]}, {"args": ["y"]}),
        ({"strategy": {"type": "R", "rolling": {}}}, {"strategy": {"$retainKeys": ["type"], "type": "X"}}, {"strategy": {"type": "X"}}),
        ({"strategy": {"a": 1}}, {"strategy": {"$patch": "replace", "b": 2}}, {"strategy": {"b": 2}}),
        ({"strategy": {"a": 1}}, {"strategy": {"$patch": "delete"}}, {"strategy": {}}),
        ({"strategy": {"a": 1}}, {"strategy": None, "new": {"x": None, "y": 1}}, {"new": {"y": 1}}),
    ],
    ids=["merge", "prepend", "delete", "replace", "order", "order-and-add", "primitives", "delete-primitives",
         "atomic", "retain", "replace-map", "delete-map", "nulls"],
)  # fmt: skip
def test_strategic_merge(
    doc: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = copy.deepcopy((doc, patch))

    assert strategic_merge_patch(doc, patch, SPEC) == expected
    assert (doc, patch) == before


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        ({"containers": [{"image": "x"}]}, 500, "map: map[image:x] does not contain declared merge key: name"),
        ({"containers": [{"$patch": "nope", "name": "solo"}]}, 500, "unknown patch type: nope in map: map[$patch:nope name:solo]"),
        ({"$setElementOrder/containers": [{"name": "other"}], "containers": [{"name": "solo", "image": "j"}]}, 500,
         "The order in patch list:\n[map[image:j name:solo]]\n doesn't match $setElementOrder list:\n[map[name:other]]\n"),
        ({"strategy": {"$retainKeys": ["name"], "x": {}}}, 400, "invalid patch format of retainKeys"),
        (["x"], 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ],
)  # fmt: skip
def test_strategic_faults_are_told_as_upstream_does(patch: Any, code: int, message: str) -> None:
    with pytest.raises(PatchError) as raised:
        strategic_merge_patch({"containers": [c("solo")], "strategy": {"x": {}}}, patch, SPEC)

    assert (raised.value.code, raised.value.message) == (code, message)


def test_what_a_patch_does_not_touch_is_shared() -> None:
    doc = {"a": {"b": 1}, "c": {"d": 2}}

    assert merge_patch(doc, {"a": {"b": 2}})["c"] is doc["c"]
    assert json_patch(doc, [{"op": "add", "path": "/a/x", "value": 1}])["c"] is doc["c"]
