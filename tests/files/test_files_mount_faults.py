"""Mounts on bad days: servers that go, processes that are killed, machines without FUSE."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from files_world import CONFIG_MAPS, MAPS, Shell, Spy, config_map, spying

from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.files import FuseMissingError, MountError, Tree, mount
from cove.files.mounting import library
from cove.files.mounting.bridge import Bridge

ENGINES = Path(__file__).parents[1] / "engines"


@pytest.fixture
def cove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cove]:
    """The command, with a home of its own; what it mounted and started is ended."""
    monkeypatch.syspath_prepend(str(ENGINES))
    from command import Cove

    made = Cove(tmp_path / "home")
    yield made
    made.attempt("files", "unmount", "--all", "--lazy")
    made.attempt("down")


if False:  # for type checkers alone
    from command import Cove


def attempt(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60,
        env={**os.environ, "D": str(directory), "LC_ALL": "C.UTF-8"}, check=False,
    )  # fmt: skip


# -- servers


@pytest.mark.requires("fuse")
async def test_a_server_that_is_gone_leaves_the_mount_healthy(
    api: EmbeddedCluster, tree: Tree, spy: Spy, shell: Shell
) -> None:
    """An error on access, and all is well again when it is back."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await shell("ls $D/namespaces")
    spy.answers["/"] = None
    for command in (f"ls $D{MAPS}", "ls $D/namespaces/default", f"cat $D{MAPS}/a/manifest.yaml"):
        ended = await shell.attempt(command)
        assert ended.code != 0, command
        assert "Input/output error" in ended.err, command
    assert (await shell("ls $D")).split()
    spy.answers.clear()
    assert "k: v" in await shell(f"cat $D{MAPS}/a/manifest.yaml")
    assert "a" in (await shell(f"ls $D{MAPS}")).split()


@pytest.mark.requires("fuse")
@pytest.mark.parametrize(
    ("status", "text"),
    [(403, "Permission denied"), (429, "Resource temporarily unavailable"), (413, "File too large"),
     (500, "Input/output error"), (400, "Invalid argument")],
)  # fmt: skip
async def test_errors_are_what_a_shell_knows(
    api: EmbeddedCluster, spy: Spy, shell: Shell, status: int, text: str
) -> None:
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await shell("ls $D/namespaces/default")
    spy.answers["/api/v1/namespaces/default/configmaps"] = status
    assert text in (await shell.attempt(f"cat $D{MAPS}/a/manifest.yaml")).err
    assert text in (await shell.attempt(f"ls $D{MAPS}")).err


@pytest.mark.requires("fuse")
async def test_a_server_that_does_not_answer_holds_up_nobody_else(
    api: EmbeddedCluster, tree: Tree, spy: Spy, tmp_path: Path
) -> None:
    """Who asks it is told EIO after a while; other directories are read meanwhile."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await tree.readdir("/namespaces/default")
    request, hold = spy.request, asyncio.Event()

    async def silent(method: str, path: str, **options: object) -> object:
        if path.endswith("/secrets"):
            await hold.wait()
        return await request(method, path, **options)  # type: ignore[arg-type]

    spy.request = silent  # type: ignore[assignment]
    directory = tmp_path / "k8s"
    directory.mkdir()
    async with mount(directory, tree, timeout=1.0):
        shell = Shell(directory)
        waiting = asyncio.create_task(shell.attempt("ls $D/namespaces/default/secrets"))
        assert "k: v" in await shell(f"cat $D{MAPS}/a/manifest.yaml")
        assert not waiting.done()
        assert "Input/output error" in (await waiting).err
        hold.set()


@pytest.mark.requires("fuse")
async def test_an_object_that_is_deleted_while_it_is_read(
    api: EmbeddedCluster, shell: Shell
) -> None:
    """Who has the file open reads it to its end; nobody else finds it."""
    await api.client.create(CONFIG_MAPS, config_map("a", text="x" * 400_000))
    path = Path(f"{shell.directory}{MAPS}/a/manifest.yaml")
    whole = await asyncio.to_thread(path.read_bytes)
    file = await asyncio.to_thread(path.open, "rb", buffering=0)
    try:
        begin = await asyncio.to_thread(file.read, 1000)
        await api.client.delete(CONFIG_MAPS, "a", "default")
        assert (await shell(f"ls $D{MAPS}")).split().count("a") == 0
        rest = await asyncio.to_thread(file.readall)
        assert begin + rest == whole
    finally:
        await asyncio.to_thread(file.close)
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(path.stat)


@pytest.mark.requires("fuse")
def test_a_server_that_is_started_anew_under_tar(cove: Cove, tmp_path: Path) -> None:
    """tar is told what it could not read; the mount lives, and the next tar has everything."""
    cove("up", "--nodes", "0")
    docs = [{"apiVersion": "v1", "kind": "ConfigMap", **config_map(f"m{i}")} for i in range(300)]
    cove.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, docs)))
    directory = tmp_path / "k8s"
    cove("files", "mount", str(directory))
    archive = tmp_path / "all.tar"
    with subprocess.Popen(
        ["tar", "-C", f"{directory}{MAPS}", "-cf", str(archive), "."], stderr=subprocess.PIPE
    ) as tar:
        cove.kill()
        assert (directory / "cluster").exists()
        cove("up")
        tar.communicate(timeout=60)
        # 0: it was through before, or everything it needed was known; 2: files it could not read.
        assert tar.returncode in (0, 1, 2)
    deadline = threading.Event()
    for _ in range(100):
        again = attempt(f"tar -C $D{MAPS} -cf {archive} .", directory)
        if again.returncode == 0:
            break
        deadline.wait(0.1)
    assert again.returncode == 0, again.stderr
    listed = attempt(f"tar -tf {archive} | grep -c '/manifest.yaml$'", directory)
    assert int(listed.stdout) == 301


# -- processes


@pytest.mark.requires("fuse")
def test_what_a_killed_process_left_is_repaired_by_the_next(cove: Cove, tmp_path: Path) -> None:
    """SIGKILL leaves a directory that nobody serves; mounting there again unmounts it first."""
    cove("up", "--nodes", "0")
    directory = tmp_path / "k8s"
    for end in ("mount", "unmount"):
        cove("files", "mount", str(directory))
        (row,) = json.loads(cove("files", "mount", "-o", "json"))
        cove.kill(row["pid"])
        with pytest.raises(OSError) as raised:
            directory.stat()
        assert raised.value.errno == errno.ENOTCONN
        assert library.is_stale(directory)
        if end == "mount":
            cove("files", "mount", str(directory))
            assert (directory / "namespaces" / "default").is_dir()
        cove("files", "unmount", str(directory))
        assert list(directory.iterdir()) == []
        assert not library.is_mounted(directory)
    assert json.loads(cove("files", "mount", "-o", "json")) == []


@pytest.mark.requires("fuse")
def test_a_mount_in_use_is_not_unmounted_unless_it_is_said(cove: Cove, tmp_path: Path) -> None:
    """The error says so; --lazy cuts off who uses it, and the process ends."""
    cove("up", "--nodes", "0")
    directory = tmp_path / "k8s"
    cove("files", "mount", str(directory))
    (row,) = json.loads(cove("files", "mount", "-o", "json"))
    with open(directory / "cluster/namespaces/default/manifest.yaml"):
        refused = cove.attempt("files", "unmount", str(directory))
        assert refused.code == 1
        assert "busy" in refused.err
        assert (directory / "cluster").exists()
        handle = os.pidfd_open(row["pid"])
        cove("files", "unmount", "--lazy", str(directory))
    from command import gone

    gone(handle)
    os.close(handle)
    assert list(directory.iterdir()) == []


@pytest.mark.requires("fuse")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_mount_in_the_foreground_ends_by_a_signal(
    cove: Cove, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C unmounts."""
    cove("up", "--nodes", "0")
    directory = tmp_path / "k8s"
    with subprocess.Popen(
        [sys.executable, "-m", "cove.cli", "files", "mount", "--foreground", str(directory)],
        env=cove.environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "is mounted at" in process.stderr.readline()
        assert (directory / "namespaces").is_dir()
        process.send_signal(number)
        assert process.wait(20) == code
    assert list(directory.iterdir()) == []


@pytest.mark.requires("fuse")
def test_a_mount_outlives_its_cluster(cove: Cove, tmp_path: Path) -> None:
    """cove down under it: errors on access; cove up: all is well again."""
    cove("up", "--nodes", "0")
    directory = tmp_path / "k8s"
    cove("files", "mount", str(directory))
    assert "default" in os.listdir(directory / "namespaces")
    cove("down")
    assert sorted(os.listdir(directory))[:2] == ["by-label", "cluster"]
    with pytest.raises(OSError) as raised:
        os.listdir(directory / "namespaces")
    assert raised.value.errno == errno.EIO
    cove("up")
    assert "default" in os.listdir(directory / "namespaces")


@pytest.mark.requires("fuse")
def test_a_mount_stays_with_its_context(cove: Cove, tmp_path: Path) -> None:
    """use-context after it changes nothing for it; a second mount may have the other one."""
    cove("up", "--nodes", "0", "--name", "one")
    cove("up", "--nodes", "0", "--name", "two")
    try:
        for name in ("one", "two"):
            cove.kubectl("create", "configmap", f"of-{name}", name=name)
        merged = tmp_path / "config"
        paths = os.pathsep.join(str(cove.folder(name) / "kubeconfig") for name in ("one", "two"))
        flat = subprocess.run(
            [str(Path(sys.executable).parent / "kubectl"), "config", "view", "--flatten"],
            env={**os.environ, "KUBECONFIG": paths}, capture_output=True, check=True,
        )  # fmt: skip
        merged.write_bytes(flat.stdout)
        kube = {"KUBECONFIG": str(merged)}
        first, second = tmp_path / "first", tmp_path / "second"
        cove("files", "mount", str(first), **kube)
        subprocess.run(
            [str(Path(sys.executable).parent / "kubectl"), "config", "use-context", "two"],
            env={**os.environ, **kube}, capture_output=True, check=True,
        )  # fmt: skip
        cove("files", "mount", str(second), "--context", "two", **kube)
        assert "of-one" in os.listdir(f"{first}{MAPS}")
        assert "of-two" in os.listdir(f"{second}{MAPS}")
        assert "of-two" not in os.listdir(f"{first}{MAPS}")
        told = json.loads(cove("files", "mount", "-o", "json"))
        assert [row["cluster"] for row in told] == ["one", "two"]
        cove("files", "unmount", "--all")
    finally:
        cove("down", "--name", "one")
        cove("down", "--name", "two")


# -- machines and directories


@pytest.fixture
def no_library(tmp_path: Path) -> dict[str, str]:
    """An environment in which there is no libfuse."""
    return {"FUSE_LIBRARY_PATH": str(tmp_path / "libfuse-that-is-not-there.so")}


def test_without_fuse_everything_else_works(
    cove: Cove, tmp_path: Path, no_library: dict[str, str]
) -> None:
    """mount says what to install; ls and cat need none."""
    cove("up", "--nodes", "0")
    refused = cove.attempt("files", "mount", str(tmp_path / "k8s"), **no_library)
    assert refused.code == 1
    assert "fuse3" in refused.err or "macFUSE" in refused.err
    assert "cove files ls" in refused.err
    assert "Traceback" not in refused.err
    assert "default" in cove("files", "ls", "/namespaces", **no_library).split()
    assert "kind: Namespace" in cove(
        "files", "cat", "cluster/namespaces/default/manifest.yaml", **no_library
    )


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The device, the helper, the Python package: each with what to do."""
    monkeypatch.setattr(library, "DEVICE", tmp_path / "fuse")
    monkeypatch.setattr(sys, "platform", "linux")
    if library.find_library("fuse3") or library.find_library("fuse"):
        with pytest.raises(FuseMissingError, match="modprobe fuse"):
            library.load()
        monkeypatch.setattr(library, "DEVICE", tmp_path)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(library, "_helper", lambda: None)
        with pytest.raises(FuseMissingError, match="apt-get install fuse3"):
            library.load()
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    with pytest.raises(FuseMissingError, match=r"pip install 'cove\[files\]'"):
        library.load()


@pytest.mark.requires("fuse")
async def test_a_directory_that_cannot_be_mounted(tree: Tree, tmp_path: Path) -> None:
    """Not there, no directory, not empty, mounted already: named, and nothing is hidden."""
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    for name, text in (("nope", "mkdir -p"), ("file", "no directory"), ("full", "not empty")):
        with pytest.raises(MountError, match=text):
            async with mount(tmp_path / name, tree):
                pass
    (tmp_path / "k8s").mkdir()
    async with mount(tmp_path / "k8s", tree):
        with pytest.raises(MountError, match="already"):
            async with mount(tmp_path / "k8s", tree):
                pass
        assert "default" in (await Shell(tmp_path / "k8s")("ls $D/namespaces")).split()


@pytest.mark.requires("fuse", "root")
async def test_others_are_let_in_only_when_asked(api: EmbeddedCluster) -> None:
    """Another user of the machine sees nothing of it, unless allow_other says so."""
    command = "setpriv --reuid 65534 --regid 65534 --clear-groups ls $D"
    with tempfile.TemporaryDirectory(prefix="cove-files-") as folder:
        os.chmod(folder, 0o755)
        directory = Path(folder, "k8s")
        directory.mkdir()
        for allowed in (False, True):
            async with spying(api) as (tree, _), mount(directory, tree, allow_other=allowed):
                ended = await Shell(directory).attempt(command)
                assert (ended.code == 0) is allowed, ended
                assert ("namespaces" in ended.out) is allowed


def test_a_path_with_blanks_is_found_among_mounts() -> None:
    """The kernel tells them in octal; what is not mounted need not be unmounted."""
    assert library._unescaped("/mnt/a\\040b\\134c") == "/mnt/a b\\c"
    assert not library.is_mounted(Path("/nowhere at all"))
    library.unmount(Path("/nowhere at all"))


# -- threads


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    made = Bridge(asyncio.get_running_loop(), 0.2)
    yield made
    made.close()


async def test_a_thread_is_answered_or_told_that_it_is_late(bridge: Bridge) -> None:
    """What is late is cancelled, and EIO to who waits."""
    cancelled = asyncio.Event()

    async def answer() -> int:
        return 42

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert await asyncio.to_thread(bridge.call, answer) == 42
    with pytest.raises(OSError, match="no answer within") as raised:
        await asyncio.to_thread(bridge.call, never)
    assert raised.value.errno == errno.EIO
    await cancelled.wait()


async def test_who_waits_is_let_go_when_a_mount_ends() -> None:
    """And who comes later is told at once; nobody is left behind."""
    bridge = Bridge(asyncio.get_running_loop(), 60.0)
    entered = asyncio.Event()

    async def never() -> None:
        entered.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(asyncio.to_thread(bridge.call, never))
    await entered.wait()
    bridge.close()
    for work in (waiting, asyncio.to_thread(bridge.call, never)):
        with pytest.raises(OSError, match="ending"):
            await work
    bridge.send(never)


async def test_a_loop_that_has_ended_answers_nobody() -> None:
    """A thread of libfuse that is late finds no loop any more."""
    loop = asyncio.new_event_loop()
    bridge = Bridge(loop, 1.0)
    loop.close()

    async def answer() -> None: ...

    with pytest.raises(OSError, match="ending"):
        await asyncio.to_thread(bridge.call, answer)


@pytest.mark.requires("fuse")
async def test_signals_stay_the_programs(tree: Tree, tmp_path: Path) -> None:
    """libfuse would take those that nobody handles; a program that mounts ends by them."""
    directory = tmp_path / "k8s"
    directory.mkdir()
    script = f"""
import asyncio, sys
from cove.client import Client, Connection
from cove.files import Tree, mount

async def main():
    async with Client.connect(Connection(server="http://127.0.0.1:9")) as client, Tree(client) as tree:
        async with mount({str(directory)!r}, tree):
            print("mounted", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"mounted\n"
            process.terminate()
            assert await process.wait() == -signal.SIGTERM
        assert library.is_stale(directory)
        assert library.repair(directory)
        assert not library.repair(directory)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def test_a_client_of_the_tree_stays_open(api: EmbeddedCluster) -> None:
    """Who made it closes it."""
    async with Client.connect(kubeconfig.load(api.kubeconfig_path)) as client:
        async with Tree(client) as tree:
            await tree.readdir("/namespaces")
        assert (await client.version())["major"]
