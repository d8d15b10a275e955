"""``cove operator`` and ``python -m my_operator`` as programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from tests.conftest import BIN, Done, execute

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR

CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
CACHES = GVR("cache.example.com", "v1", "caches")
CONFIG_MAPS = GVR("", "v1", "configmaps")
VALIDATING = GVR("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
COVE = str(BIN / "cove")


async def cove(folder: Path, *arguments: str, **env: str) -> Done:
    """``cove operator`` in a folder."""
    script = f"import os, sys; os.chdir({str(folder)!r}); from cove.cli import main; main()"
    return await execute(sys.executable, "-c", script, "operator", *arguments, **env)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffold."""
    from cove.operator.commands.scaffold import scaffold

    folder = tmp_path_factory.mktemp("new") / "cache-operator"
    scaffold("cache-operator", folder)
    return folder


@asynccontextmanager
async def running(
    folder: Path, cluster: EmbeddedCluster, *command: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the project, killed at the latest at the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def reconciled(cluster: EmbeddedCluster, name: str, namespace: str = "default") -> None:
    doc = {
        "apiVersion": "cache.example.com/v1",
        "kind": "Cache",
        "metadata": {"name": name},
        "spec": {"replicas": 2},
    }
    await cluster.client.create(CACHES, doc, namespace)
    async with asyncio.timeout(20):
        while True:
            found = await cluster.client.get(CACHES, name, namespace)
            if found.get("status") == {"ready": 2}:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "passed"), [((), 3), (("--no-webhook",), 2)], ids=["webhook", "plain"]
)
async def test_a_new_operator_passes_its_own_tests(
    tmp_path: Path, options: tuple[str, ...], passed: int
) -> None:
    new = ("operator", "new", "cache-operator", "--dir", str(tmp_path / "new"))
    done = await execute(COVE, *new, *options)
    script = f"import os, sys, pytest; os.chdir({str(tmp_path / 'new')!r}); sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))"
    tested = await execute(sys.executable, "-c", script)

    assert done.code == 0, done.err
    assert tested.code == 0, tested.out
    assert f"{passed} passed" in tested.out
    again = await execute(COVE, *new)
    assert (again.code, again.err) == (
        1,
        f"error: {tmp_path / 'new'}: there is something already; name another --dir\n",
    )


async def test_kinds_are_installed_brought_up_to_date_and_taken_away(
    cluster: EmbeddedCluster, project: Path
) -> None:
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}
    first = await cove(project, "install", **env)
    second = await cove(project, "install", **env)
    await cluster.client.create(
        CACHES,
        {"apiVersion": "cache.example.com/v1", "kind": "Cache", "metadata": {"name": "a"}},
        "default",
    )
    refused = await cove(project, "uninstall", **env)
    forced = await cove(project, "uninstall", "--force", **env)

    assert (first.code, second.code) == (0, 0), (first, second)
    assert first.err == "caches.cache.example.com is installed\n"
    assert refused.code == 1
    assert refused.err.startswith("error: there are still caches default/a: delete them first")
    assert (forced.code, forced.err) == (0, "caches.cache.example.com is gone\n")
    assert (await cluster.client.list(CRDS)).items == []


async def test_version_tells_the_operators_and_the_clusters(
    cluster: EmbeddedCluster, project: Path
) -> None:
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}

    said = await cove(project, "version", **env)
    data = await cove(project, "version", "-o", "json", **env)

    assert said.out.splitlines()[0] == "operator cache-operator"
    assert said.out.splitlines()[2].startswith("kubernetes 1.")
    assert yaml.safe_load(data.out)["operator"] == "cache-operator"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["term", "int"]
)
async def test_run_works_until_it_is_signalled(
    cluster: EmbeddedCluster, project: Path, number: signal.Signals, code: int
) -> None:
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}
    assert (await cove(project, "install", **env)).code == 0

    async with running(project, cluster, COVE, "operator", "run") as process:
        await reconciled(cluster, "a")
        # A developer's process serves its webhooks itself.
        assert len((await cluster.client.list(VALIDATING)).items) == 1
        process.send_signal(number)
        async with asyncio.timeout(20):
            await process.wait()

    assert process.returncode == code
    assert (await cluster.client.list(VALIDATING)).items == []


async def test_the_same_commands_are_the_operators_own(
    cluster: EmbeddedCluster, project: Path
) -> None:
    own = (sys.executable, "-m", "cache_operator")
    async with running(project, cluster, *own, "install") as process:
        assert await process.wait() == 0
    spaces = GVR("", "v1", "namespaces")
    await cluster.client.create(spaces, {"metadata": {"name": "shop"}})

    async with running(project, cluster, *own, "run", "--namespaced=shop") as process:
        await reconciled(cluster, "mine", "shop")
        other = {
            "metadata": {"name": "other"},
            "apiVersion": "cache.example.com/v1",
            "kind": "Cache",
        }
        await cluster.client.create(CACHES, other, "default")
        await reconciled(cluster, "later", "shop")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0

    assert "status" not in await cluster.client.get(CACHES, "other", "default")


async def test_bare_namespaced_is_the_own_namespace(
    cluster: EmbeddedCluster, project: Path, tmp_path: Path
) -> None:
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}
    assert (await cove(project, "install", **env)).code == 0
    spaces = GVR("", "v1", "namespaces")
    await cluster.client.create(spaces, {"metadata": {"name": "shop"}})
    config = yaml.safe_load(cluster.kubeconfig)
    config["contexts"][0]["context"]["namespace"] = "shop"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))

    arguments = ("operator", "run", "cache_operator:op", "--namespaced", "--kubeconfig", str(file))
    async with running(project, cluster, COVE, *arguments) as process:
        await reconciled(cluster, "mine", "shop")
        doc = {"metadata": {"name": "other"}, "apiVersion": "cache.example.com/v1", "kind": "Cache"}
        await cluster.client.create(CACHES, doc, "default")
        await reconciled(cluster, "later", "shop")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0

    assert "status" not in await cluster.client.get(CACHES, "other", "default")


async def test_generate_prints_or_writes_by_the_table(project: Path) -> None:
    printed = await cove(project, "generate", "rbac", "cache_operator", "--format", "json")
    # The table of the project says where it goes.
    written = await cove(project, "generate", "all", KUBECONFIG="/nowhere")
    again = await cove(project, "generate", "all", "--format", "yaml", KUBECONFIG="/nowhere")

    assert printed.code == 0, printed.err
    assert written.code == 0, written.err
    deployment = yaml.safe_load((project / "deploy/operator/deployment.yaml").read_text())
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["args"]) == (
        "cache-operator:0.1.0",
        ["run", "cache_operator:op"],
    )
    assert deployment["metadata"]["namespace"] == "cache-operator"
    assert (project / "deploy/chart/values.yaml").exists()
    assert {line.rpartition(": ")[2] for line in again.err.splitlines()} == {"unchanged"}


async def test_webhooks_are_registered_at_a_service(
    cluster: EmbeddedCluster, project: Path
) -> None:
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}
    spaces = GVR("", "v1", "namespaces")
    await cluster.client.create(spaces, {"metadata": {"name": "shop"}})

    done = await cove(project, "webhook", "install", "--namespace", "shop", **env)

    assert done.code == 0, done.err
    (found,) = (await cluster.client.list(VALIDATING)).items
    config = found["webhooks"][0]["clientConfig"]
    assert (config["service"]["namespace"], config["service"]["name"]) == ("shop", "cache-operator")
    assert config["caBundle"]
    secrets = GVR("", "v1", "secrets")
    assert await cluster.client.get(secrets, "cache-operator-webhooks", "shop")


async def test_webhooks_are_served_until_interrupted(
    cluster: EmbeddedCluster, project: Path
) -> None:
    env = {"KUBECONFIG": str(cluster.kubeconfig_path)}
    assert (await cove(project, "install", **env)).code == 0

    async with running(project, cluster, COVE, "operator", "webhook", "register") as process:
        async with asyncio.timeout(20):
            while not (await cluster.client.list(VALIDATING)).items:
                await asyncio.sleep(0.02)
            assert process.stdout is not None
            line = await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() == 130

    assert line.startswith(b"the webhooks of cache-operator are registered at https://")
    assert (await cluster.client.list(VALIDATING)).items == []


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("run", "nothing:op"), 1, "error: nothing:op: there is no module nothing: looked in "),
        (("run", "cache_operator:up"), 1, "cache_operator has no operator 'up'; there are: op"),
        (("run", "missing.py"), 1, "missing.py: there is no such file"),
        (("run", "--namespaced="), 2, "names no namespace"),
        (("generate", "crds"), 2, "No such command"),
        (("install", "--kubeconfig", "/nowhere"), 1, "error: /nowhere: there is no such file"),
        (("new", "Cache Operator"), 1, "a name is of lower-case letters"),
    ],
    ids=["module", "operator", "file", "namespace", "generator", "kubeconfig", "name"],
)
async def test_what_is_wrong_is_told_and_exits(
    project: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    done = await cove(project, *arguments)

    assert done.code == code, done
    assert why in done.err


async def test_without_a_name_and_a_table_the_operator_has_to_be_named(tmp_path: Path) -> None:
    done = await cove(tmp_path, "run")

    assert done.code == 1
    assert done.err.startswith(
        "error: which operator? Name MODULE:OPERATOR, or say it in pyproject"
    )
