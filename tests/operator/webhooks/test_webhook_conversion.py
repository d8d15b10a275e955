"""Conversion through a hub: three versions, as a real API server asks for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.webhooks.kinds import (
    CACHES,
    CACHES_ALPHA,
    CACHES_BETA,
    Cache,
    CacheSpec,
    CacheStatus,
    CacheV1Alpha1,
    CacheV1Beta1,
    OldestSpec,
    OldSpec,
    cache,
    install,
    post,
)

from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import StatusError
from cove.operator import Invalid, ObjectMeta, Operator, Webhooks, check_round_trip
from cove.operator.errors import EntityError
from cove.operator.webhooks import Conversion, ConversionError, RoundTripError

ZONES = "cache.example.com/zones"
V1, V1BETA1, V1ALPHA1 = (f"cache.example.com/{v}" for v in ("v1", "v1beta1", "v1alpha1"))


class V1Beta1:
    """What it has no place for goes into an annotation."""

    def to_hub(self, old: CacheV1Beta1) -> Cache:
        rest = old.metadata.annotations.pop(ZONES, "")
        zones = [z for z in (old.spec.zone, *rest.split(",")) if z]
        spec = CacheSpec(size=old.spec.replicas, image=old.spec.image, zones=zones)
        return Cache(metadata=old.metadata, spec=spec, status=old.status)

    def from_hub(self, new: Cache) -> CacheV1Beta1:
        zone, *rest = new.spec.zones or [""]
        if rest:
            new.metadata.annotations[ZONES] = ",".join(rest)
        spec = OldSpec(replicas=new.spec.size, image=new.spec.image, zone=zone)
        return CacheV1Beta1(metadata=new.metadata, spec=spec, status=new.status)


class V1Alpha1:
    """Says nothing of metadata; forgets zones."""

    def to_hub(self, old: CacheV1Alpha1) -> Cache:
        return Cache(
            spec=CacheSpec(size=int(old.spec.scale), image=old.spec.image), status=old.status
        )

    def from_hub(self, new: Cache) -> CacheV1Alpha1:
        return CacheV1Alpha1(
            spec=OldestSpec(scale=str(new.spec.size), image=new.spec.image), status=new.status
        )


def operator() -> Operator:
    op = Operator("cache-operator")
    op.convert(CacheV1Beta1, to=Cache)(V1Beta1)
    op.convert(CacheV1Alpha1, to=Cache)(V1Alpha1)
    return op


def beta(name: str, **spec: Any) -> dict[str, Any]:
    return {**cache(name, **spec), "apiVersion": V1BETA1}


async def test_three_versions_are_one_object(api: EmbeddedCluster) -> None:
    await install(api.client, Cache, CacheV1Beta1, CacheV1Alpha1)
    async with Webhooks(operator(), api.client):
        await api.client.create(CACHES_BETA, beta("c", replicas=3, image="x"), "default")
        hub = await api.client.get(CACHES, "c", "default")
        oldest = await api.client.get(CACHES_ALPHA, "c", "default")
        await api.client.patch(CACHES_ALPHA, "c", {"spec": {"scale": "5"}}, "default")
        old = await api.client.get(CACHES_BETA, "c", "default")

    assert (hub["apiVersion"], hub["spec"]["size"]) == (V1, 3)
    assert (oldest["apiVersion"], oldest["spec"]) == (V1ALPHA1, {"image": "x", "scale": "3"})
    assert old["spec"]["replicas"] == 5
    assert old["metadata"]["uid"] == hub["metadata"]["uid"]


async def test_lists_and_watches_are_converted(api: EmbeddedCluster) -> None:
    await install(api.client, Cache, CacheV1Beta1, CacheV1Alpha1)
    async with Webhooks(operator(), api.client):
        for number in range(120):
            await api.client.create(CACHES, cache(f"c{number}", size=number), "default")
        listed = await api.client.list(CACHES_BETA, "default")
        version = listed.resource_version
        async with api.client.watch(
            CACHES_ALPHA, "default", resource_version=version, bookmarks=False
        ) as events:
            await api.client.create(CACHES_BETA, beta("late", replicas=7), "default")
            event = await anext(events)

    found = {item["metadata"]["name"]: item["spec"]["replicas"] for item in listed.items}
    assert found == {f"c{number}": number for number in range(120)}
    assert (event.type, event.object["spec"]["scale"]) == ("ADDED", "7")


async def test_metadata_stays_but_for_labels_and_annotations(api: EmbeddedCluster) -> None:
    await install(api.client, Cache, CacheV1Beta1, CacheV1Alpha1)
    async with Webhooks(operator(), api.client):
        document = cache(zones=["a", "b", "c"])
        document["metadata"] |= {"labels": {"l": "1"}, "finalizers": ["example.com/f"]}
        hub = await api.client.create(CACHES, document, "default")
        old = await api.client.get(CACHES_BETA, "c", "default")
        oldest = await api.client.get(CACHES_ALPHA, "c", "default")
        back = await api.client.update(CACHES_BETA, old, "default")
        again = await api.client.get(CACHES, "c", "default")

    assert old["metadata"].pop("annotations") == {ZONES: "b,c"}
    for metadata in (old["metadata"], oldest["metadata"]):
        assert metadata == hub["metadata"]
    assert back["metadata"]["annotations"] == {ZONES: "b,c"}
    assert again["spec"]["zones"] == ["a", "b", "c"]
    assert "annotations" not in again["metadata"]


async def test_what_is_written_in_an_older_version_is_validated_as_the_newest(
    api: EmbeddedCluster,
) -> None:
    op = operator()

    @op.validate(Cache)
    def check(new: Cache) -> None:
        if new.spec.size > 5:
            raise Invalid("at most 5", field="spec.size")

    await install(api.client, CacheV1Alpha1, Cache, CacheV1Beta1)
    async with Webhooks(op, api.client):
        await api.client.create(CACHES_BETA, beta("small", replicas=5), "default")
        with pytest.raises(StatusError, match="at most 5"):
            await api.client.create(CACHES_BETA, beta("large", replicas=6), "default")


async def test_one_that_cannot_be_converted_fails_the_review_by_its_name(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await install(api.client, CacheV1Alpha1, Cache, CacheV1Beta1)
    async with Webhooks(operator(), api.client):
        bad = {**cache("bad", scale="many"), "apiVersion": V1ALPHA1}
        good = {**cache("good", scale="2"), "apiVersion": V1ALPHA1}
        for document in (good, bad):
            await api.client.create(CACHES_ALPHA, document, "default")
        found = await api.client.get(CACHES, "good", "default")
        with pytest.raises(StatusError) as e:
            await api.client.list(CACHES, "default")

    assert found["spec"]["size"] == 2
    assert e.value.code == 500
    assert (
        f"Cache default/bad: {V1ALPHA1} → {V1}: ValueError: invalid literal for int()"
        in e.value.message
    )


async def test_versions_that_nobody_knows_are_told(api: EmbeddedCluster) -> None:
    await install(api.client, Cache, CacheV1Beta1, CacheV1Alpha1)
    review = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {"uid": "7", "desiredAPIVersion": "cache.example.com/v2", "objects": [cache()]},
    }
    async with Webhooks(operator(), api.client) as hooks:
        url = f"{hooks.base_url}/convert/caches.cache.example.com"
        ca = hooks.client_config.ca_bundle
        status, answer = await post(url, json.dumps(review).encode(), ca=ca)
        garbage, told = await post(url, b'{"kind": "ConversionReview"}', ca=ca)

    response = json.loads(answer)["response"]
    assert (status, response["uid"], response["convertedObjects"]) == (200, "7", [])
    assert response["result"]["status"] == "Failure"
    assert (
        'Cache c: cache.example.com/v1 → cache.example.com/v2: nobody converts "cache'
        in (response["result"]["message"])
    )
    assert (garbage, json.loads(told)["reason"]) == (400, "BadRequest")


def test_an_object_in_the_version_that_is_wanted_stays_as_it_is() -> None:
    conversion = Conversion(operator().converters)
    document = cache(odd=1)

    assert conversion.convert(document, V1) == document


def test_fields_that_a_type_does_not_know_are_not_converted() -> None:
    conversion = Conversion(operator().converters)

    found = conversion.convert(cache(size=2, odd=1), V1BETA1)

    assert found["spec"] == {"replicas": 2, "image": "", "zone": ""}


# -- there and back

texts = st.text("abc", max_size=4)
zones = st.lists(st.text("abc", min_size=1, max_size=3), max_size=4)
metadatas = st.builds(
    ObjectMeta,
    name=st.just("c"),
    namespace=st.just("default"),
    labels=st.dictionaries(texts.filter(bool), texts, max_size=2),
    annotations=st.dictionaries(texts.filter(bool), texts, max_size=2),
)
statuses = st.builds(CacheStatus, ready=st.integers(0, 9))


@given(
    st.builds(
        Cache,
        metadata=metadatas,
        spec=st.builds(CacheSpec, size=st.integers(0, 99), image=texts, zones=zones),
        status=statuses,
    )
)
def test_any_object_survives_the_way_there_and_back(obj: Cache) -> None:
    op = Operator("cache-operator")
    op.convert(CacheV1Beta1, to=Cache)(V1Beta1)

    check_round_trip(op, obj)


@given(
    st.builds(
        CacheV1Alpha1,
        metadata=metadatas,
        spec=st.builds(OldestSpec, scale=st.integers(0, 99).map(str), image=texts),
        status=statuses,
    )
)
def test_any_oldest_object_survives_the_way_through_every_version(obj: CacheV1Alpha1) -> None:
    check_round_trip(operator(), obj)


def test_what_is_lost_on_the_way_is_told() -> None:
    with pytest.raises(RoundTripError) as e:
        check_round_trip(operator(), Cache(spec=CacheSpec(zones=["a"])))

    assert f"{V1} → {V1ALPHA1} → {V1} is another object" in str(e.value)
    assert e.value.differences == [{"op": "add", "path": "/spec/zones", "value": ["a"]}]


def test_a_conversion_that_is_wrong_names_the_object() -> None:
    class Wrong(V1Beta1):
        def from_hub(self, new: Cache) -> Any:
            return new

    op = Operator("cache-operator")
    op.convert(CacheV1Beta1, to=Cache)(Wrong)

    with pytest.raises(ConversionError, match=r"Cache c: .* gave a Cache, not a CacheV1Beta1"):
        check_round_trip(op, Cache(metadata=ObjectMeta(name="c")))


def test_what_cannot_be_converted_is_refused_where_it_is_declared() -> None:
    op = Operator("cache-operator")
    op.convert(CacheV1Beta1, to=Cache)(V1Beta1)

    class Half:
        def to_hub(self, old: Any) -> Any: ...

    class Waits:
        async def to_hub(self, old: Any) -> Any: ...

        def from_hub(self, new: Any) -> Any: ...

    for says, spoke, hub, cls in (
        ("has a converter already", CacheV1Beta1, Cache, V1Beta1),
        ("a kind has one hub", CacheV1Alpha1, CacheV1Beta1, V1Alpha1),
        ("not two versions", Cache, Cache, V1Alpha1),
        ("needs def from_hub", CacheV1Alpha1, Cache, Half),
        ("it does not wait", CacheV1Alpha1, Cache, Waits),
    ):
        with pytest.raises(EntityError, match=says):
            op.convert(spoke, to=hub)(cls)
