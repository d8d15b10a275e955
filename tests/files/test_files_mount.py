"""Mounted by real FUSE: what programs of every day make of it."""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
from pathlib import Path

import pytest
from files_world import CONFIG_MAPS, CRDS, MAPS, PODS, Shell, config_map, definition, pod, spying
from test_files_discovery import established
from tests.conftest import Kubectl

from cove.engines.embedded import EmbeddedCluster
from cove.files import Tree, mount

pytestmark = pytest.mark.requires("fuse")


async def test_listings_and_attributes(api: EmbeddedCluster, shell: Shell) -> None:
    """ls, stat and test see directories, files and links, with sizes, times and rights."""
    doc = config_map("a")
    doc["metadata"]["labels"] = {"app": "web"}
    made = await api.client.create(CONFIG_MAPS, doc)
    assert (await shell("ls $D")).split() == ["by-label", "cluster", "history", "namespaces"]
    listed = (await shell(f"ls -l $D{MAPS}/a")).splitlines()[1:]
    assert [line.split()[0] for line in listed] == ["-r--r--r--"] * 5
    assert [line.split()[-1] for line in listed] == [
        "describe.txt", "events.txt", "manifest.json", "manifest.yaml", "status.yaml",
    ]  # fmt: skip
    sizes = {line.split()[-1]: int(line.split()[4]) for line in listed}
    for name, size in sizes.items():
        assert size == int((await shell(f"cat $D{MAPS}/a/{name} | wc -c")).strip()), name
    kind, mode, links = (await shell(f"stat -c '%F|%a|%h' $D{MAPS}/a")).strip().split("|")
    assert (kind, mode, links) == ("directory", "555", "2")
    wanted = await shell(f"date -u +%s -d {made['metadata']['creationTimestamp']}")
    assert await shell(f"stat -c %Y $D{MAPS}/a/manifest.yaml") == wanted
    link = f"$D/by-label{MAPS}/app/web/a"
    assert await shell(f"readlink -f {link}") == await shell(f"readlink -f $D{MAPS}/a")
    assert "k: v" in await shell(f"cat {link}/manifest.yaml")
    assert (await shell.attempt("ls $D/nope")).code != 0


async def test_attributes_of_objects(api: EmbeddedCluster, shell: Shell) -> None:
    """uid and resourceVersion, where a shell's programs find such."""
    made = await api.client.create(CONFIG_MAPS, config_map("a"))
    path = f"{shell.directory}{MAPS}/a"
    attributes = await asyncio.to_thread(os.listxattr, path)
    assert sorted(attributes) == ["user.kubernetes.resourceVersion", "user.kubernetes.uid"]
    value = await asyncio.to_thread(os.getxattr, f"{path}/status.yaml", "user.kubernetes.uid")
    assert value.decode() == made["metadata"]["uid"]
    for name in ("user.other", "security.selinux"):
        with pytest.raises(OSError):
            await asyncio.to_thread(os.getxattr, path, name)


async def test_cat_wc_head_tail_and_dd(api: EmbeddedCluster, shell: Shell) -> None:
    """Whole files and parts of them, from the beginning, the end and the middle."""
    lines = "".join(f"line {number}\n" for number in range(20_000))
    await api.client.create(CONFIG_MAPS, config_map("a", text=lines))
    path = f"$D{MAPS}/a/manifest.yaml"
    whole = await shell(f"cat {path}")
    assert lines.replace("\n", "\n    ").rstrip() in whole
    assert int((await shell(f"wc -c < {path}")).strip()) == len(whole)
    assert int((await shell(f"wc -l < {path}")).strip()) == len(whole.splitlines())
    assert await shell(f"head -c 100 {path}") == whole[:100]
    assert await shell(f"tail -c 77 {path}") == whole[-77:]
    assert await shell(f"tail -n 3 {path}") == "".join(whole.splitlines(keepends=True)[-3:])
    assert await shell(f"dd if={path} bs=1 skip=70000 count=50 status=none") == whole[70000:70050]


async def test_grep_finds_what_is_anywhere(api: EmbeddedCluster, shell: Shell) -> None:
    """Once for each file that has it, in all namespaces."""
    await api.client.create(CONFIG_MAPS, config_map("a", k="needle"))
    await api.client.create(CONFIG_MAPS, config_map("b", "kube-system", k="needle"))
    found = await shell("cd $D && grep -rl needle namespaces")
    assert sorted(found.split()) == [
        f"namespaces/{namespace}/configmaps/{name}/{file}"
        for namespace, name in (("default", "a"), ("kube-system", "b"))
        for file in ("describe.txt", "manifest.json", "manifest.yaml")
    ]


async def test_find_and_du(api: EmbeddedCluster, shell: Shell) -> None:
    """Names, kinds, sizes and times can be searched for; du adds up what is there."""
    await api.client.create(CONFIG_MAPS, config_map("a", text="x" * 50_000))
    found = await shell(f"cd $D{MAPS} && find . -name '*.json' -size +40k")
    assert found == "./a/manifest.json\n"
    assert await shell(f"cd $D{MAPS}/a && find . -mindepth 1 -type d") == ""
    assert (
        await shell(f"cd $D{MAPS} && find . -newermt 2000-01-01 -name status.yaml | wc -l") != "0\n"
    )
    used = int((await shell(f"du -sb $D{MAPS}/a")).split()[0])
    sizes = (await shell(f"cd $D{MAPS}/a && stat -c %s *.*")).split()
    assert used == sum(map(int, sizes))
    inodes = (await shell(f"ls -i $D{MAPS}")).split()
    assert (await shell(f"stat -c %i $D{MAPS}/a")).strip() in inodes


async def test_checksums_are_stable(api: EmbeddedCluster, shell: Shell) -> None:
    """Of every file of what does not change, at every look, in every mount."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await api.client.create(PODS, pod())
    command = "cd $D/namespaces/default && find . -type f ! -path './events*' | sort | xargs md5sum"
    first = await shell(command)
    assert first.count("\n") > 10
    assert await shell(command) == first


async def test_copies_are_equal(api: EmbeddedCluster, shell: Shell, tmp_path: Path) -> None:
    """cp -r and diff -r, with the times of the objects."""
    await api.client.create(CONFIG_MAPS, config_map("a", text="é\n" * 9000))
    copy = tmp_path / "copy"
    await shell(f"cp -r --preserve=timestamps $D{MAPS} {copy} && diff -r $D{MAPS} {copy}")
    here, there = copy / "a" / "manifest.yaml", Path(f"{shell.directory}{MAPS}/a/manifest.yaml")
    assert here.stat().st_mtime == (await asyncio.to_thread(there.stat)).st_mtime
    await shell(f"chmod -R u+w {copy}")


async def test_tar_holds_what_is_there(api: EmbeddedCluster, shell: Shell, tmp_path: Path) -> None:
    """The whole cluster in an archive, every file as long as it says."""
    await api.client.create(CONFIG_MAPS, config_map("a", text="x" * 30_000))
    await api.client.create(PODS, pod())
    archive = tmp_path / "all.tar"
    await shell(f"tar -C $D -cf {archive} .")
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        member = tar.extractfile(f".{MAPS}/a/manifest.json")
        assert member is not None
        assert json.load(member)["data"]["text"] == "x" * 30_000
    assert len(names) > 500
    assert "./namespaces/default/pods/web/logs/main.log" in names


@pytest.mark.requires("rsync")
async def test_rsync_copies_once(api: EmbeddedCluster, shell: Shell, tmp_path: Path) -> None:
    """And the second time only what has changed."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await api.client.create(CONFIG_MAPS, config_map("b"))
    await shell(f"rsync -a $D{MAPS}/ {tmp_path}/copy/")
    await shell(f"diff -r $D{MAPS} {tmp_path}/copy")
    assert await shell(f"rsync -ai $D{MAPS}/ {tmp_path}/copy/") == ""
    await api.clock.advance(5)
    await api.client.patch(CONFIG_MAPS, "a", {"data": {"k": "longer"}}, "default")
    changed = await shell(f"rsync -ai $D{MAPS}/ {tmp_path}/copy/")
    assert {line.split()[-1].split("/")[0] for line in changed.splitlines()} == {"a"}
    await shell(f"chmod -R u+w {tmp_path}/copy")


@pytest.mark.requires("kubectl")
async def test_manifests_are_what_kubectl_prints(api: EmbeddedCluster, shell: Shell) -> None:
    """As a person compares them: keys sorted, nothing else done."""
    kubectl = Kubectl(api.kubeconfig_path)
    await kubectl("create", "deployment", "web", "--image=registry.example.com/app:1")
    printed = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    read = json.loads(await shell("cat $D/namespaces/default/deployments/web/manifest.json"))
    assert json.dumps(read, sort_keys=True) == json.dumps(printed, sort_keys=True)


async def test_what_kubectl_creates_is_in_the_next_listing(
    api: EmbeddedCluster, shell: Shell
) -> None:
    """And what it deletes is not; what changes, changes in a file that was just read."""
    assert "a" not in (await shell(f"ls $D{MAPS}")).split()
    await api.client.create(CONFIG_MAPS, config_map("a", k="one"))
    assert "a" in (await shell(f"ls $D{MAPS}")).split()
    assert "k: one" in await shell(f"cat $D{MAPS}/a/manifest.yaml")
    await api.client.patch(CONFIG_MAPS, "a", {"data": {"k": "two, longer"}}, "default")
    await told(shell, f"cat $D{MAPS}/a/manifest.yaml", "two, longer")
    size = len(await shell(f"cat $D{MAPS}/a/manifest.yaml"))
    await told(shell, f"stat -c %s $D{MAPS}/a/manifest.yaml", str(size))
    await api.client.delete(CONFIG_MAPS, "a", "default")
    assert "a" not in (await shell(f"ls $D{MAPS}")).split()
    ended = await shell.attempt(f"cat $D{MAPS}/a/manifest.yaml")
    assert "No such file" in ended.err


async def told(shell: Shell, command: str, text: str) -> None:
    """Return when a command prints a text; the watch takes some milliseconds."""
    async with asyncio.timeout(5):
        while text not in await shell(command):
            await asyncio.sleep(0)


async def test_the_kernel_forgets_what_has_changed(api: EmbeddedCluster, shell: Shell) -> None:
    """At once, not when it would have by itself: it is told to."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    path = f"{shell.directory}{MAPS}/a/manifest.yaml"
    await shell(f"ls -l $D{MAPS} $D{MAPS}/a")
    before = await asyncio.to_thread(os.stat, path)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await api.client.patch(CONFIG_MAPS, "a", {"data": {"k": "something longer"}}, "default")
    async with asyncio.timeout(5):
        while (await asyncio.to_thread(os.stat, path)).st_size == before.st_size:
            await asyncio.sleep(0)
    # The kernel would have believed it for a second.
    assert loop.time() - began < 0.9


async def test_writes_are_refused(api: EmbeddedCluster, shell: Shell) -> None:
    """EROFS for everything that would change something."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    path = f"$D{MAPS}/a/manifest.yaml"
    for command in (
        f"echo x > {path}", f"echo x >> {path}", f"rm {path}", f"touch $D{MAPS}/a/new",
        f"mkdir $D{MAPS}/b", f"rmdir $D{MAPS}/a", f"mv $D{MAPS}/a $D{MAPS}/b",
        f"chmod 777 {path}", "ln -s x $D/y", f"truncate -s 0 {path}",
    ):  # fmt: skip
        ended = await shell.attempt(command)
        assert ended.code != 0, command
        assert "Read-only file system" in ended.err, command


async def test_a_crd_appears_in_the_mount(api: EmbeddedCluster, shell: Shell) -> None:
    """Created while it is mounted."""
    await shell("ls $D/namespaces/default")
    await api.client.create(CRDS, definition("widgets", "example.com", "Widget"))
    await established(api, "widgets.example.com")
    assert "widgets" in (await shell("ls $D/namespaces/default")).split()
    assert await shell("ls $D/namespaces/default/widgets") == ""


async def test_names_with_colons_in_a_shell(shell: Shell) -> None:
    assert "name: system:node\n" in await shell(
        "cat $D/cluster/clusterroles/system:node/manifest.yaml"
    )


async def test_thousands_of_entries_are_listed_once_each(
    api: EmbeddedCluster, shell: Shell
) -> None:
    """Over many buffers, with and without attributes."""
    wanted = sorted(f"m{number}" for number in range(2500))
    for name in wanted:
        await api.client.create(CONFIG_MAPS, config_map(name))
    for command in (f"ls $D{MAPS}", f"find $D{MAPS} -mindepth 1 -maxdepth 1 -printf '%f\\n'"):
        listed = (await shell(command)).split()
        assert sorted(n for n in listed if n.startswith("m")) == wanted
    long = (await shell(f"ls -l $D{MAPS}")).splitlines()
    assert sum(line.startswith("dr-xr-xr-x") for line in long) >= 2500


async def test_two_clusters_side_by_side(
    api: EmbeddedCluster, shell: Shell, tmp_path: Path
) -> None:
    """Each mount is one cluster; forks are clusters, too."""
    other = tmp_path / "other"
    other.mkdir()
    async with api.fork() as fork, spying(fork) as (tree, _), mount(other, tree):
        await api.client.create(CONFIG_MAPS, config_map("a"))
        await fork.client.create(CONFIG_MAPS, config_map("b"))
        assert "a" in (await shell(f"ls $D{MAPS}")).split()
        assert "b" not in (await shell(f"ls $D{MAPS}")).split()
        assert "b" in (await shell(f"ls {other}{MAPS}")).split()
    assert list(other.iterdir()) == []


async def test_a_mount_ends_with_its_context(api: EmbeddedCluster, tmp_path: Path) -> None:
    """Unmounted, its threads ended, also while somebody stands in it."""
    import threading

    before = {t.name for t in threading.enumerate()}
    directory = tmp_path / "k8s"
    directory.mkdir()
    async with spying(api) as (tree, _):
        async with mount(directory, tree) as mounted:
            shell = Shell(directory)
            await shell("ls $D/namespaces")
            process = await asyncio.create_subprocess_shell(
                "cat && ls .", cwd=directory, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        assert mounted.ended.is_set()
        _, err = await process.communicate(b"")
        assert process.returncode != 0
        assert err
    assert list(directory.iterdir()) == []
    assert {t.name for t in threading.enumerate() if "mount" in t.name} <= before


async def test_somebody_unmounts(tree: Tree, tmp_path: Path) -> None:
    """Who owns the mount is told."""
    directory = tmp_path / "k8s"
    directory.mkdir()
    async with mount(directory, tree) as mounted:
        await Shell(directory)("fusermount3 -u $D")
        async with asyncio.timeout(10):
            await mounted.ended.wait()


async def test_programs_of_the_same_process_may_look(api: EmbeddedCluster, shell: Shell) -> None:
    """In threads: the event loop answers them."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    path = Path(f"{shell.directory}{MAPS}/a/manifest.yaml")
    texts = await asyncio.gather(*(asyncio.to_thread(path.read_text) for _ in range(50)))
    assert len({*texts}) == 1
    assert "k: v" in texts[0]
