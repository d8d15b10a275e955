"""Custom resources through the real HTTPS front."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from tests.server.test_http import call

from cove.engines.embedded import EmbeddedCluster

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "crontabs.stable.example.com"
ROOT = "/apis/stable.example.com/v1"
TABS = f"{ROOT}/namespaces/default/crontabs"
CRD: dict[str, Any] = {
    "metadata": {"name": NAME},
    "spec": {
        "group": "stable.example.com",
        "scope": "Namespaced",
        "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                    },
                },
                "additionalPrinterColumns": [
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}
                ],
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer", "default": 1, "maximum": 10},
                                    "color": {"type": "string"},
                                },
                                "x-kubernetes-validations": [
                                    {"rule": "self.replicas != 7", "message": "not seven"}
                                ],
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}
MERGE = {"Content-Type": "application/merge-patch+json"}


def tab(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": spec,
    }


async def define(cluster: EmbeddedCluster, change: Callable[[Any], None] | None = None) -> None:
    doc = deepcopy(CRD)
    if change is not None:
        change(doc)
    code, body = await call(cluster, "POST", CRDS, json=doc)
    assert code == 201, body


async def test_a_crd_is_served_as_soon_as_it_is_created(api: EmbeddedCluster) -> None:
    await define(api)

    code, found = await call(api, "POST", TABS, json=tab("a", color="red"))

    assert code == 201
    assert found["spec"] == {"replicas": 1, "color": "red"}
    _, crd = await call(api, "GET", f"{CRDS}/{NAME}")
    assert {c["type"]: c["status"] for c in crd["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    code, _ = await call(
        api, "GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1.stable.example.com"
    )
    assert code == 200


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"replicas": 11}, "spec.replicas"), ({"replicas": 7}, "spec")],
    ids=["schema", "rule"],
)
async def test_invalid_resources_are_refused(
    api: EmbeddedCluster, spec: dict[str, Any], field: str
) -> None:
    await define(api)

    code, found = await call(api, "POST", TABS, json=tab("a", **spec))

    assert code == 422
    assert found["details"]["causes"][0]["field"] == field


async def test_subresources(api: EmbeddedCluster) -> None:
    await define(api)
    await call(api, "POST", TABS, json=tab("a"))

    await call(api, "PATCH", f"{TABS}/a/status", json={"status": {"replicas": 4}}, headers=MERGE)
    code, scale = await call(
        api, "PATCH", f"{TABS}/a/scale", json={"spec": {"replicas": 3}}, headers=MERGE
    )

    assert code == 200
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"]) == (
        "Scale",
        3,
        4,
    )
    _, found = await call(api, "GET", f"{TABS}/a")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (3, 2)


async def test_selectable_fields_and_tables(api: EmbeddedCluster) -> None:
    await define(api)
    for name, color in (("a", "red"), ("b", "blue")):
        await call(api, "POST", TABS, json=tab(name, color=color))

    _, found = await call(api, "GET", f"{TABS}?fieldSelector=spec.color=blue")
    _, table = await call(
        api, "GET", TABS, headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    )

    assert [i["metadata"]["name"] for i in found["items"]] == ["b"]
    assert [row["cells"] for row in table["rows"]] == [["a", 1], ["b", 1]]


async def test_a_changed_schema_changes_what_is_read(api: EmbeddedCluster) -> None:
    await define(api)
    await call(api, "POST", TABS, json=tab("a", color="red"))
    versions = deepcopy(CRD["spec"]["versions"])
    del versions[0]["selectableFields"]
    properties = versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del properties["color"]
    properties["size"] = {"type": "string", "default": "xl"}

    code, _ = await call(
        api, "PATCH", f"{CRDS}/{NAME}", json={"spec": {"versions": versions}}, headers=MERGE
    )
    _, found = await call(api, "GET", f"{TABS}/a")
    _, listed = await call(api, "GET", TABS)

    assert code == 200
    assert found["spec"] == {"replicas": 1, "size": "xl"}
    assert listed["items"][0]["spec"] == found["spec"]


async def test_deleting_a_crd_waits_for_finalizers(api: EmbeddedCluster) -> None:
    await define(api)
    held = tab("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await call(api, "POST", TABS, json=held)
    await call(api, "POST", TABS, json=tab("free"))

    code, crd = await call(api, "DELETE", f"{CRDS}/{NAME}")
    refused, why = await call(api, "POST", TABS, json=tab("late"))
    _, left = await call(api, "GET", TABS)
    await call(api, "PATCH", f"{TABS}/held", json={"metadata": {"finalizers": None}}, headers=MERGE)
    gone, _ = await call(api, "GET", f"{CRDS}/{NAME}")
    unserved, _ = await call(api, "GET", TABS)

    assert code == 200
    assert crd["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert (refused, why["reason"]) == (403, "Forbidden")
    assert [i["metadata"]["name"] for i in left["items"]] == ["held"]
    assert (gone, unserved) == (404, 404)


async def test_names_that_are_taken_wait_until_they_are_free(api: EmbeddedCluster) -> None:
    await define(api)

    def clash(doc: Any) -> None:
        doc["metadata"]["name"] = "others.stable.example.com"
        doc["spec"]["names"] = {"plural": "others", "singular": "other", "kind": "CronTab"}

    await define(api, clash)
    _, waiting = await call(api, "GET", f"{CRDS}/others.stable.example.com")
    await call(api, "DELETE", f"{CRDS}/{NAME}")
    _, accepted = await call(api, "GET", f"{CRDS}/others.stable.example.com")

    assert waiting["status"]["conditions"][0]["reason"] == "ListKindConflict"
    assert [c["status"] for c in accepted["status"]["conditions"]] == ["True", "True"]


async def test_openapi_tells_kubectl_how_to_patch(api: EmbeddedCluster) -> None:
    await define(api)

    code, doc = await call(api, "GET", "/openapi/v3/apis/stable.example.com/v1")

    assert code == 200
    operation = doc["paths"][f"{ROOT}/namespaces/{{namespace}}/crontabs/{{name}}"]["patch"]
    assert "application/merge-patch+json" in operation["requestBody"]["content"]
    assert "application/strategic-merge-patch+json" not in operation["requestBody"]["content"]
