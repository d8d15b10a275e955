"""Webhooks that change what is written: what their types do not know stays as it is."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.webhooks.kinds import (
    CACHES,
    CACHES_BETA,
    Cache,
    CacheV1Beta1,
    cache,
    install,
    review,
)

from cove.engines.embedded import EmbeddedCluster
from cove.kube.patch import json_patch
from cove.kube.status import StatusError
from cove.operator import Invalid, Operator, Webhooks
from cove.operator.runtime.inject import Providers
from cove.operator.webhooks.admission import Admission


def operator() -> Operator:
    return Operator("cache-operator")


async def answer(op: Operator, **request: Any) -> dict[str, Any]:
    """What a mutator says to a review."""
    admission = Admission(op.mutators[0], Providers())
    await admission.prepare()
    found = json.loads(await admission(json.dumps(review(**request)).encode()))
    response: dict[str, Any] = found["response"]
    return response


def patch_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"]))
    return operations


async def test_a_changed_object_is_what_is_stored(api: EmbeddedCluster) -> None:
    op = operator()

    @op.mutate(Cache, on="create")
    def default(new: Cache) -> None:
        new.metadata.labels.setdefault("app", new.metadata.name)
        new.spec.size += 1

    await install(api.client)
    async with Webhooks(op, api.client):
        created = await api.client.create(
            CACHES, cache(size=1, unknown={"deep": [1]}, ratio=1.5), "default"
        )
        await api.client.patch(CACHES, "c", {"spec": {"size": 7}}, "default")
        updated = await api.client.get(CACHES, "c", "default")

    assert created["spec"] == {"size": 2, "unknown": {"deep": [1]}, "ratio": 1.5}
    assert created["metadata"]["labels"] == {"app": "c"}
    assert updated["spec"]["size"] == 7


async def test_another_object_may_be_returned(api: EmbeddedCluster) -> None:
    op = operator()

    @op.mutate(Cache)
    async def default(new: Cache) -> Cache:
        other = copy.deepcopy(new)
        other.spec.image = "cache:1"
        return other

    await install(api.client)
    async with Webhooks(op, api.client):
        created = await api.client.create(CACHES, cache(extra=True), "default")

    assert created["spec"] == {"image": "cache:1", "extra": True}


async def test_no_change_is_no_patch() -> None:
    op = operator()

    @op.mutate(Cache)
    def look(new: Cache) -> None:
        new.spec.size = new.spec.size

    response = await answer(op, object=cache())

    assert response == {"uid": "1", "allowed": True}


async def test_defaults_of_the_type_are_not_written_by_a_change_elsewhere() -> None:
    op = operator()

    @op.mutate(Cache)
    def name(new: Cache) -> None:
        new.spec.image = "x"

    response = await answer(op, object=cache(odd=1))

    assert response["patchType"] == "JSONPatch"
    assert patch_of(response) == [{"op": "add", "path": "/spec/image", "value": "x"}]


async def test_a_raw_document_can_be_changed_too() -> None:
    op = operator()

    @op.mutate(Cache)
    def change(new: dict[str, Any]) -> None:
        new["spec"]["any/thing"] = 1

    response = await answer(op, object=cache(odd=1))

    assert patch_of(response) == [{"op": "add", "path": "/spec/any~1thing", "value": 1}]


async def test_a_mutator_refuses_and_warns_like_a_validator(api: EmbeddedCluster) -> None:
    op = operator()

    @op.mutate(Cache)
    def change(new: Cache, warnings: list[str]) -> None:
        new.spec.size = 3
        raise Invalid("no", field="spec", code=400)

    await install(api.client)
    async with Webhooks(op, api.client):
        with pytest.raises(StatusError) as e:
            await api.client.create(CACHES, cache(), "default")

    assert (e.value.code, e.value.reason) == (400, "BadRequest")


async def test_what_is_written_in_another_version_is_changed_in_its_own(
    api: EmbeddedCluster,
) -> None:
    op = operator()

    @op.mutate(Cache)
    def change(new: Cache) -> None:
        new.spec.size = 4

    await install(api.client, Cache, CacheV1Beta1)
    async with Webhooks(op, api.client):
        document = {**cache(), "apiVersion": "cache.example.com/v1beta1"}
        created = await api.client.create(CACHES_BETA, document, "default")

    assert created["apiVersion"] == "cache.example.com/v1beta1"
    assert created["spec"]["size"] == 4


# -- whatever is in the document


keys = st.text("abz/~ é", min_size=1, max_size=3).filter(
    lambda k: k not in {"size", "image", "zones"}
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
documents = st.fixed_dictionaries(
    {
        "apiVersion": st.just("cache.example.com/v1"),
        "kind": st.just("Cache"),
        "metadata": st.fixed_dictionaries(
            {"name": st.just("c")},
            optional={
                "labels": st.dictionaries(st.sampled_from("abc"), st.text("xy", max_size=2)),
                "creationTimestamp": st.none(),
                "later": values,
            },
        ),
        "spec": st.builds(
            lambda known, unknown: {**unknown, **known},
            st.fixed_dictionaries(
                {},
                optional={
                    "size": st.integers(0, 9),
                    "image": st.text(max_size=3),
                    "zones": st.lists(st.sampled_from(["a", "b"]), max_size=3),
                },
            ),
            st.dictionaries(keys, values, max_size=4),
        ),
    },
    optional={"more": values},
)


@settings(deadline=None, max_examples=150)
@given(
    raw=documents,
    size=st.none() | st.integers(0, 9),
    zones=st.none() | st.lists(st.sampled_from(["a", "b", "c"]), max_size=4),
    label=st.booleans(),
)
async def test_unknown_fields_survive_whatever_is_changed(
    raw: dict[str, Any], size: int | None, zones: list[str] | None, label: bool
) -> None:
    op = operator()

    @op.mutate(Cache)
    def change(new: Cache) -> None:
        if size is not None:
            new.spec.size = size
        if zones is not None:
            new.spec.zones = zones
        if label:
            new.metadata.labels["z"] = "1"

    response = await answer(op, object=raw)
    after = json_patch(copy.deepcopy(raw), patch_of(response)) if "patch" in response else raw

    expected = copy.deepcopy(raw)
    if size is not None and size != raw["spec"].get("size", 1):
        expected["spec"]["size"] = size
    if zones is not None and zones != raw["spec"].get("zones", []):
        expected["spec"]["zones"] = zones
    if label:
        expected["metadata"].setdefault("labels", {})["z"] = "1"
    # An empty list that is left out means the same.
    for document in (after, expected):
        if not document["spec"].get("zones"):
            document["spec"].pop("zones", None)
    assert after == expected
