"""Discovery documents."""

from typing import Any

from cove.kube.catalogue import Resource
from cove.kube.catalogue.discovery import (
    CUSTOM_VERBS,
    ExtraGroup,
    ExtraVersion,
    aggregated_core,
    aggregated_groups,
    api_group,
    api_group_list,
    api_resource_list,
    api_versions,
)

WIDGETS = Resource(
    "example.com", "v1", "widgets", "widget", "Widget", True, CUSTOM_VERBS, ("wd",), ("all",)
)
EXAMPLE = ExtraGroup("example.com", [ExtraVersion("v1", [WIDGETS])])


def named(rows: list[dict[str, Any]], key: str, value: str) -> dict[str, Any]:
    return next(row for row in rows if row[key] == value)


def test_legacy_versions_have_no_api_version() -> None:
    assert api_versions() == {"kind": "APIVersions", "versions": ["v1"]}
    assert api_versions("10.0.0.1:6443")["serverAddressByClientCIDRs"] == [
        {"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}
    ]


def test_groups_of_custom_resources_come_last() -> None:
    listed = api_group_list([EXAMPLE])["groups"]
    assert [listed[0]["name"], listed[-1]["name"]] == ["apiregistration.k8s.io", "example.com"]
    assert "kind" not in listed[0]


def test_a_group_with_a_high_priority_comes_before_others() -> None:
    first = ExtraGroup("metrics.k8s.io", [ExtraVersion("v1")], priority=19000)
    listed = api_group_list([EXAMPLE, first])["groups"]
    assert [g["name"] for g in listed[:3]] == ["apiregistration.k8s.io", "metrics.k8s.io", "apps"]


def test_a_group_prefers_its_first_version() -> None:
    found = api_group("autoscaling")
    assert found is not None
    assert found["preferredVersion"] == {"groupVersion": "autoscaling/v2", "version": "v2"}


def test_unknown_groups_and_versions_are_none() -> None:
    assert api_group("nope.example.com") is None
    assert api_group("") is None
    assert api_resource_list("apps", "v9") is None


def test_resource_lists_have_rows_for_subresources() -> None:
    found = api_resource_list("apps", "v1")
    assert found is not None
    names = [r["name"] for r in found["resources"]]
    assert names[3:6] == ["deployments", "deployments/scale", "deployments/status"]
    assert named(found["resources"], "name", "deployments/scale") == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }


def test_custom_resources_are_listed_with_their_hash() -> None:
    found = api_resource_list("example.com", "v1", [WIDGETS])
    assert found is not None
    assert found["resources"] == [
        {
            "name": "widgets",
            "singularName": "widget",
            "namespaced": True,
            "kind": "Widget",
            "verbs": list(CUSTOM_VERBS),
            "shortNames": ["wd"],
            "categories": ["all"],
            "storageVersionHash": WIDGETS.storage_hash,
        }
    ]


def test_aggregated_core_leaves_its_own_group_to_be_inferred() -> None:
    [item] = aggregated_core()["items"]
    pods = named(item["versions"][0]["resources"], "resource", "pods")
    assert pods["responseKind"] == {"group": "", "version": "", "kind": "Pod"}
    assert named(pods["subresources"], "subresource", "eviction")["responseKind"] == {
        "group": "policy",
        "version": "v1",
        "kind": "Eviction",
    }


def test_aggregated_custom_resources_name_their_group() -> None:
    last = aggregated_groups([EXAMPLE])["items"][-1]
    [widgets] = last["versions"][0]["resources"]
    assert widgets["responseKind"] == {"group": "example.com", "version": "v1", "kind": "Widget"}


def test_a_server_that_does_not_answer_is_stale() -> None:
    group = ExtraGroup("metrics.k8s.io", [ExtraVersion("v1beta1", stale=True)])
    found = named(aggregated_groups([group])["items"], "metadata", {"name": "metrics.k8s.io"})  # type: ignore[arg-type]
    assert found["versions"] == [{"version": "v1beta1", "resources": [], "freshness": "Stale"}]
