"""Several versions of one kind: their order, which is stored, what does not go together."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.operator import Entity, EntityError, Struct, crd, crds, entity

# As Kubernetes ranks them.
RANKED = [
    "v10",
    "v2",
    "v1",
    "v11beta2",
    "v10beta3",
    "v3beta1",
    "v12alpha1",
    "v11alpha2",
    "foo1",
    "foo10",
]


def version(name: str, **settings: Any) -> type[Entity]:
    """A version of Box."""
    settings = {"kind": "Box", **settings}

    @entity(f"example.com/{name}", **settings)
    class Box(Entity):
        value: str = name

    return Box


def names(doc: dict[str, Any]) -> list[str]:
    return [v["name"] for v in doc["spec"]["versions"]]


def stored(doc: dict[str, Any]) -> list[str]:
    return [v["name"] for v in doc["spec"]["versions"] if v["storage"]]


@given(st.permutations(RANKED))
def test_versions_are_ranked_as_kubernetes_ranks_them(shuffled: list[str]) -> None:
    found = crd(*[version(name) for name in shuffled])

    assert names(found) == RANKED
    assert stored(found) == ["v10"]


def test_the_marked_version_is_stored() -> None:
    found = crd(version("v2"), version("v1", storage=True), version("v1beta1", served=False))

    assert stored(found) == ["v1"]
    assert [v["served"] for v in found["spec"]["versions"]] == [True, True, False]


def test_two_marked_versions_are_an_error_that_names_both() -> None:
    class Old(Entity):
        pass

    class New(Entity):
        pass

    entity("example.com/v1", kind="Box", storage=True)(Old)
    entity("example.com/v2", kind="Box", storage=True)(New)

    with pytest.raises(EntityError, match=r"New \(v2\) and .*Old \(v1\) are both marked"):
        crd(Old, New)


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ({}, {"scope": "Cluster"}, "scope 'Namespaced' and 'Cluster'"),
        ({}, {"plural": "boxen"}, "plural 'boxes' and 'boxen'"),
        ({}, {"singular": "b"}, "singular 'box' and 'b'"),
        ({}, {"kind": "Crate", "plural": "boxes"}, "kind 'Box' and 'Crate'"),
    ],
)
def test_versions_that_are_not_of_one_kind_are_an_error(
    one: dict[str, Any], other: dict[str, Any], says: str
) -> None:
    with pytest.raises(EntityError, match=says):
        crd(version("v2", **one), version("v1", **other))


def test_one_version_twice_is_an_error() -> None:
    with pytest.raises(EntityError, match="are both version v1"):
        crd(version("v1"), version("v1"))


def test_no_version_is_an_error() -> None:
    with pytest.raises(EntityError, match="no entities"):
        crd()


def test_short_names_and_categories_of_all_versions_are_taken() -> None:
    found = crd(
        version("v1", short_names=["a", "b"]),
        version("v2", short_names=["b", "c"], categories=["all"]),
    )

    assert found["spec"]["names"]["shortNames"] == ["b", "c", "a"]
    assert found["spec"]["names"]["categories"] == ["all"]


def test_a_webhook_converts() -> None:
    client = {"url": "https://example.com/convert"}

    assert "conversion" not in crd(version("v1"))["spec"]
    assert crd(version("v1"), conversion=client)["spec"]["conversion"] == {
        "strategy": "Webhook",
        "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]},
    }


def test_definitions_are_by_kind_and_in_order() -> None:
    @entity("b.example.com/v1")
    class Zebra(Entity):
        pass

    @entity("a.example.com/v1")
    class Zoo(Entity):
        pass

    @entity("apps/v1", ignore=True)
    class Deployment(Entity):
        pass

    everything = [version("v1"), Zebra, version("v2"), Deployment, Zoo, Zebra]
    found = crds(everything)

    assert [d["metadata"]["name"] for d in found] == [
        "boxes.example.com",
        "zebras.b.example.com",
        "zoos.a.example.com",
    ]
    assert names(found[0]) == ["v2", "v1"]
    for order in itertools.islice(itertools.permutations(everything), 0, 720, 97):
        assert crds(order) == found


def test_versions_have_schemas_of_their_own() -> None:
    class New(Struct):
        size: int = 1

    @entity("example.com/v2", kind="Box")
    class BoxV2(Entity):
        spec: New = New()

    found = crd(version("v1"), BoxV2)

    two, one = [v["schema"]["openAPIV3Schema"]["properties"] for v in found["spec"]["versions"]]
    assert two["spec"] == {
        "type": "object",
        "default": {"size": 1},
        "properties": {"size": {"type": "integer", "format": "int64", "default": 1}},
    }
    assert one["value"] == {"type": "string", "default": "v1"}
