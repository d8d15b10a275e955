"""Patches and applies that hypothesis makes: the object stays one, or the patch is refused in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.upstream import UPSTREAM

from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR

DEPLOYMENTS = GVR("apps", "v1", "deployments")
PATH = "/apis/apps/v1/namespaces/default/deployments/web"
# Words that mean something somewhere in a Deployment, and some that do not.
KEYS = [
    "metadata", "spec", "status", "labels", "annotations", "template", "containers", "name", "image", "ports",
    "containerPort", "env", "value", "replicas", "selector", "matchLabels", "strategy", "volumes", "finalizers",
    "ownerReferences", "managedFields", "kind", "apiVersion", "$patch", "$retainKeys", "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers", "", "a/b", "~", "é",
]  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["main", "web", "TCP", "delete", "replace", "merge", "10%", "1Gi", "Always"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
POINTERS = st.lists(
    st.sampled_from([*KEYS, "0", "1", "-", "-1", "~0", "~1"]) | st.text(max_size=3), max_size=6
).map(lambda steps: "".join(f"/{step}" for step in steps))
STEPS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
    optional={"path": POINTERS | SCALARS, "from": POINTERS | SCALARS, "value": VALUES},
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5)
PATCHES = (
    st.tuples(st.just("application/json-patch+json"), st.lists(STEPS, max_size=4))
    | st.tuples(st.just("application/merge-patch+json"), OBJECTS | VALUES)
    | st.tuples(st.just("application/strategic-merge-patch+json"), OBJECTS | VALUES)
    | st.tuples(
        st.just("application/apply-patch+yaml"),
        OBJECTS.map(lambda doc: {**doc, "apiVersion": "apps/v1", "kind": "Deployment"}),
    )
)


@pytest.fixture
async def patched() -> AsyncIterator[EmbeddedCluster]:
    """A cluster with a Deployment, of which every example has a fork."""
    async with embedded(nodes=0, controllers=False, disable_admission=["ServiceAccount"]) as made:
        container = {"name": "main", "image": "nginx", "ports": [{"containerPort": 80}]}
        labels = {"app": "web"}
        await made.client.create(
            DEPLOYMENTS,
            {
                "metadata": {"name": "web", "labels": labels},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [container]},
                    },
                },
            },
            "default",
        )
        yield made


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patch=PATCHES, force=st.booleans())
async def test_a_patch_is_applied_whole_or_refused_in_words(
    patched: EmbeddedCluster, patch: tuple[str, Any], force: bool
) -> None:
    media, body = patch
    applies = "apply" in media
    query = f"fieldManager=fuzz&force={str(force).lower()}" if applies else ""
    async with patched.fork() as fork:
        before = await fork.client.get(DEPLOYMENTS, "web", "default")

        answer = await fork.client.transport.request(
            "PATCH", PATH, query=query, headers={"Content-Type": media}, body=orjson.dumps(body)
        )

        after = await fork.client.get(DEPLOYMENTS, "web", "default")
    doc = orjson.loads(answer.body)
    if answer.status == 200:
        assert after == doc
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
    else:
        assert answer.status in (400, 409, 415, 422, 500)
        assert answer.status != 500 or any(word in doc["message"] for word in UPSTREAM)
        assert doc["kind"] == "Status"
        assert after == before
