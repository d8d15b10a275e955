"""Requests are told which FlowSchema they belong to, and FlowSchemas whether they dangle."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

import cove
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.server.flowcontrol import flow_headers
from cove.server.request import Request, User, parse_info

SCHEMAS = GVR("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
LEVELS = GVR("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with cove.embedded(controllers=False) as made:
        yield made


def schema(name: str, precedence: int = 50, level: str = "workload-low") -> dict[str, Any]:
    """For what the user alice does with pods of one namespace, and for one URL."""
    return {
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": level},
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "alice"}}],
                    "resourceRules": [
                        {
                            "verbs": ["list", "get"],
                            "apiGroups": [""],
                            "resources": ["pods", "pods/status"],
                            "namespaces": ["one"],
                        }
                    ],
                    "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics/*"]}],
                }
            ],
        },
    }


def level(name: str) -> dict[str, Any]:
    limited = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}


async def classified(cluster: EmbeddedCluster, path: str, user: User, method: str = "GET") -> str:
    """The name of the FlowSchema of a request."""
    request = Request(method, path, user=user)
    request.info = parse_info(method, path)
    uid = dict(flow_headers(cluster.api, request))["X-Kubernetes-Pf-Flowschema-Uid"]
    found = (await cluster.client.list(SCHEMAS)).items
    return next(str(s["metadata"]["name"]) for s in found if s["metadata"]["uid"] == uid)


ALICE = User("alice", ("system:authenticated",))
ROBOT = User("system:serviceaccount:kube-system:robot", ("system:serviceaccounts",))


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        ("/api/v1/namespaces/one/pods", ALICE, "mine"),
        ("/api/v1/namespaces/one/pods/x/status", ALICE, "mine"),
        ("/api/v1/namespaces/two/pods", ALICE, "global-default"),
        ("/api/v1/pods", ALICE, "global-default"),
        ("/api/v1/namespaces/one/pods/x/log", ALICE, "global-default"),
        ("/apis/apps/v1/namespaces/one/pods", ALICE, "global-default"),
        ("/metrics/x", ALICE, "mine"),
        ("/metrics", ALICE, "global-default"),
        ("/healthz", ALICE, "probes"),
        ("/api/v1/namespaces/one/pods", User("bob", ("system:authenticated",)), "global-default"),
        ("/api/v1/namespaces/one/pods", User("root", ("system:masters",)), "exempt"),
        ("/api/v1/namespaces/one/pods", ROBOT, "kube-system-service-accounts"),
    ],
)
async def test_the_first_schema_that_matches(
    cluster: EmbeddedCluster, path: str, user: User, expected: str
) -> None:
    await cluster.client.create(SCHEMAS, schema("mine"))
    await cluster.client.create(SCHEMAS, schema("later", precedence=60))
    assert await classified(cluster, path, user) == expected


async def test_a_schema_without_its_level_is_not_used_and_says_so(
    cluster: EmbeddedCluster,
) -> None:
    client, path = cluster.client, "/api/v1/namespaces/one/pods"

    async def dangling() -> tuple[str, str]:
        status = (await client.get(SCHEMAS, "mine"))["status"]
        (condition,) = status["conditions"]
        return condition["status"], condition["reason"]

    await client.create(SCHEMAS, schema("mine", level="missing"))
    assert await dangling() == ("True", "NotFound")
    assert await classified(cluster, path, ALICE) == "global-default"
    await client.create(LEVELS, level("missing"))
    assert await dangling() == ("False", "Found")
    assert await classified(cluster, path, ALICE) == "mine"
    await client.delete(LEVELS, "missing")
    assert await dangling() == ("True", "NotFound")
    assert await classified(cluster, path, ALICE) == "global-default"


async def test_answers_carry_the_uids(cluster: EmbeddedCluster) -> None:
    """Also for who is somebody else for this request."""
    tls = ssl.create_default_context(cadata=cluster.credentials.authority.decode())
    pair = cluster.kubeconfig_path.with_name("admin.pem")
    pair.write_bytes(cluster.credentials.admin.certificate + cluster.credentials.admin.key)
    tls.load_cert_chain(pair)
    made = await cluster.client.create(SCHEMAS, schema("mine"))
    low = await cluster.client.get(LEVELS, "workload-low")
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{cluster.url}/api/v1/namespaces/one/pods",
            ssl=tls,
            headers={"Impersonate-User": "alice"},
        ) as answer,
    ):
        told = answer.headers
    assert told["X-Kubernetes-PF-FlowSchema-UID"] == made["metadata"]["uid"]
    assert told["X-Kubernetes-PF-PriorityLevel-UID"] == low["metadata"]["uid"]
