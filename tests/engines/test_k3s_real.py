"""k3s itself: run by ``make test-k3s`` where its image can be fetched, and nowhere else."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cove.client import Client, kubeconfig
from cove.engines.cluster import Cluster, ClusterOptions
from cove.engines.k3s import K3sCluster
from cove.engines.k3s_options import for_tests
from cove.engines.select import open_cluster
from cove.kube.gvk import GVR

pytestmark = pytest.mark.requires("k3s")

NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
WAIT = 180
IMAGE = os.environ.get("COVE_K3S_IMAGE")


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """A test's cluster with an agent and a domain."""
    monkeypatch.setenv("COVE_HOME", str(tmp_path / "home"))
    options = for_tests(
        ClusterOptions(agents=1, domains=("shop.test",), images={"server": IMAGE} if IMAGE else {}),
        ready_timeout=600.0,
    )
    async with open_cluster("k8s", options, engine="k3s", log=print) as found:
        yield found


async def test_server_and_agent_are_ready_and_verified(cluster: Cluster) -> None:
    async with Client.connect(kubeconfig.load(str(cluster.kubeconfig_path))) as client:
        names = {n["metadata"]["name"] for n in (await client.list(NODES)).items}

    assert names == {"k8s", "k8s-agent-0"}
    assert (await cluster.health()).healthy


async def test_the_registry_answers_by_its_name_and_on_this_machine(cluster: Cluster) -> None:
    url = f"http://{cluster.addresses['registry']}/v2/"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200


async def test_hosts_of_the_domain_have_a_certificate_that_can_be_verified(
    cluster: Cluster,
) -> None:
    assert isinstance(cluster, K3sCluster)
    context = ssl.create_default_context(cadata=cluster.authority)
    port = int(cluster.addresses["https"].rpartition(":")[2])

    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="web.shop.test"
    )

    writer.close()
    await writer.wait_closed()


async def test_names_of_the_domain_lead_to_the_cluster_in_pods(cluster: Cluster) -> None:
    """CoreDNS asked in a pod of k3s' own image, which has a shell and nslookup."""
    image = IMAGE or "rancher/k3s:v1.36.0-k3s1"
    pod: dict[str, Any] = {
        "metadata": {"name": "ask", "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "ask",
                    "image": image,
                    "command": ["/bin/sh", "-c", "nslookup web.shop.test"],
                }
            ],
        },
    }
    await cluster.client.create(PODS, pod)
    async with asyncio.timeout(WAIT):
        while True:
            found = await cluster.client.get(PODS, "ask", "default")
            if found["status"].get("phase") in ("Succeeded", "Failed"):
                break
            await asyncio.sleep(1)

    assert found["status"]["phase"] == "Succeeded"
