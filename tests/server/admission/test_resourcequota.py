"""Quotas: what is admitted, what is charged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

QUOTAS = GVR("", "v1", "resourcequotas")
PODS = GVR("", "v1", "pods")
SECRETS = GVR("", "v1", "secrets")
SERVICES = GVR("", "v1", "services")


def pod(name: str, requests: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": requests or {}}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def quota(client: Client, hard: dict[str, str], name: str = "q", **spec: Any) -> None:
    """A quota as the controller leaves it: nothing used yet."""
    made = await client.create(
        QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}, "default"
    )
    made["status"] = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    await client.update(QUOTAS, made, "default", subresource="status")


async def used(client: Client, name: str = "q") -> dict[str, str]:
    found: dict[str, str] = (await client.get(QUOTAS, name, "default"))["status"]["used"]
    return found


async def test_only_what_is_exceeded_is_told(api: EmbeddedCluster) -> None:
    await quota(api.client, {"pods": "1", "requests.memory": "8Gi"})
    await api.client.create(PODS, pod("a", {"memory": "1Gi"}), "default")
    with pytest.raises(StatusError) as e:
        await api.client.create(PODS, pod("b", {"memory": "1Gi"}), "default")
    assert e.value.message == (
        'pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
    )
    assert await used(api.client) == {"pods": "1", "requests.memory": "1Gi"}


async def test_several_exceeded_are_told_in_order(api: EmbeddedCluster) -> None:
    await quota(api.client, {"requests.memory": "1Gi", "requests.cpu": "1"})
    with pytest.raises(StatusError) as e:
        await api.client.create(PODS, pod("b", {"memory": "2Gi", "cpu": "1500m"}), "default")
    assert e.value.message.endswith(
        "exceeded quota: q, requested: requests.cpu=1500m,requests.memory=2Gi, "
        "used: requests.cpu=0,requests.memory=0, limited: requests.cpu=1,requests.memory=1Gi"
    )


async def test_containers_have_to_name_what_is_bounded(api: EmbeddedCluster) -> None:
    await quota(api.client, {"requests.cpu": "1", "limits.memory": "1Gi"})
    with pytest.raises(StatusError) as e:
        await api.client.create(PODS, pod("p"), "default")
    assert e.value.message == (
        'pods "p" is forbidden: failed quota: q: must specify limits.memory for: c; '
        "requests.cpu for: c"
    )


async def test_a_quota_not_yet_counted_admits_nothing(api: EmbeddedCluster) -> None:
    made = await api.client.create(
        QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}, "default"
    )
    made["status"] = {"hard": {"pods": "1"}}
    await api.client.update(QUOTAS, made, "default", subresource="status")
    with pytest.raises(StatusError, match=r"status unknown for quota: q, resources: pods$"):
        await api.client.create(PODS, pod("p"), "default")


async def test_creates_at_once_cannot_share_what_is_left(api: EmbeddedCluster) -> None:
    await quota(api.client, {"count/secrets": "3"})
    answers = await asyncio.gather(
        *(api.client.create(SECRETS, {"metadata": {"name": f"s{i}"}}, "default") for i in range(9)),
        return_exceptions=True,
    )
    assert sum(1 for a in answers if isinstance(a, dict)) == 3
    assert await used(api.client) == {"count/secrets": "3"}


async def test_a_name_taken_and_a_dry_run_are_not_charged(api: EmbeddedCluster) -> None:
    await quota(api.client, {"count/secrets": "3"})
    secret = {"metadata": {"name": "s"}}
    await api.client.create(SECRETS, secret, "default")
    with pytest.raises(StatusError, match="already exists"):
        await api.client.create(SECRETS, secret, "default")
    await api.client.create(SECRETS, {"metadata": {"name": "t"}}, "default", dry_run=True)
    assert await used(api.client) == {"count/secrets": "1"}


async def test_an_update_is_charged_what_it_adds(api: EmbeddedCluster) -> None:
    await quota(api.client, {"services": "1", "services.nodeports": "2"})
    spec = {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}]}
    await api.client.create(SERVICES, {"metadata": {"name": "s"}, "spec": spec}, "default")
    assert await used(api.client) == {"services": "1", "services.nodeports": "0"}
    await api.client.patch(SERVICES, "s", {"spec": {"type": "NodePort"}}, "default")
    assert await used(api.client) == {"services": "1", "services.nodeports": "2"}


async def test_scopes_choose_the_pods(api: EmbeddedCluster) -> None:
    await quota(api.client, {"pods": "0"}, scopes=["BestEffort"])
    await quota(api.client, {"pods": "0"}, "t", scopes=["Terminating"])
    await api.client.create(PODS, pod("fine", {"cpu": "1"}), "default")
    with pytest.raises(StatusError, match="exceeded quota: q"):
        await api.client.create(PODS, pod("poor"), "default")
    with pytest.raises(StatusError, match="exceeded quota: t"):
        await api.client.create(
            PODS, pod("short", {"cpu": "1"}, activeDeadlineSeconds=5), "default"
        )


async def test_the_status_is_owned_by_the_server(api: EmbeddedCluster) -> None:
    await quota(api.client, {"count/secrets": "3"})
    await api.client.create(SECRETS, {"metadata": {"name": "s"}}, "default")
    managed = (await api.client.get(QUOTAS, "q", "default"))["metadata"]["managedFields"]
    entry = next(m for m in managed if m["manager"] == "kube-apiserver")
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:used": {"f:count/secrets": {}}}}
