"""OpenAPI documents: what clients look for in them."""

from collections.abc import Iterator
from typing import Any

import pytest

from cove.kube.catalogue import groups, versions
from cove.kube.catalogue.openapi import CustomKind, v2, v3, v3_hash, v3_index

WIDGET = CustomKind(
    "stable.example.com",
    "v1",
    "Widget",
    "widgets",
    True,
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"size": {"type": "integer", "default": 1, "nullable": True}},
            }
        },
    },
    ("status", "scale"),
)


def references(doc: Any) -> Iterator[str]:
    if isinstance(doc, dict):
        if isinstance(doc.get("$ref"), str):
            yield doc["$ref"]
        for value in doc.values():
            yield from references(value)
    elif isinstance(doc, list):
        for value in doc:
            yield from references(value)


def query(operation: dict[str, Any]) -> set[str]:
    return {p["name"] for p in operation["parameters"] if p["in"] == "query"}


@pytest.fixture(scope="module")
def swagger() -> dict[str, Any]:
    return v2([WIDGET])


def test_every_reference_of_swagger_has_a_definition(swagger: dict[str, Any]) -> None:
    known = {f"#/definitions/{name}" for name in swagger["definitions"]}
    assert set(references(swagger)) <= known


@pytest.mark.parametrize(
    ("group", "version"), [(g, v) for g in groups() for v in versions(g)], ids=str
)
def test_every_reference_of_version_3_has_a_schema(group: str, version: str) -> None:
    doc = v3(group, version)
    assert doc is not None
    known = {f"#/components/schemas/{name}" for name in doc["components"]["schemas"]}
    assert set(references(doc)) <= known


def test_operations_are_named_once(swagger: dict[str, Any]) -> None:
    names = [
        operation["operationId"]
        for path in swagger["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))


def test_patch_metadata_is_told(swagger: dict[str, Any]) -> None:
    containers = swagger["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]


def test_kubectl_finds_the_parameters_it_checks_for() -> None:
    doc = v3("apps", "v1")
    assert doc is not None
    patch = doc["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-action"] == "patch"
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "kind": "Deployment",
        "version": "v1",
    }
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= query(patch)


def test_subresources_have_their_own_kind() -> None:
    doc = v3("", "v1")
    assert doc is not None
    eviction = doc["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/eviction"]["post"]
    assert eviction["x-kubernetes-group-version-kind"]["kind"] == "Eviction"
    assert eviction["operationId"] == "createCoreV1NamespacedPodEviction"
    execute = doc["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["get"]
    assert execute["x-kubernetes-action"] == "connect"


def test_a_custom_kind_keeps_its_schema_in_version_3() -> None:
    doc = v3("stable.example.com", "v1", [WIDGET])
    assert doc is not None
    widget = doc["components"]["schemas"]["com.example.stable.v1.Widget"]
    assert widget["properties"]["spec"]["properties"]["size"] == {
        "type": "integer",
        "default": 1,
        "nullable": True,
    }
    assert widget["x-kubernetes-group-version-kind"] == [
        {"group": "stable.example.com", "kind": "Widget", "version": "v1"}
    ]
    paths = doc["paths"]
    item = "/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}"
    assert set(paths[f"{item}/status"]) == {"get", "put", "patch", "parameters"}
    assert paths[f"{item}/scale"]["get"]["x-kubernetes-group-version-kind"]["kind"] == "Scale"


def test_a_custom_kind_loses_what_swagger_cannot_tell(swagger: dict[str, Any]) -> None:
    widget = swagger["definitions"]["com.example.stable.v1.Widget"]
    assert widget["properties"]["spec"]["properties"]["size"] == {}
    assert "metadata" in widget["properties"]
    assert "com.example.stable.v1.WidgetList" in swagger["definitions"]


def test_the_schema_of_a_custom_kind_is_not_changed() -> None:
    assert WIDGET.schema is not None
    assert set(WIDGET.schema["properties"]) == {"spec"}


def test_unknown_versions_are_none() -> None:
    assert v3("apps", "v9") is None
    assert v3("stable.example.com", "v2", [WIDGET]) is None


def test_the_index_names_every_group_version_with_its_hash() -> None:
    index = v3_index([WIDGET])["paths"]
    assert index["api/v1"]["serverRelativeURL"] == f"/openapi/v3/api/v1?hash={v3_hash('', 'v1')}"
    assert "apis/stable.example.com/v1" in index
    assert len(index) == sum(len(versions(g)) for g in groups()) + 1


def test_the_hash_moves_with_the_schema() -> None:
    other = CustomKind("stable.example.com", "v1", "Widget", "widgets", True, {"type": "object"})
    place = ("stable.example.com", "v1")
    assert v3_hash(*place, [WIDGET]) != v3_hash(*place, [other])
    assert v3_hash("apps", "v1", [WIDGET]) == v3_hash("apps", "v1")
