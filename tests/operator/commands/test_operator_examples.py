"""The examples of operators, run as their pages say, on the embedded engine."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from tests.conftest import BIN, Kubectl, execute

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator import ObjectMeta
from cove.operator.kinds import Deployment
from cove.testing import operating

Doc = dict[str, Any]
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
GREETINGS = GVR("greetings.example.com", "v1", "greetings")
SHOPS = GVR("shops.example.com", "v1", "shops")
COVE = str(BIN / "cove")


@asynccontextmanager
async def running(
    folder: str, cluster: EmbeddedCluster, *command: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that is told to stop at the end, and does."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=EXAMPLES / folder,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(cluster: EmbeddedCluster, gvr: GVR, name: str, fits: Callable[[Doc], bool]) -> Doc:
    last: Doc = {}
    try:
        async with (
            asyncio.timeout(20),
            cluster.client.watch(gvr, "default", field_selector=f"metadata.name={name}") as events,
        ):
            async for event in events:
                last = event.object
                if event.type in ("ADDED", "MODIFIED") and fits(last):
                    return last
    except TimeoutError:
        raise AssertionError(f"{name} stays {last.get('status')}") from None
    raise AssertionError("the watch ended")


@pytest.mark.parametrize(
    "command",
    [(sys.executable, "greeter.py"), (COVE, "operator", "greeter.py")],
    ids=["main", "cove"],
)
async def test_fifteen_lines_are_an_operator(
    cluster: EmbeddedCluster, command: tuple[str, ...]
) -> None:
    file = EXAMPLES / "operator-small" / "greeter.py"
    assert len([line for line in file.read_text().splitlines() if line.strip()]) == 15
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}
    installed = await execute(COVE, "operator", "install", str(file), **env)
    assert installed.code == 0, installed.err
    arguments = (*command[:2], "run", *command[2:])

    async with running("operator-small", cluster, *arguments):
        for name in ("a", "b"):
            doc = {"metadata": {"name": name}, "spec": {"name": f"{name}!"}}
            kind = {"apiVersion": "greetings.example.com/v1", "kind": "Greeting"}
            await cluster.client.create(GREETINGS, {**kind, **doc}, "default")
            await until(
                cluster,
                GREETINGS,
                name,
                lambda g, n=name: g.get("status") == {"text": f"Hello, {n}!!"},  # type: ignore[misc]
            )


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ((sys.executable, "FILE", "generate", "operator"), "greeter"),
        ((COVE, "operator", "generate", "operator", "FILE:op"), "greeter:op"),
        ((COVE, "operator", "generate", "operator", "FILE"), "greeter"),
    ],
    ids=["main", "named", "file"],
)
async def test_a_pod_runs_what_was_named(command: tuple[str, ...], runs: str) -> None:
    file = str(EXAMPLES / "operator-small" / "greeter.py")

    done = await execute(*(part.replace("FILE", file) for part in command))

    assert done.code == 0, done.err
    deployment = next(iter(yaml.safe_load_all(done.out)))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == ["run", runs]


@pytest.fixture
def shop() -> Iterator[ModuleType]:
    """The module of the example."""
    file = EXAMPLES / "operator-shop" / "shop.py"
    spec = importlib.util.spec_from_file_location("example_shop", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_shop"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["example_shop"]


@pytest.mark.requires("kubectl")
async def test_a_shop_has_children_and_webhooks(cluster: EmbeddedCluster, kubectl: Kubectl) -> None:
    file = str(EXAMPLES / "operator-shop" / "shop.py")
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}
    installed = await execute(COVE, "operator", "install", file, **env)
    assert installed.code == 0, installed.err
    webhooks = GVR("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")

    async with running("operator-shop", cluster, COVE, "operator", "run", "shop.py"):
        async with asyncio.timeout(20):
            while not (await cluster.client.list(webhooks)).items:
                await asyncio.sleep(0.02)
        doc = {
            "apiVersion": "shops.example.com/v1",
            "kind": "Shop",
            "metadata": {"name": "books"},
            "spec": {"image": "nginx", "clerks": 4},
        }
        made = await cluster.client.create(SHOPS, doc, "default")
        await until(cluster, SHOPS, "books", lambda s: s.get("status", {}).get("ready") == 4)
        table = await kubectl("get", "shops")
        with pytest.raises(StatusError, match="at most half of 4 may go at once"):
            await cluster.client.patch(SHOPS, "books", {"spec": {"clerks": 1}}, "default")
        await cluster.client.patch(SHOPS, "books", {"spec": {"clerks": 2}}, "default")
        await until(cluster, SHOPS, "books", lambda s: s["status"]["ready"] == 2)

    assert made["spec"]["image"] == "nginx:latest"
    assert table.splitlines()[1].split()[:4] == ["books", "4", "4", "http://books.default.svc"]


async def test_the_shop_needs_no_more_rights_than_are_generated(
    cluster: EmbeddedCluster, shop: ModuleType
) -> None:
    async with operating(shop.op, cluster, rbac=True, follow=[Deployment]) as world:
        wanted = shop.Shop(metadata=ObjectMeta(name="a"), spec=shop.ShopSpec(image="nginx:1"))
        made = await world.create(wanted)
        await world.eventually(lambda: world.get(shop.Shop, "a").status.ready == 1, 20)
        await world.finalize(made)
        await world.eventually(lambda: world.find(Deployment, "a") is None, 20)

        assert not world.audit.refused
        assert not world.report().missing
