"""The small examples of host, testing and operators, over a cluster that exists: one variable.

It is a second embedded server, which they know by its kubeconfig and by nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from command import Cove

from cove.engines.cluster import ClusterOptions
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.engines.existing import LABEL
from cove.engines.select import open_cluster
from cove.kube.gvk import GVR
from cove.operator import Ctx, Entity, ObjectMeta, Operator, RbacRule, entity
from cove.testing import operating

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
# Of each face a piece of its own suite; `make test-existing` runs all of them.
PIECES = {
    "host": ("tests/host/manifests/test_manifest_apply.py", "tests/host/test_diagnose.py"),
    "testing": ("tests/testing/kubernetes/test_calls_of_tests.py",),
    "dev": ("tests/dev/test_dev_loop.py", "-k", "test_a_change_is_built_pushed"),
    "operator": ("tests/operator/runtime/test_finalizers.py",),
    "files": ("tests/files/test_files_discovery.py",),
}
CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
NAMESPACES = GVR("", "v1", "namespaces")
GREETINGS = GVR("greetings.example.com", "v1", "greetings")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")
BINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
WAIT = 30

GREETER = """
from greeter import op

import cove
from cove.testing import environment, operator

@environment
class Greetings:
    k8s = cove.cluster()
    greeter = operator(op)

def test_it_greets(k8s):
    k8s.apply({"apiVersion": "greetings.example.com/v1", "kind": "Greeting",
               "metadata": {"name": "a"}, "spec": {"name": "you"}})
    k8s.wait_for("greeting/a", "jsonpath={.status.text}=Hello, you!")
"""

SUITE = """
import cove
from cove.testing import environment

@environment
class Shop:
    k8s = cove.cluster()

    def setup(self):
        self.k8s.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "warm"}})

def test_starts_warm(k8s):
    assert k8s.exists("cm/warm")
    k8s.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}})

def test_is_alone(k8s, timeline):
    assert not k8s.exists("cm/own")
    assert timeline.calls
"""


@entity("keeper.example.com/v1")
class Kept(Entity):
    """Something with a finalizer."""


@pytest.fixture
async def elsewhere(cove: Cove) -> AsyncIterator[EmbeddedCluster]:
    """The cluster; ``cove`` knows its kubeconfig, and the engine."""
    async with embedded() as cluster:
        config = cove.home.parent / "kubeconfig"
        config.write_text(cluster.kubeconfig)
        config.chmod(0o600)
        cove.env.update(KUBECONFIG=str(config), COVE_ENGINE="existing")
        yield cluster


async def run(cove: Cove, *arguments: str | Path) -> Any:
    done = await asyncio.to_thread(cove.attempt, *map(str, arguments))
    assert done.code == 0, done.err
    return done


@asynccontextmanager
async def running(cove: Cove, file: Path) -> AsyncIterator[None]:
    """The small application, ended even if it did not start."""
    try:
        await run(cove, "up", file, "--detach")
        yield
    finally:
        await asyncio.to_thread(cove.attempt, "down", "small")


async def test_the_small_application_runs_there_and_leaves_the_cluster_up(
    elsewhere: EmbeddedCluster, cove: Cove, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    shutil.copytree(EXAMPLES / "small", folder)

    async with running(cove, folder / "app.py"):
        done = await run(cove, "status", "--app", "small", "-o", "json")
        rows = {row["name"]: row for row in json.loads(done.out)}
        async with (
            aiohttp.ClientSession() as session,
            session.get(rows["api"]["url"]) as answer,
        ):
            text = await answer.text()

    assert rows["k8s"]["url"] == elsewhere.url
    assert {name: row["state"] for name, row in rows.items()} == {
        "k8s": "Running",
        "web": "Finished",
        "page": "Running",
        "api": "Running",
    }
    assert "is Running" in text
    assert (await elsewhere.client.list(DEPLOYMENTS, "default")).items
    assert not (cove.home / "clusters").exists()


async def test_an_application_has_a_namespace_of_its_own_there_and_takes_it_back(
    elsewhere: EmbeddedCluster, cove: Cove, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    shutil.copytree(EXAMPLES / "small", folder)
    file = folder / "app.py"
    file.write_text(
        file.read_text().replace('app.cluster("k8s")', 'app.cluster("k8s", namespace="mine")')
    )

    async with running(cove, file):
        there = (await elsewhere.client.list(DEPLOYMENTS)).items
        namespace = await elsewhere.client.get(NAMESPACES, "mine")
        log = (await run(cove, "logs", "k8s")).out

    assert {d["metadata"]["namespace"] for d in there} == {"mine"}
    assert namespace["metadata"]["labels"][LABEL] == "small-k8s"
    assert "the namespace mine was made in the context" in log
    async with asyncio.timeout(WAIT):
        while any(
            n["metadata"]["name"] == "mine" for n in (await elsewhere.client.list(NAMESPACES)).items
        ):
            await asyncio.sleep(0.05)


async def test_a_namespace_of_somebody_else_is_used_and_stays(
    elsewhere: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch, cove: Cove
) -> None:
    monkeypatch.setenv("KUBECONFIG", cove.env["KUBECONFIG"])
    monkeypatch.setenv("COVE_HOME", str(cove.home))
    said: list[str] = []
    await elsewhere.client.create(NAMESPACES, {"metadata": {"name": "theirs"}})
    options = ClusterOptions(namespace="theirs")

    async with open_cluster("k8s", options, engine="existing", log=said.append) as cluster:
        doc = yaml.safe_load(cluster.kubeconfig_path.read_text())
        assert cluster.namespace == "theirs"
        assert doc["contexts"][0]["context"]["namespace"] == "theirs"

    assert (await elsewhere.client.get(NAMESPACES, "theirs"))["status"]["phase"] == "Active"
    assert any("is used as it is" in line for line in said)


async def test_a_namespace_that_a_crash_left_is_taken_back_by_the_next_session(
    elsewhere: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch, cove: Cove
) -> None:
    monkeypatch.setenv("KUBECONFIG", cove.env["KUBECONFIG"])
    monkeypatch.setenv("COVE_HOME", str(cove.home))
    said: list[str] = []
    left = {"metadata": {"name": "mine", "labels": {LABEL: "k8s"}}}
    await elsewhere.client.create(NAMESPACES, left)

    async with open_cluster(
        "k8s", ClusterOptions(namespace="mine"), engine="existing", log=said.append
    ):
        assert any("is of an earlier session" in line for line in said)

    assert any("is deleted from the context" in line for line in said)
    found = (await elsewhere.client.list(NAMESPACES)).items
    phases = {n["metadata"]["name"]: n["status"]["phase"] for n in found}
    assert phases.get("mine", "Terminating") == "Terminating"


async def test_a_suite_of_tests_runs_there_and_leaves_nothing(
    elsewhere: EmbeddedCluster, cove: Cove, tmp_path: Path
) -> None:
    before = {n["metadata"]["name"] for n in (await elsewhere.client.list(NAMESPACES)).items}
    (tmp_path / "test_small.py").write_text(SUITE)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_small.py"),
        cwd=tmp_path,
        env=cove.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()

    assert process.returncode == 0, out.decode()
    assert "2 passed" in out.decode()
    async with asyncio.timeout(WAIT):
        while True:
            found = (await elsewhere.client.list(NAMESPACES)).items
            # A namespace ends in its own time.
            if {n["metadata"]["name"] for n in found} == before:
                break
            await asyncio.sleep(0.05)


async def test_the_small_operator_works_there(elsewhere: EmbeddedCluster, cove: Cove) -> None:
    file = EXAMPLES / "operator-small" / "greeter.py"
    await run(cove, "operator", "install", file)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cove.cli", "operator", "run", str(file)),
        env=cove.environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        greeting = {"metadata": {"name": "a"}, "spec": {"name": "you"}}
        await elsewhere.client.create(
            GREETINGS,
            {"apiVersion": "greetings.example.com/v1", "kind": "Greeting", **greeting},
            "default",
        )
        async with asyncio.timeout(WAIT):
            while True:
                found = await elsewhere.client.get(GREETINGS, "a", "default")
                if (found.get("status") or {}).get("text") == "Hello, you!":
                    break
                await asyncio.sleep(0.05)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()


@pytest.mark.parametrize("face", PIECES)
async def test_a_piece_of_the_suite_of_every_face_runs_there(face: str) -> None:
    """``COVE_TEST_ENGINE=existing``: the clusters are another process's."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PIECES[face]),
        cwd=ROOT,
        env={**os.environ, "COVE_TEST_ENGINE": "existing"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()

    assert process.returncode == 0, out.decode()


async def test_the_example_of_a_test_suite_runs_there_and_leaves_nothing(
    elsewhere: EmbeddedCluster, cove: Cove, tmp_path: Path
) -> None:
    """What only the embedded engine can do, and what cove does not know there, says so."""
    before = await left_over(elsewhere)
    folder = tmp_path / "testing"
    shutil.copytree(EXAMPLES / "testing", folder)

    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
        ),
        *("-n", "2"),
        cwd=folder,
        env=cove.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    text = out.decode()

    assert process.returncode == 0, text
    assert "5 passed" in text.splitlines()[-1], text
    assert "11 skipped" in text.splitlines()[-1], text
    assert "clocks need the embedded engine; k8s is existing" in text
    assert "a test can start from another's end on the embedded engine" in text
    async with asyncio.timeout(WAIT):
        while await left_over(elsewhere) != before:
            await asyncio.sleep(0.05)


async def left_over(cluster: EmbeddedCluster) -> set[str]:
    """What tests may leave in no namespace, and the namespaces."""
    return {
        f"{gvr.resource}/{doc['metadata']['name']}"
        for gvr in (NAMESPACES, CRDS, ROLES, BINDINGS)
        for doc in (await cluster.client.list(gvr)).items
    }


async def test_a_definition_that_was_there_before_stays(
    elsewhere: EmbeddedCluster, cove: Cove, tmp_path: Path
) -> None:
    await run(cove, "operator", "install", EXAMPLES / "operator-small" / "greeter.py")
    shutil.copy(EXAMPLES / "operator-small" / "greeter.py", tmp_path)
    (tmp_path / "test_greeter.py").write_text(GREETER)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_greeter.py"),
        cwd=tmp_path,
        env=cove.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()

    assert process.returncode == 0, out.decode()
    assert "greetings.greetings.example.com" in {
        doc["metadata"]["name"] for doc in (await elsewhere.client.list(CRDS)).items
    }


async def test_finalizers_of_what_a_test_has_left_run_before_its_operator_ends(
    elsewhere: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch, cove: Cove
) -> None:
    monkeypatch.setenv("KUBECONFIG", cove.env["KUBECONFIG"])
    monkeypatch.setenv("COVE_HOME", str(cove.home))
    gone: list[str] = []
    op = Operator("keeper")
    op.rbac(RbacRule(resources="nodes", verbs="get", scope="cluster"))

    @op.controller(Kept)
    class Keeper:
        async def reconcile(self, kept: Kept, ctx: Ctx) -> None: ...

        async def finalize(self, kept: Kept, ctx: Ctx) -> None:
            gone.append(kept.metadata.name)

    before = await left_over(elsewhere)
    async with open_cluster("k8s", ClusterOptions(), engine="existing", log=print) as cluster:
        async with operating(op, cluster, rbac=True) as world:
            made = await world.create(Kept(metadata=ObjectMeta(name="a")))
            await world.eventually(lambda: bool(world.get(Kept, "a").metadata.finalizers))

    assert made.metadata.namespace.startswith("test-keeper-")
    assert gone == ["a"]
    async with asyncio.timeout(WAIT):
        while await left_over(elsewhere) != before:
            await asyncio.sleep(0.05)
