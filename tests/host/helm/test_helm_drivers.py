"""The other ways to Helm: a command line, and a container.

``standin_helm.py`` stands for the binary; an image that shows what it was given stands for
Helm's.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shlex
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import helm_charts
import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.host.helm import (
    ContainerHelm,
    Deployed,
    HelmError,
    Order,
    Release,
    deploy,
    status,
    uninstall,
)
from cove.host.helm._cli import CommandHelm, arguments, environment
from cove.host.helm._container import container
from cove.host.helm._drivers import RefusedError
from cove.kube.gvk import GVR
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

DEPLOYMENTS = GVR("apps", "v1", "deployments")
SECRETS = GVR("", "v1", "secrets")
STANDIN = Path(__file__).with_name("standin_helm.py")
IMAGE = "cove.dev/helm-standin:1"
LABEL = "dev.cove.test.helm"

SCRIPT = """#!/bin/sh
exec >&2
for argument in "$@"; do echo "argument: $argument"; done
echo "values: $(cat /cove/values/values.yaml)"
for mount in kubeconfig chart values; do
  grep " /cove/$mount " /proc/mounts | grep -q ' ro,' && echo "read-only: $mount"
  touch /cove/$mount/written || true
done
while [ -e /cove/chart/hang ]; do sleep 1; done
exit 3
"""


def order(**changes: Any) -> Order:
    given: dict[str, Any] = {
        "action": "upgrade",
        "name": "web",
        "namespace": "shop",
        "kubeconfig": Path("/etc/kubeconfig"),
        "chart": "/charts/shop",
        "values": {"a.b,c.d=evil": "x"},
    }
    return Order(**{**given, **changes})


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return helm_charts.write(tmp_path / "shop")


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``helm`` on the PATH, the first one; what it is given is written to this file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    helm = folder / "helm"
    helm.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P {STANDIN} "$@"\n')
    helm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STANDIN_SEEN", str(tmp_path / "seen.json"))
    return tmp_path / "seen.json"


async def put(cluster: EmbeddedCluster, release: Release) -> Deployed:
    return await deploy(
        release,
        kubeconfig=cluster.kubeconfig_path,
        client=cluster.client,
        log=lambda line: None,
        driver="cli",
    )


def test_values_are_never_on_the_command_line() -> None:
    """They are in a file; what is on it is one argument each, whatever it contains."""
    found = arguments(
        order(repo="https://charts.test/a b", version=">=1, <2", chart="shop"),
        kubeconfig="/k",
        chart="shop",
        values="/v",
    )

    assert found == [
        "upgrade",
        "--kubeconfig=/k",
        "--namespace=shop",
        "--timeout=600000ms",
        "--wait",
        "--install",
        "--reset-values",
        "--values=/v",
        "--output=json",
        "--create-namespace",
        "--repo=https://charts.test/a b",
        "--version=>=1, <2",
        "--",
        "web",
        "shop",
    ]
    assert not [text for text in found if "evil" in text or text.startswith("--set")]


def test_nothing_in_the_environment_points_helm_elsewhere() -> None:
    found = environment(
        {
            "PATH": "/bin",
            "KUBECONFIG": "/other",
            "HELM_KUBEAPISERVER": "https://other",
            "HELM_NAMESPACE": "other",
            "HELM_DRIVER": "sql",
            "HELM_CACHE_HOME": "/cache",
        }
    )

    assert found == {"PATH": "/bin", "HELM_CACHE_HOME": "/cache", "HELM_DRIVER": "secret"}


@pytest.mark.requires("helm")
async def test_a_release_through_the_command_line(
    cluster: EmbeddedCluster, chart: Path, seen: Path
) -> None:
    """Upgraded or installed; its values in a file that nobody else can read, gone afterwards."""
    values = {"a.b,c.d=evil": "x,y={z}", "replicas": 2, "back\\slash": "'\"\u2028"}

    first = await put(cluster, Release("web", chart, namespace="shop", values=values))
    told = json.loads(seen.read_text())
    second = await put(cluster, Release("web", chart, namespace="shop"))

    import helm_python

    with helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="shop") as helm:
        kept = await asyncio.to_thread(helm.get_values, "web", revision=1)
    assert kept == values
    assert (first.revision, first.notes, second.revision) == (1, "web is served.", 2)
    assert told["modes"] == ["0o600", "0o700"]
    (file,) = (a.partition("=")[2] for a in told["arguments"] if a.startswith("--values="))
    assert not Path(file).exists()
    web = await cluster.client.get(DEPLOYMENTS, "web-web", "shop")
    assert web["spec"]["replicas"] == 1
    await uninstall("web", namespace="shop", kubeconfig=cluster.kubeconfig_path, driver="cli")
    assert await status("web", namespace="shop", client=cluster.client) is None


@pytest.mark.requires("helm")
async def test_a_refusal_of_the_command_line_is_told(
    cluster: EmbeddedCluster, chart: Path, seen: Path
) -> None:
    (chart / "templates" / "bad.yaml").write_text("{{ fail `no luck` }}")

    with pytest.raises(HelmError, match="no luck") as error:
        await put(cluster, Release("web", chart))

    assert "Error:" not in str(error.value)


@pytest.mark.requires("helm")
async def test_leaving_ends_the_command_line(
    cluster: EmbeddedCluster, chart: Path, seen: Path
) -> None:
    release = Release("web", chart, values={"simulate": "ready=never"})
    waiting = asyncio.create_task(put(cluster, release))
    selector = "owner=helm,status=pending-install"
    async with cluster.client.watch(SECRETS, "default", label_selector=selector) as events:
        await anext(events)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    found = await status("web", client=cluster.client)
    assert found is not None
    assert found.status == "failed"
    assert not Path(f"/proc/{json.loads(seen.read_text())['pid']}").exists()


async def test_without_a_binary_the_command_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))

    with pytest.raises(HelmError, match="no helm on the PATH; install Helm"):
        await uninstall("web", kubeconfig=tmp_path, driver="cli")


def test_every_mount_of_the_helper_container_is_read_only() -> None:
    """The chart's, the values', the credentials'."""
    found = container(
        order(),
        image="alpine/helm:3.19.0",
        kubeconfig_folder=Path("/state/container"),
        values_folder=Path("/tmp/values"),
        network="cove",
        extra_hosts=["host.docker.internal:host-gateway"],
        labels={"dev.cove.cluster": "k8s"},
    )

    mounts = {m["Target"]: (m["Source"], m["ReadOnly"]) for m in found["HostConfig"]["Mounts"]}
    assert mounts == {
        "/cove/kubeconfig": ("/state/container", True),
        "/cove/values": ("/tmp/values", True),
        "/cove/chart": ("/charts/shop", True),
    }
    assert "Binds" not in found["HostConfig"]
    assert (found["Image"], found["Entrypoint"]) == ("alpine/helm:3.19.0", ["helm"])
    assert found["Cmd"][-3:] == ["--", "web", "/cove/chart"]
    assert "--kubeconfig=/cove/kubeconfig/kubeconfig.yaml" in found["Cmd"]
    assert "--values=/cove/values/values.yaml" in found["Cmd"]
    assert found["HostConfig"]["NetworkMode"] == "cove"
    assert found["HostConfig"]["ExtraHosts"] == ["host.docker.internal:host-gateway"]
    assert found["Labels"] == {"dev.cove.cluster": "k8s"}


@pytest.mark.parametrize(
    ("chart", "repo", "inside"),
    [
        ("oci://registry.test/web", None, "oci://registry.test/web"),
        ("web", "https://charts.test", "web"),
        ("/charts/web-1.0.0.tgz", None, "/cove/chart/web-1.0.0.tgz"),
    ],
    ids=["registry", "repository", "packed"],
)
def test_the_helper_container_sees_the_chart(chart: str, repo: str | None, inside: str) -> None:
    found = container(
        order(chart=chart, repo=repo),
        image="helm",
        kubeconfig_folder=Path("/k"),
        values_folder=Path("/v"),
    )

    assert found["Cmd"][-1] == inside
    mounted = [m["Target"] for m in found["HostConfig"]["Mounts"]]
    assert (inside in mounted) is chart.startswith("/")


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """The Docker of this machine with a stand-in for Helm's image, made of busybox."""
    monkeypatch.delenv("COVE_CONTAINER_ENGINE", raising=False)
    address = find_engine("docker")
    assert address is not None
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "cat", "echo", "grep", "touch", "sleep", "true"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        script = tarfile.TarInfo("bin/helm")
        script.size, script.mode = len(SCRIPT), 0o755
        tar.addfile(script, io.BytesIO(SCRIPT.encode()))
    async with Engine(address) as found:
        await found.import_image(IMAGE, file.getvalue(), "ENV PATH=/bin")
        yield found
        assert await found.containers({LABEL: ""}) == []


def helper(engine: Engine, tmp_path: Path) -> ContainerHelm:
    folder = tmp_path / "kubeconfig"
    folder.mkdir()
    (folder / "kubeconfig.yaml").write_text("apiVersion: v1\n")
    return ContainerHelm(engine, kubeconfig_folder=folder, image=IMAGE, labels={LABEL: "yes"})


@pytest.mark.requires("docker")
async def test_helm_in_a_container_gets_what_it_needs_and_writes_nothing(
    engine: Engine, chart: Path, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError) as error:
        await helper(engine, tmp_path).run(order(chart=str(chart)))

    text = str(error.value)
    assert "argument: --values=/cove/values/values.yaml" in text
    assert "argument: /cove/chart" in text
    assert 'values: "a.b,c.d=evil": x' in text
    assert all(f"read-only: {mount}" in text for mount in ("kubeconfig", "chart", "values"))
    assert text.count("Read-only file system") == 3
    assert not (chart / "written").exists()


@pytest.mark.requires("docker")
async def test_leaving_removes_the_container_of_helm(
    engine: Engine, chart: Path, tmp_path: Path
) -> None:
    (chart / "hang").touch()
    opened = asyncio.Event()

    async def started() -> None:
        async with aclosing(engine.events({LABEL: "yes"}, opened.set)) as events:
            await anext(events)

    starting = asyncio.create_task(started())
    await opened.wait()
    waiting = asyncio.create_task(helper(engine, tmp_path).run(order(chart=str(chart))))
    await starting

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await engine.containers({LABEL: ""}) == []


@pytest.mark.requires("docker")
async def test_an_image_that_cannot_be_had_is_told(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "kubeconfig"
    folder.mkdir()
    missing = ContainerHelm(engine, kubeconfig_folder=folder, image="127.0.0.1:9/helm:1")

    with pytest.raises(RefusedError, match=r"the helper container \(127\.0\.0\.1:9/helm:1\)"):
        await missing.run(order())


async def test_the_file_of_values_is_gone_with_the_order(tmp_path: Path) -> None:
    """Also when Helm cannot be started at all."""
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("cove-helm-*"))

    with pytest.raises(RefusedError, match="cannot be started"):
        await CommandHelm(tmp_path / "no-helm").run(order())

    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("cove-helm-*")) <= before
