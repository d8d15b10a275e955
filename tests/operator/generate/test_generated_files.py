"""What is generated, given to the real kubectl and the real Helm."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaged import operator
from tests.conftest import Kubectl

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.operator import Operator, Settings
from cove.operator.generate import Options, generate, write

Doc = dict[str, Any]
DEPLOYMENTS = GVR("apps", "v1", "deployments")
RBAC = "rbac.authorization.k8s.io"


async def ready(cluster: EmbeddedCluster, name: str, namespace: str) -> Doc:
    """The Deployment, once its pods are ready."""
    async with (
        asyncio.timeout(20),
        cluster.client.watch(
            DEPLOYMENTS, namespace, field_selector=f"metadata.name={name}"
        ) as events,
    ):
        async for event in events:
            status = event.object.get("status", {})
            if status.get("readyReplicas") == event.object["spec"]["replicas"]:
                return event.object
    raise AssertionError("the watch ended")


def faults(lint: Doc) -> list[Doc]:
    """What Helm warns of, or worse."""
    return [*lint["errors"], *(m for m in lint["messages"] if m["severity"] > 1)]


def written(folder: Path, op: Operator, **options: Any) -> Path:
    write(generate("all", op, Options(**options)), folder)
    return folder


@pytest.mark.requires("kubectl")
async def test_the_installer_installs_all_of_it(
    cluster: EmbeddedCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    folder = written(
        tmp_path, operator(webhooks=True), namespace="shop", image="shop:1", replicas=2
    )

    await kubectl("apply", "-k", str(folder / "installer"))

    deployment = await ready(cluster, "shop-operator", "shop")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"
    again = await kubectl("apply", "-k", str(folder / "installer"))
    assert all(line.endswith("unchanged") for line in again.splitlines()), again
    assert await kubectl("get", "shops", "-A") == ""
    can = ("auth", "can-i", "--as", "system:serviceaccount:shop:shop-operator")
    assert (
        await kubectl(*can, "patch", "shops.shop.example.com", "--subresource=status", "-A")
        == "yes\n"
    )
    assert (await kubectl.attempt(*can, "delete", "shops.shop.example.com", "-A")).out == "no\n"


@pytest.mark.requires("kubectl")
async def test_an_installer_of_json_installs_the_same(
    cluster: EmbeddedCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    op = operator(webhooks=True)
    write(generate("all", op, format="json"), tmp_path / "json", "json")
    write(generate("all", op), tmp_path / "yaml")

    built = [await kubectl("kustomize", str(tmp_path / f / "installer")) for f in ("json", "yaml")]

    assert built[0] == built[1]
    assert built[0].count("\nkind: ") >= 8


@pytest.mark.requires("kubectl")
async def test_a_prefix_and_another_namespace_reach_every_reference(
    cluster: EmbeddedCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    folder = written(tmp_path, operator(webhooks=True), prefix="my-", namespace="shop")
    kustomization = folder / "installer/kustomization.yaml"
    text = kustomization.read_text().replace("newTag: latest", "newTag: '7'")
    kustomization.write_text(text)

    built = await kubectl("kustomize", str(folder / "installer"))

    docs = {d["kind"]: d for d in yaml.safe_load_all(built)}
    pod = docs["Deployment"]["spec"]["template"]["spec"]
    env = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
    assert docs["Service"]["metadata"]["name"] == env["COVE_OPERATOR_SERVICE"] == "my-shop-operator"
    assert pod["serviceAccountName"] == docs["ServiceAccount"]["metadata"]["name"]
    assert docs["ClusterRoleBinding"]["roleRef"]["name"] == docs["ClusterRole"]["metadata"]["name"]
    assert docs["ClusterRoleBinding"]["subjects"][0]["name"] == "my-shop-operator"
    assert docs["Namespace"]["metadata"]["name"] == "shop"
    assert docs["CustomResourceDefinition"]["metadata"]["name"] == "shops.shop.example.com"
    assert pod["containers"][0]["image"] == "shop-operator:7"


@pytest.mark.requires("helm")
async def test_the_chart_is_without_fault_and_installs(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    import helm_python

    folder = written(tmp_path, operator(webhooks=True), image="shop:1.2") / "chart"

    found = await asyncio.to_thread(helm_python.lint, folder, strict=False)
    with helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="shop") as config:
        released = await asyncio.to_thread(
            config.install,
            folder,
            "one",
            {"replicas": 2, "resources": {"limits": {"memory": "1Gi"}}},
            create_namespace=True,
            wait="watcher",
            timeout=30,
        )

    assert not faults(found), found
    assert released["status"] == "deployed"
    deployment = await ready(cluster, "one", "shop")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "shop:1.2"
    assert container["args"] == ["run", "shop_operator:op", "--elect"]
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
    rules = (await cluster.client.get(GVR(RBAC, "v1", "roles"), "one", "shop"))["rules"]
    assert any("leases" in rule["resources"] for rule in rules)
    assert await cluster.client.get(GVR(RBAC, "v1", "clusterroles"), "shop-one")
    services = GVR("", "v1", "services")
    assert (await cluster.client.get(services, "one", "shop"))["spec"]["ports"][0]["port"] == 443
    assert (await cluster.client.list(GVR("shop.example.com", "v1", "shops"))).items == []


@pytest.mark.requires("helm")
async def test_a_release_may_be_limited_to_its_namespace(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    import helm_python

    folder = written(tmp_path, operator()) / "chart"

    with helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="shop") as config:
        await asyncio.to_thread(
            config.install, folder, "one", {"namespaced": True}, create_namespace=True
        )

    deployment = await ready(cluster, "one", "shop")
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["run", "shop_operator:op", "--namespaced"]
    rules = (await cluster.client.get(GVR(RBAC, "v1", "roles"), "one", "shop"))["rules"]
    assert any("shops" in rule["resources"] for rule in rules)
    assert not any("leases" in rule["resources"] for rule in rules)
    names = [
        r["metadata"]["name"]
        for r in (await cluster.client.list(GVR(RBAC, "v1", "clusterroles"))).items
    ]
    assert "shop-one" not in names


@pytest.mark.requires("helm")
@pytest.mark.parametrize(
    "settings",
    [Settings(namespaced=True), Settings(namespaces=("a", "b")), Settings(shards=3)],
    ids=["namespaced", "namespaces", "shards"],
)
async def test_charts_of_other_settings_are_without_fault(
    tmp_path: Path, settings: Settings
) -> None:
    import helm_python

    folder = written(tmp_path, operator(settings)) / "chart"

    found = await asyncio.to_thread(helm_python.lint, folder)

    assert not faults(found), found
