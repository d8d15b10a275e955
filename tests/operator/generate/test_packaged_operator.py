"""What is generated runs in a cluster whose pods are containers, as its own service account."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from python_image import make_image
from tests.conftest import Kubectl
from tests.elsewhere import serving

from cove.client import Client
from cove.kube.gvk import GVR
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine
from cove.operator.generate import Options, generate, write

Doc = dict[str, Any]
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FILES = {
    "greeter": EXAMPLES / "operator-small" / "greeter.py",
    "shop": EXAMPLES / "operator-shop" / "shop.py",
    "schedules": EXAMPLES / "operator-versions" / "schedules.py",
}
PODS = GVR("", "v1", "pods")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
LEASES = GVR("coordination.k8s.io", "v1", "leases")
MUTATING = GVR("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
PATIENCE = 60


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """The Docker of this machine."""
    monkeypatch.delenv("COVE_CONTAINER_ENGINE", raising=False)
    address = find_engine("docker")
    assert address is not None
    async with Engine(address) as found:
        yield found


@pytest.fixture
def load() -> Iterator[Callable[[str], ModuleType]]:
    """Loads the module of an example."""
    made: list[str] = []

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"packaged_{name}", FILES[name])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        made.append(spec.name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in made:
        del sys.modules[name]


async def until(client: Client, gvr: GVR, namespace: str, fits: Callable[[Doc], bool]) -> Doc:
    last: Doc = {}
    try:
        async with asyncio.timeout(PATIENCE), client.watch(gvr, namespace) as events:
            async for event in events:
                last = event.object
                if event.type in ("ADDED", "MODIFIED") and fits(last):
                    return last
    except TimeoutError:
        told = (await client.list(GVR("", "v1", "events"), namespace)).items
        lines = [f"{e['reason']}: {e.get('message')}" for e in told]
        raise AssertionError(f"it stays {last.get('status')}; {lines}") from None
    raise AssertionError("the watch ended")


def ready(replicas: int) -> Callable[[Doc], bool]:
    return lambda doc: bool(doc.get("status", {}).get("readyReplicas") == replicas)


@pytest.mark.requires("docker", "root", "kubectl")
async def test_an_example_runs_in_the_cluster_as_it_was_generated(
    engine: Engine, load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    image = await make_image(engine, *FILES.values())
    options = Options(module="greeter:op", image=image, namespace="greetings", replicas=2)
    write(generate("all", load("greeter").op, options), tmp_path)

    async with serving(container_engine="docker") as cluster:
        client = cluster.client
        await Kubectl(cluster.kubeconfig_path)("apply", "-k", str(tmp_path / "installer"))
        await until(client, DEPLOYMENTS, "greetings", ready(2))
        greetings = GVR("greetings.example.com", "v1", "greetings")
        doc = {
            "apiVersion": "greetings.example.com/v1",
            "kind": "Greeting",
            "metadata": {"name": "a"},
            "spec": {"name": "cluster"},
        }
        await client.create(greetings, doc, "default")
        said = await until(client, greetings, "default", lambda g: bool(g.get("status")))
        (leader,) = (await client.list(LEASES, "greetings")).items
        pods = {p["metadata"]["name"] for p in (await client.list(PODS, "greetings")).items}

    assert said["status"] == {"text": "Hello, cluster!"}
    assert "greeter" in {m["manager"] for m in said["metadata"]["managedFields"]}
    assert leader["spec"]["holderIdentity"].partition("_")[0] in pods
    assert (await engine.image(image) or {})["Size"] < 200 * 1024 * 1024


@pytest.mark.requires("docker", "root", "kubectl")
async def test_webhooks_are_asked_through_the_service_that_was_generated(
    engine: Engine, load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    image = await make_image(engine, *FILES.values())
    options = Options(module="shop:op", image=image, namespace="shops", prefix="my-")
    write(generate("all", load("shop").op, options), tmp_path)

    async with serving(container_engine="docker") as cluster:
        client = cluster.client
        await Kubectl(cluster.kubeconfig_path)("apply", "-k", str(tmp_path / "installer"))
        await until(client, DEPLOYMENTS, "shops", ready(1))
        (hooks,) = (await client.list(MUTATING)).items
        shops = GVR("shops.example.com", "v1", "shops")
        doc = {
            "apiVersion": "shops.example.com/v1",
            "kind": "Shop",
            "metadata": {"name": "books"},
            "spec": {"image": "example.com/books", "clerks": 0},
        }
        made = await client.create(shops, doc, "default")
        open_ = await until(client, shops, "default", lambda s: bool(s.get("status")))
        child = await client.get(DEPLOYMENTS, "books", "default")

    assert hooks["webhooks"][0]["clientConfig"]["service"]["name"] == "my-shop-operator"
    assert made["spec"]["image"] == "example.com/books:latest"
    assert open_["status"]["url"] == "http://books.default.svc"
    assert child["metadata"]["ownerReferences"][0]["name"] == "books"


@pytest.mark.requires("docker", "root", "kubectl")
async def test_versions_are_converted_through_the_service_that_was_generated(
    engine: Engine, load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    image = await make_image(engine, *FILES.values())
    options = Options(module="schedules:op", image=image, namespace="schedules")
    write(generate("all", load("schedules").op, options), tmp_path)

    async with serving(container_engine="docker") as cluster:
        client = cluster.client
        await Kubectl(cluster.kubeconfig_path)("apply", "-k", str(tmp_path / "installer"))
        await until(client, DEPLOYMENTS, "schedules", ready(1))
        newest = GVR("schedules.example.com", "v1", "schedules")
        oldest = GVR("schedules.example.com", "v1alpha1", "schedules")
        doc = {
            "apiVersion": "schedules.example.com/v1alpha1",
            "kind": "Schedule",
            "metadata": {"name": "daily"},
            "spec": {"cron": "30 7"},
        }
        await client.create(oldest, doc, "default")
        told = await until(client, newest, "default", lambda s: bool(s["status"].get("next")))
        again = await client.get(oldest, "daily", "default")

    assert told["spec"] == {"times": [{"hour": 7, "minute": 30}], "zone": "UTC"}
    assert told["status"] == {"next": "07:30 UTC"}
    assert again["spec"] == {"cron": "30 7"}
