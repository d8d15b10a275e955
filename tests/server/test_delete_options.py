"""The body of a DELETE is read as its type, like every other."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")
PREFIX = (
    'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: json: cannot unmarshal '
)


@pytest.mark.parametrize("path", ["configmaps", "configmaps/a"])
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"dryRun": 5}, "number into Go struct field DeleteOptions.dryRun of type []string"),
        (
            {"preconditions": []},
            "array into Go struct field DeleteOptions.preconditions of type v1.Preconditions",
        ),
        (
            {"gracePeriodSeconds": "5"},
            "string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            {"orphanDependents": 1},
            "number into Go struct field DeleteOptions.orphanDependents of type bool",
        ),
        (
            {"propagationPolicy": {}},
            "object into Go struct field DeleteOptions.propagationPolicy of type "
            "v1.DeletionPropagation",
        ),
    ],
)
async def test_a_value_of_another_type_is_refused_and_nothing_is_deleted(
    api: EmbeddedCluster, path: str, body: dict[str, Any], why: str
) -> None:
    await api.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")

    answer = await api.client.transport.request(
        "DELETE",
        f"/api/v1/namespaces/default/{path}",
        headers={"Content-Type": "application/json"},
        body=orjson.dumps(body),
    )

    assert (answer.status, orjson.loads(answer.body)["message"]) == (400, PREFIX + why)
    assert await api.client.get(CONFIG_MAPS, "a", "default")


async def test_what_options_do_not_know_is_passed_over(api: EmbeddedCluster) -> None:
    await api.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")

    answer = await api.client.transport.request(
        "DELETE",
        "/api/v1/namespaces/default/configmaps/a",
        headers={"Content-Type": "application/json"},
        body=b'{"gracePeriodSeconds":0,"orphanDependents":false,"nothing":{"at":"all"}}',
    )

    assert answer.status == 200
