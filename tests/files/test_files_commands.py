"""``cove files`` as a person uses it: without FUSE, and how mounts are told of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from command import Cove

ENGINES = str(Path(__file__).parents[1] / "engines")
KUBECTL = str(Path(sys.executable).parent / "kubectl")
MAPS = "/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def cove(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cove]:
    """The command and a cluster that runs, with a ConfigMap, a Secret and a label."""
    sys.path.insert(0, ENGINES)
    from command import Cove

    sys.path.remove(ENGINES)
    made = Cove(tmp_path_factory.mktemp("home"))
    made("up", "--nodes", "0")
    made.kubectl("create", "configmap", "settings", "--from-literal=colour=green")
    made.kubectl("label", "configmap", "settings", "app=web")
    made.kubectl("create", "secret", "generic", "key", "--from-literal=password=hunter2")
    yield made
    made.attempt("files", "unmount", "--all", "--lazy")
    made("down")


def test_ls(cove: Cove) -> None:
    """Names, one a line; with sizes and times; as data; of a file itself."""
    assert cove("files", "ls").split() == ["by-label", "cluster", "history", "namespaces"]
    assert "settings" in cove("files", "ls", MAPS).split()
    assert "settings" in cove("files", "ls", "namespaces/default/configmaps").split()
    long = cove("files", "ls", "-l", f"{MAPS}/settings").splitlines()
    assert long[0].split() == ["KIND", "SIZE", "MODIFIED", "NAME"]
    assert {line.split()[-1] for line in long[1:]} >= {"manifest.yaml", "events.txt"}
    rows = json.loads(cove("files", "ls", f"{MAPS}/settings", "-o", "json"))
    sizes = {row["name"]: row["size"] for row in rows}
    assert sizes["manifest.yaml"] == len(cove("files", "cat", f"{MAPS}/settings/manifest.yaml"))
    (row,) = yaml.safe_load(cove("files", "ls", f"{MAPS}/settings/status.yaml", "-o", "yaml"))
    assert (row["name"], row["kind"], row["size"]) == ("status.yaml", "file", 5)


def test_cat(cove: Cove) -> None:
    """Several files one after the other; those that are not there are told, the others shown."""
    shown = cove("files", "cat", f"{MAPS}/settings/manifest.yaml", f"{MAPS}/settings/status.yaml")
    assert "colour: green" in shown
    assert shown.endswith("\nnull\n")
    done = cove.attempt(
        "files", "cat", f"{MAPS}/nope/manifest.yaml", f"{MAPS}/settings/status.yaml"
    )
    assert (done.code, done.out) == (1, "null\n")
    assert "nope/manifest.yaml: No such file or directory" in done.err
    assert "Is a directory" in cove.attempt("files", "cat", MAPS).err


def test_secrets_are_shown_when_asked_for(cove: Cove) -> None:
    path = "/namespaces/default/secrets/key/manifest.yaml"
    assert "(redacted)" in cove("files", "cat", path)
    assert "aHVudGVyMg==" in cove("files", "cat", "--secrets", path)


def test_find(cove: Cove) -> None:
    """By name, kind and depth; links are told and not followed."""
    found = cove("files", "find", "/namespaces/default", "--match", "settings").split()
    assert found == [f"{MAPS}/settings"]
    assert cove("files", "find", f"{MAPS}/settings", "--match", "*.yaml").split() == [
        f"{MAPS}/settings/manifest.yaml",
        f"{MAPS}/settings/status.yaml",
    ]
    assert cove("files", "find", "/", "--max-depth", "1").split() == [
        "/", "/namespaces", "/cluster", "/by-label", "/history",
    ]  # fmt: skip
    links = json.loads(cove("files", "find", f"/by-label{MAPS}", "--type", "l", "-o", "json"))
    assert links == [{"path": f"/by-label{MAPS}/app/web/settings", "kind": "link"}]
    folders = cove("files", "find", f"{MAPS}/settings", "--type", "d").split()
    assert folders == [f"{MAPS}/settings"]
    assert cove.attempt("files", "find", "/nope").code == 1


def test_export_to_a_directory(cove: Cove, tmp_path: Path) -> None:
    """Files with the times of their objects, links as links; only into a new or empty one."""
    target = tmp_path / "copy"
    cove("files", "export", "/namespaces/default", str(target), "--exclude", "events*")
    manifest = yaml.safe_load((target / "configmaps/settings/manifest.yaml").read_text())
    assert manifest["data"] == {"colour": "green"}
    assert manifest["metadata"]["name"] == "settings"
    (row,) = json.loads(cove("files", "ls", f"{MAPS}/settings/manifest.yaml", "-o", "json"))
    modified = (target / "configmaps/settings/manifest.yaml").stat().st_mtime
    wanted = subprocess.run(
        ["date", "-u", "+%s", "-d", row["modified"]], capture_output=True, check=True
    )
    assert int(modified) == int(wanted.stdout)
    assert not list(target.glob("**/events.txt"))
    assert "aHVudGVyMg" not in (target / "secrets/key/manifest.yaml").read_text()
    again = cove.attempt("files", "export", MAPS, str(target))
    assert again.code == 1
    assert "not empty" in again.err
    links = tmp_path / "links"
    cove("files", "export", f"/by-label{MAPS}", str(links))
    assert os.readlink(links / "app/web/settings").endswith("configmaps/settings")


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz", "all.tgz", "-"])
def test_export_to_an_archive(cove: Cove, tmp_path: Path, name: str) -> None:
    """Plain, compressed, or to a pipe."""
    target = name if name == "-" else str(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "cove.cli", "files", "export", MAPS, target],
        env=cove.environment(), capture_output=True, check=True,
    )  # fmt: skip
    if name == "-":
        (tmp_path / "all.tar").write_bytes(done.stdout)
        target = str(tmp_path / "all.tar")
    with tarfile.open(target) as tar:
        member = tar.extractfile("settings/manifest.yaml")
        assert member is not None
        assert b"colour: green" in member.read()
    assert b"files were copied" in done.stderr


def test_targets_that_cannot_be(cove: Cove, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "nope" / "x.tar"):
        done = cove.attempt("files", "export", MAPS, str(target))
        assert done.code == 1, target
        assert "cannot be written" in done.err


def test_types_and_namespaces_can_be_left_out(cove: Cove) -> None:
    assert (
        "deployments" not in cove("files", "ls", "--hide-empty-types", "namespaces/default").split()
    )
    assert cove("files", "ls", "--namespace", "default", "namespaces").split() == ["default"]


def test_which_cluster_is_meant(cove: Cove, tmp_path: Path) -> None:
    """By its name, its kubeconfig, a context in it; a wrong one says what there is."""
    config = str(cove.folder() / "kubeconfig")
    for arguments, env in (
        (("--name", "cove"), {}),
        (("--kubeconfig", config), {}),
        (("--context", "cove"), {"KUBECONFIG": config}),
        ((), {"KUBECONFIG": config}),
        ((), {"COVE_CLUSTER": "cove"}),
        ((), {}),
    ):
        assert "settings" in cove("files", "ls", MAPS, *arguments, **env).split(), arguments
    for arguments, code, text in (
        (("--name", "nope"), 1, 'no cluster "nope"'),
        (("--context", "nope", "--kubeconfig", config), 1, "there are: cove"),
        (("--kubeconfig", str(tmp_path / "nope")), 1, "no such file"),
        (("--unix-socket", str(tmp_path / "nope")), 1, "kubectl proxy --unix-socket"),
        (("--name", "cove", "--kubeconfig", config), 2, "each names a cluster"),
    ):
        done = cove.attempt("files", "ls", *arguments)
        assert done.code == code, (arguments, done)
        assert text in done.err, (arguments, done)


@pytest.mark.requires("kubectl")
def test_through_a_proxys_socket(cove: Cove, tmp_path: Path) -> None:
    """``kubectl proxy`` says who we are; nothing of ours is needed but the socket's path."""
    socket = tmp_path / "proxy.sock"
    env = cove.environment(KUBECONFIG=str(cove.folder() / "kubeconfig"))
    with subprocess.Popen(
        [KUBECTL, "proxy", "--unix-socket", str(socket)], env=env, stdout=subprocess.PIPE, text=True
    ) as proxy:
        try:
            assert proxy.stdout is not None
            assert "Starting to serve" in proxy.stdout.readline()
            shown = cove(
                "files", "cat", "--unix-socket", str(socket), f"{MAPS}/settings/manifest.yaml"
            )
            assert "colour: green" in shown
            assert "settings" in cove("files", "ls", "--unix-socket", str(socket), MAPS).split()
        finally:
            proxy.terminate()


@pytest.mark.requires("fuse", "kubectl")
def test_a_mount_through_a_proxys_socket(cove: Cove, tmp_path: Path) -> None:
    """Watches, too: a change shows in the mount."""
    socket, directory = tmp_path / "proxy.sock", tmp_path / "k8s"
    env = cove.environment(KUBECONFIG=str(cove.folder() / "kubeconfig"))
    with subprocess.Popen(
        [KUBECTL, "proxy", "--unix-socket", str(socket)], env=env, stdout=subprocess.PIPE, text=True
    ) as proxy:
        try:
            assert proxy.stdout is not None
            proxy.stdout.readline()
            cove("files", "mount", "--unix-socket", str(socket), str(directory))
            assert "settings" in os.listdir(f"{directory}{MAPS}")
            cove.kubectl("create", "configmap", "another")
            assert "another" in os.listdir(f"{directory}{MAPS}")
        finally:
            cove("files", "unmount", str(directory))
            proxy.terminate()


@pytest.mark.requires("fuse")
def test_a_mount_in_the_background(cove: Cove, tmp_path: Path) -> None:
    """Made if it is not there, told of, logged, ended; options reach it."""
    directory = tmp_path / "deep" / "k8s"
    done = cove.attempt(
        "files",
        "mount",
        str(directory),
        "--namespace",
        "default",
        "--hide-empty-types",
        "--secrets",
    )
    assert done.code == 0, done
    assert f"cove files unmount {directory}" in done.err
    assert os.listdir(directory / "namespaces") == ["default"]
    assert "deployments" not in os.listdir(directory / "namespaces/default")
    secret = directory / "namespaces/default/secrets/key/manifest.yaml"
    assert "aHVudGVyMg==" in secret.read_text()
    (row,) = json.loads(cove("files", "mount", "-o", "json"))
    assert (row["directory"], row["cluster"]) == (str(directory), "cove")
    assert str(row["pid"]) in cove("files", "mount")
    assert "is mounted" in Path(row["log"]).read_text()
    assert Path(row["log"]).stat().st_mode & 0o077 == 0
    again = cove.attempt("files", "mount", str(directory))
    assert again.code == 1
    assert "mounted" in again.err
    assert "is unmounted" in cove.attempt("files", "unmount", str(directory)).err
    assert os.listdir(directory) == []
    gone = cove.attempt("files", "unmount", str(directory))
    assert gone.code == 1
    assert "nothing is mounted" in gone.err
    assert cove.attempt("files", "unmount").code == 2
    assert "nothing is mounted" in cove.attempt("files", "mount").err


@pytest.mark.requires("fuse")
def test_somebody_else_unmounts(cove: Cove, tmp_path: Path) -> None:
    """By fusermount3 or umount: the process ends, and its record goes."""
    directory = tmp_path / "k8s"
    cove("files", "mount", str(directory))
    (row,) = json.loads(cove("files", "mount", "-o", "json"))
    handle = os.pidfd_open(row["pid"])
    subprocess.run(["fusermount3", "-u", str(directory)], check=True)
    from command import gone

    gone(handle)
    os.close(handle)
    assert json.loads(cove("files", "mount", "-o", "json")) == []


def test_importing_cove_or_its_commands_imports_no_files(cove: Cove) -> None:
    """``import cove`` and ``cove --help`` stay light."""
    script = (
        "import sys, cove, cove.cli._app; "
        "print([m for m in sys.modules if m.startswith(('cove.files', 'mfusepy', 'aiohttp'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
