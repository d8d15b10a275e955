"""Containers of an application, in a real engine: references, ends, what stays and what goes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from app_world import deployment, service
from programs import SERVER, python
from tests.elsewhere import ELSEWHERE

from cove import App
from cove.host import BlockedError, Host, State
from cove.host.containers import Wanted, changed, configuration, fingerprint
from cove.host.references import ContainerParts
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

IMAGE = "cove.dev/host:1"
pytestmark = pytest.mark.requires("docker")


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """The Docker of this machine, with an image of busybox; nothing of ours is left in it."""
    monkeypatch.delenv("COVE_CONTAINER_ENGINE", raising=False)
    address = find_engine("docker")
    assert address is not None
    async with Engine(address) as found:
        if await found.image(IMAGE) is None:
            await found.import_image(IMAGE, _busybox(), 'CMD ["/bin/sh"]')
        yield found
        left = {"dev.cove.app": "shop"}
        assert await found.containers(left) == []
        assert await found.networks(left) == []


def _busybox(script: str = "") -> bytes:
    """A file system of busybox, with ``script`` as its helm."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        if script:
            text = f"#!/bin/sh\n{script}\n".encode()
            program = tarfile.TarInfo("bin/helm")
            program.size, program.mode = len(text), 0o755
            tar.addfile(program, io.BytesIO(text))
        tar.add("/bin/busybox", "bin/busybox")
        for applet in [
            "sh",
            "sleep",
            "echo",
            "cat",
            "env",
            "httpd",
            "wget",
            "true",
            "false",
            "ls",
            "touch",
            "sed",
            "trap",
            "printf",
            "tr",
        ]:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "etc", "www"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(folder)
    return file.getvalue()


def said(host: Host, name: str) -> list[str]:
    return [line.text for line in host.logs.recent([name])]


async def test_a_container_runs_says_and_ends(app: App, engine: Engine) -> None:
    app.container("good", IMAGE, command=["sh", "-c", "echo $MINE"], env={"MINE": "hello"})
    app.container("bad", IMAGE, command=["sh", "-c", "echo no >&2; exit 5"])
    async with app.run() as host:
        await host.wait("good", "completed")
        assert said(host, "good") == ["hello"]
        with pytest.raises(BlockedError, match="bad is Exited: it ended with exit code 5"):
            await host.wait("bad", "completed")
        assert "no" in said(host, "bad")


async def test_an_image_that_is_not_there_says_what_to_do(app: App, engine: Engine) -> None:
    app.container("one", "cove.dev/none:1", pull="never")
    app.container("two", "localhost:1/none:1")
    async with app.run() as host:
        with pytest.raises(BlockedError, match=r"there is no image cove\.dev/none:1"):
            await host.wait("one")
        with pytest.raises(
            BlockedError, match=r"image localhost:1/none:1 is not in .* and cannot be fetched"
        ):
            await host.wait("two")


async def test_a_container_with_a_port_is_reached_from_here_and_by_its_name(
    app: App, engine: Engine
) -> None:
    serve = ["sh", "-c", "echo hi > /www/index.html; httpd -f -p 80 -h /www"]
    app.container("web", IMAGE, command=serve, ports={80: 0}, health="/index.html")
    asks = ["sh", "-c", "wget -q -O - $services__web__url/index.html"]
    app.container("asks", IMAGE, command=asks).reference("web").wait_for("web")
    look = python(
        "import os, urllib.request as r; print(r.urlopen(os.environ['services__web__url'] + '/index.html').read())"
    )
    app.process("looks", look).reference("web").wait_for("web")
    async with app.run() as host:
        await host.wait("asks", "completed")
        await host.wait("looks", "completed")
        assert said(host, "asks") == ["hi"]
        assert said(host, "looks") == ["b'hi\\n'"]


async def test_a_container_reaches_a_process_of_this_machine(app: App, engine: Engine) -> None:
    app.process("web", python(SERVER), port=0, health="/")
    asks = ["sh", "-c", "echo $services__web__url; wget -q -O - $services__web__url/x && echo ok"]
    app.container("asks", IMAGE, command=asks).reference("web").wait_for("web")
    async with app.run() as host:
        await host.wait("asks", "completed")
        url, ok = said(host, "asks")
        assert url.startswith("http://host.docker.internal:")
        assert ok == "ok"


async def test_a_container_reaches_the_cluster_and_verifies_it(app: App, engine: Engine) -> None:
    k8s = app.cluster("k8s")
    app.container(
        "look",
        IMAGE,
        command=["sh", "-c", "cat $KUBECONFIG; touch $KUBECONFIG.x || echo read-only"],
    ).reference(k8s, k8s)
    async with app.run(container_engine="docker") as host:
        await host.wait("look", "completed")
        config = "\n".join(said(host, "look"))
        assert "https://host.docker.internal:" in config
        assert "insecure" not in config
        assert "certificate-authority-data" in config
        assert "read-only" in said(host, "look")


async def test_an_endpoint_is_reached_from_containers(app: App, engine: Engine) -> None:
    command = '["sh", "-c", "echo from the pod > /www/index.html; httpd -f -p 8080 -h /www"]'
    (app.root / "web.yaml").write_text(deployment(image=IMAGE, command=command) + "---" + service())
    k8s = app.cluster("k8s")
    k8s.manifests("web", "web.yaml")
    url = k8s.endpoint("url", service="web", port=80)
    asks = ["sh", "-c", "wget -q -O - $services__url__url/index.html"]
    app.container("asks", IMAGE, command=asks).reference(url).wait_for(url)
    look = python(
        "import os, urllib.request as r; print(r.urlopen(os.environ['services__url__url'] + '/index.html').read())"
    )
    app.process("looks", look).reference(url).wait_for(url)
    async with app.run(container_engine="docker") as host:
        await host.wait("asks", "completed", timeout=60)
        await host.wait("looks", "completed", timeout=60)
        assert said(host, "asks") == ["from the pod"]
        assert said(host, "looks") == ["b'from the pod\\n'"]
        if not ELSEWHERE:
            assert host.board["k8s"].properties["pods"] == "containers"


async def test_mounts_are_read_only_and_volumes_stay(app: App, engine: Engine) -> None:
    (app.root / "conf").mkdir()
    (app.root / "conf" / "x").write_text("configured\n")
    script = (
        "cat /conf/x; touch /conf/y || echo read-only; cat /data/z || true; echo kept > /data/z"
    )
    app.container(
        "c",
        IMAGE,
        command=["sh", "-c", script],
        mounts={"/conf": "conf"},
        volumes={"/data": "data"},
    )
    try:
        for expected in (2, 3):
            async with app.run() as host:
                await host.wait("c", "completed")
                text = [
                    line
                    for line in said(host, "c")
                    if "No such" not in line and "Read-only" not in line
                ]
                assert text[:2] == ["configured", "read-only"]
                assert len(text) == expected
    finally:
        await (await engine.docker.volumes.get("cove-shop-data")).delete()


async def test_a_mount_that_is_not_there_is_told(app: App, engine: Engine) -> None:
    app.container("c", IMAGE, mounts={"/conf": "none"})
    async with app.run() as host:
        with pytest.raises(BlockedError, match=r"there is no .*/none to be mounted into c"):
            await host.wait("c")


async def test_who_ignores_sigterm_is_removed_after_its_grace(app: App, engine: Engine) -> None:
    app.container(
        "c",
        IMAGE,
        command=["sh", "-c", "trap '' TERM; echo up; while true; do sleep 1; done"],
        grace=0.3,
    )
    async with app.run() as host:
        await host.wait("c")


async def test_what_somebody_removes_is_told(app: App, engine: Engine) -> None:
    app.container("c", IMAGE, command=["sleep", "1000"])
    async with app.run() as host:
        await host.wait("c")
        await engine.remove(f"cove-shop-{host.engines.key}-c")
        await host.board.until(lambda: host.board["c"].failed)
        assert host.board["c"].state is State.EXITED


async def test_a_persistent_container_stays_and_is_taken_as_it_is(app: App, engine: Engine) -> None:
    def declare(text: str) -> App:
        declared = App("shop", root=app.root)
        declared.container(
            "db", IMAGE, command=["sleep", "1000"], env={"A": text}, lifetime="persistent"
        )
        return declared

    try:
        ids = []
        notes = []
        for text in ("one", "one", "two"):
            async with declare(text).run() as host:
                await host.wait("db")
                ids.append(host.board["db"].properties["container"])
                notes.append(" ".join(said(host, "db")))
        assert ids[0] == ids[1] != ids[2]
        assert "it runs already, as it is declared" in notes[1]
        assert "it is made anew (changed: environment)" in notes[2]
    finally:
        async with declare("two").run() as host:
            await host.wait("db")
            host.discard()


async def test_what_a_killed_session_left_is_reaped_by_the_next(
    app: App, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(
        f"import cove\napp = cove.App('shop')\napp.container('c', {IMAGE!r}, command=['sleep', '1000'])\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cove.cli",
        "up",
        str(tmp_path / "app.py"),
        "-o",
        "json",
        stdout=asyncio.subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if k != "COVE_CONTAINER_ENGINE"},
    )
    assert process.stdout is not None
    while json.loads(await process.stdout.readline()).get("message") != "shop is ready":
        pass
    process.kill()
    await process.communicate()
    assert len(await engine.containers({"dev.cove.app": "shop"})) == 1

    app.container("other", IMAGE, command=["true"])
    async with app.run() as host:
        await host.wait("other", "completed")
        assert await engine.containers({"dev.cove.app": "shop", "dev.cove.resource": "c"}) == []


async def test_an_image_is_built_once_and_used(app: App, engine: Engine) -> None:
    context = app.root / "ctx"
    context.mkdir()
    (context / "Dockerfile").write_text(
        f'FROM {IMAGE}\nCOPY hello.txt /hello.txt\nCMD ["cat", "/hello.txt"]\n'
    )
    (context / "hello.txt").write_text("built\n")
    (context / "secret.txt").write_text("never\n")
    (context / ".dockerignore").write_text("*.txt\n!hello.txt\n")
    built = app.image("tool", "ctx")
    app.container("c", built)
    try:
        async with app.run() as host:
            await host.wait("c", "completed")
            assert said(host, "c") == ["built"]
            first = host.board["tool"].properties["image"]
            (context / "secret.txt").write_text("changed, and ignored\n")
            await host.restart("tool")
            await host.wait("tool", "completed")
            assert said(host, "tool")[-1] == f"{first} is there already"
            (context / "hello.txt").write_text("other\n")
            await host.restart("tool")
            await host.wait("tool", "completed")
            second = host.board["tool"].properties["image"]
            assert second != first
    finally:
        for name in {first, second}:
            await engine.docker.images.delete(name, force=True)


async def test_a_build_that_fails_shows_what_the_engine_said(app: App, engine: Engine) -> None:
    (app.root / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo about to fail && false\n")
    app.image("bad", ".")
    app.image("none", "nowhere")
    async with app.run() as host:
        with pytest.raises(
            BlockedError, match=r"it cannot be built: .*returned a non-zero code: 1"
        ):
            await host.wait("bad", "completed")
        assert any("about to fail" in line for line in said(host, "bad"))
        with pytest.raises(BlockedError, match="is no folder"):
            await host.wait("none", "completed")


async def test_helm_in_a_container_is_the_image_that_the_cluster_names(
    app: App, engine: Engine
) -> None:
    # A stand-in for alpine/helm: it says what it was told, and fails.
    await engine.import_image(
        "cove.dev/helm-stand-in:1", _busybox(script="echo told: $@ >&2; exit 1"), ""
    )
    k8s = app.cluster("k8s", images={"helm": "cove.dev/helm-stand-in:1"})
    (app.root / "chart").mkdir()
    (app.root / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: c\nversion: 1.0.0\n")
    k8s.helm("cache", chart="chart", driver="container")
    try:
        async with app.run() as host:
            with pytest.raises(BlockedError, match="told: upgrade") as raised:
                await host.wait("cache", "completed")
        assert "--install" in str(raised.value)
    finally:
        await engine.docker.images.delete("cove.dev/helm-stand-in:1", force=True)


async def test_without_an_engine_it_says_what_to_do(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVE_CONTAINER_ENGINE", "none")
    app.container("c", IMAGE)
    async with app.run() as host:
        with pytest.raises(
            BlockedError, match="there is no container engine: start Docker or Podman"
        ):
            await host.wait("c")


def test_what_the_engine_is_told() -> None:
    parts = [
        ContainerParts({"KUBECONFIG": "/a"}, {"/var/run/cove/a": Path("/x")}, host_gateway=True),
        ContainerParts({"KUBECONFIG": "/b"}, {}, host_gateway=True),
        ContainerParts({"services__w__url": "http://w"}, {}, host_gateway=True),
    ]
    wanted = Wanted(
        image="i",
        command=["c"],
        mounts={"/m": Path("/y")},
        ports={80: 0},
        volumes={"/v": "v"},
        parts=parts,
    )
    config = configuration(wanted, name="c", network="n", labels={"l": "1"})
    host = config["HostConfig"]
    assert host["ExtraHosts"] == ["host.docker.internal:host-gateway"], "once"
    assert [b for b in host["Binds"] if not b.startswith("v:")] == [
        "/y:/m:ro",
        "/x:/var/run/cove/a:ro",
    ]
    assert config["Env"] == ["KUBECONFIG=/a:/b", "services__w__url=http://w"]
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}


def test_what_changed_is_named() -> None:
    before = fingerprint(Wanted(image="a", env={"A": "1"}))
    assert changed(before, fingerprint(Wanted(image="a", env={"A": "1"}))) == []
    assert changed(before, fingerprint(Wanted(image="b", env={"A": "2"}))) == [
        "image",
        "environment",
    ]
