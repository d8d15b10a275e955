"""Logs as files: of any length, read anywhere, growing while they are open."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from files_world import PODS, Shell, names, pod
from log_source import LogSource, logging_tree

from cove.engines.embedded import EmbeddedCluster
from cove.files import FileError, Tree, mount
from cove.files.logs import AHEAD, containers, has_previous

LOGS = "/namespaces/default/pods/web/logs"
LOG = f"{LOGS}/main.log"


@pytest.fixture
async def logged(api: EmbeddedCluster) -> AsyncIterator[tuple[Tree, LogSource]]:
    """A pod "web" with a container "main", and what it writes."""
    await api.client.create(PODS, pod(nodeName="n"))
    async with logging_tree(api) as (tree, source):
        yield tree, source


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry.example.com/app:1", **more}


# -- which there are


def test_containers_in_their_order() -> None:
    """Init containers first, then sidecars, then the others, ephemeral ones last."""
    spec = {
        "initContainers": [
            container("proxy", restartPolicy="Always"),
            container("first"),
            container("second"),
        ],
        "containers": [container("main"), container("other")],
        "ephemeralContainers": [container("debug")],
    }
    assert containers({"spec": spec}) == ["first", "second", "proxy", "main", "other", "debug"]
    assert containers({}) == []


def test_who_ran_before() -> None:
    """Containers that ended and were started again."""
    ended = {"lastState": {"terminated": {"exitCode": 1}}, "restartCount": 1}
    status = {
        "initContainerStatuses": [{"name": "first", **ended}],
        "containerStatuses": [
            {"name": "main", **ended},
            {"name": "other", "restartCount": 0, "lastState": {}},
        ],
    }
    spec = {
        "initContainers": [container("first")],
        "containers": [container("main"), container("other")],
    }
    assert has_previous({"spec": spec, "status": status}) == ["first", "main"]
    assert has_previous({"spec": spec}) == []


async def test_all_containers_have_logs(api: EmbeddedCluster) -> None:
    """Listed in their order; others are not there."""
    spec = {
        "initContainers": [container("proxy", restartPolicy="Always"), container("first")],
        "containers": [container("main")],
    }
    await api.client.create(PODS, pod(**spec))
    async with logging_tree(api) as (tree, source):
        source.write("first", "one\n")
        assert await names(tree, LOGS) == ["first.log", "proxy.log", "main.log"]
        assert await tree.read(f"{LOGS}/first.log") == b"one\n"
        for missing in ("nope.log", "main", "previous", "previous/main.log/x"):
            with pytest.raises(FileError) as raised:
                await tree.lookup(f"{LOGS}/{missing}")
            assert raised.value.errno == errno.ENOENT


async def test_logs_are_asked_for_as_they_are(logged: tuple[Tree, LogSource]) -> None:
    """``text/plain`` would be refused with 406."""
    tree, source = logged
    source.write("main", "hello\n")
    assert await tree.read(LOG) == b"hello\n"
    assert {asked.accept for asked in source.asked} == {"*/*"}
    assert all(asked.path.endswith("/namespaces/default/pods/web/log") for asked in source.asked)


async def test_real_servers_take_the_same_request(cluster: EmbeddedCluster) -> None:
    """A simulated container's line, from cove's own API server."""
    from files_world import spying

    await cluster.client.create(PODS, pod())
    async with cluster.client.watch(PODS, "default") as events:
        async for event in events:
            if event.object.get("status", {}).get("phase") == "Running":
                break
    async with spying(cluster) as (tree, _):
        assert b"is simulated" in await tree.read(LOG)
        told = await tree.read(f"{LOGS}/timestamps/main.log")
        assert told.startswith(b"20")
        assert told.endswith(await tree.read(LOG))


# -- ranges, lengths


async def test_any_range_can_be_read(logged: tuple[Tree, LogSource]) -> None:
    """Forwards, backwards, beyond the end; of one fetch."""
    tree, source = logged
    text = "".join(f"{number:07}\n" for number in range(100_000))
    source.write("main", text)
    assert (await tree.lookup(LOG)).size == len(text)
    file = await tree.open(LOG)
    for offset, size in ((700_000, 16), (8, 16), (0, 8), (len(text) - 8, 100), (len(text), 1)):
        assert await file.read(offset, size) == text[offset : offset + size].encode()
    await file.close()
    assert len(source.asked) == 1


async def test_previous_logs_and_timestamps(api: EmbeddedCluster) -> None:
    """What a container wrote before it was started again; lines with their times, not listed."""
    await api.client.create(PODS, pod(nodeName="n"))
    ended = {
        "name": "main",
        "ready": True,
        "restartCount": 1,
        "image": "i",
        "imageID": "i",
        "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1}},
    }
    status = {"status": {"containerStatuses": [ended]}}
    await api.client.patch(PODS, "web", status, "default", subresource="status")
    async with logging_tree(api) as (tree, source):
        source.write("main", "now\n")
        source.write("previous/main", "before\n")
        assert await names(tree, LOGS) == ["main.log", "previous"]
        assert await names(tree, f"{LOGS}/previous") == ["main.log"]
        assert await tree.read(f"{LOGS}/previous/main.log") == b"before\n"
        assert await tree.read(f"{LOGS}/timestamps/main.log") == b"2024-01-01T00:00:00Z now\n"
        assert await names(tree, f"{LOGS}/timestamps") == ["main.log"]
        assert await tree.read(LOG) == b"now\n"


async def test_a_log_that_there_is_not_yet(logged: tuple[Tree, LogSource]) -> None:
    """Has no length, and reading it says what the server says."""
    tree, _ = logged
    assert (await tree.lookup(LOG)).size == 0
    with pytest.raises(FileError) as raised:
        await tree.read(LOG)
    assert raised.value.errno == errno.EINVAL
    assert "waiting to start" in str(raised.value)


async def test_a_log_over_the_limit(api: EmbeddedCluster) -> None:
    """What is below the limit can be read, what is beyond fails with EFBIG."""
    await api.client.create(PODS, pod(nodeName="n"))
    async with logging_tree(api, log_limit=100_000) as (tree, source):
        source.endless["main"] = lambda: (b"x" * 10_000 for _ in range(20))
        file = await tree.open(LOG)
        assert await file.read(50_000, 10) == b"x" * 10
        with pytest.raises(FileError) as raised:
            await file.read(100_000, 10)
        assert raised.value.errno == errno.EFBIG
        await file.close()


async def test_no_more_is_fetched_than_is_read(logged: tuple[Tree, LogSource]) -> None:
    """And a bit ahead: who reads the beginning of a huge log does not fetch all of it."""
    tree, source = logged
    piece = b"0123456789abcde\n" * 4096
    source.endless["main"] = lambda: (piece for _ in range(16_384))
    file = await tree.open(LOG)
    assert (await file.read(0, 16)) == piece[:16]
    # What fits into sockets on the way is sent, too.
    assert source.sent < AHEAD + 32 * 1024 * 1024
    await file.close()


async def test_a_log_of_a_gigabyte(logged: tuple[Tree, LogSource], tmp_path: Path) -> None:
    """From its beginning to its end, and then anywhere, in little memory."""
    tree, source = logged
    length, marks = 1 << 30, range(0, 1 << 30, 100_000_007)
    huge = tmp_path / "huge.log"
    with huge.open("wb") as file:
        file.truncate(length)
        for mark in marks:
            file.seek(mark)
            file.write(b"here")
    source.files["main"] = huge
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened = await tree.open(LOG)
    offset = marked = 0
    while data := await opened.read(offset, 4 << 20):
        offset += len(data)
        marked += data.count(b"here")
    assert (offset, marked) == (length, len(marks))
    for mark in reversed(marks):
        assert await opened.read(mark, 4) == b"here"
    assert (await tree.lookup(LOG)).size == length
    await opened.close()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 128 * 1024, f"{grown} KiB more"


# -- following


async def grows(tree: Tree, path: str, size: int) -> None:
    """Return when a log that is open is so long."""
    async with asyncio.timeout(10):
        while (await tree.lookup(path)).size < size:
            await asyncio.sleep(0)


async def test_an_open_log_grows(logged: tuple[Tree, LogSource]) -> None:
    """By a stream, not by asking again; who opened it reads on from where it was."""
    tree, source = logged
    source.write("main", "one\n")
    file = await tree.open(LOG)
    assert await file.read(0, 100) == b"one\n"
    assert await file.read(4, 100) == b""
    grown: list[str] = []
    tree.spools.on_growth.append(grown.append)
    await tree.lookup(LOG)
    source.write("main", "two\n")
    await grows(tree, LOG, 8)
    assert await file.read(4, 100) == b"two\n"
    source.write("main", "three\n")
    await grows(tree, LOG, 14)
    assert await file.read(8, 100) == b"three\n"
    assert LOG in grown
    assert [asked.query.count("follow=true") for asked in source.asked] == [0, 1]
    await file.close()


async def test_a_log_that_is_only_read_is_not_followed(logged: tuple[Tree, LogSource]) -> None:
    """cat opens, reads to the end and closes: one request."""
    tree, source = logged
    source.write("main", "one\n")
    assert await tree.read(LOG) == b"one\n"
    assert await tree.read(LOG) == b"one\n"
    assert not any("follow" in asked.query for asked in source.asked)


async def test_a_new_reader_sees_what_was_written_since(logged: tuple[Tree, LogSource]) -> None:
    """Whoever opened it before."""
    tree, source = logged
    source.write("main", "one\n")
    file = await tree.open(LOG)
    await file.read(0, 100)
    source.write("main", "two\n")
    async with asyncio.timeout(5):
        while await tree.read(LOG) != b"one\ntwo\n":
            await asyncio.sleep(0.05)
    await file.close()


async def test_a_container_that_ends_is_followed_to_its_end(
    logged: tuple[Tree, LogSource],
) -> None:
    """And not asked for again."""
    tree, source = logged
    source.write("main", "one\n")
    file = await tree.open(LOG)
    assert await file.read(4, 1) == b""
    await tree.lookup(LOG)
    source.write("main", "last\n")
    source.end("main")
    await grows(tree, LOG, 9)
    for _ in range(5):
        assert await file.read(9, 10) == b""
        await tree.lookup(LOG)
        await asyncio.sleep(0)
    assert len(source.asked) == 2
    await file.close()


async def test_a_log_that_was_rotated_begins_anew(logged: tuple[Tree, LogSource]) -> None:
    """It is another file then: shorter, so that ``tail -f`` says so and goes on."""
    tree, source = logged
    source.write("main", "a long line of the old log\n")
    file = await tree.open(LOG)
    assert await file.read(100, 1) == b""
    source.rotate("main", "new\n")
    await tree.lookup(LOG)
    async with asyncio.timeout(10):
        while await file.read(0, 100) != b"new\n":
            await asyncio.sleep(0)
    await file.close()


async def test_a_server_that_breaks_off_is_asked_again(logged: tuple[Tree, LogSource]) -> None:
    """Who follows a log does not notice that the API server was started anew."""
    tree, source = logged
    source.write("main", "one\n")
    file = await tree.open(LOG)
    assert await file.read(4, 1) == b""
    await tree.lookup(LOG)
    spool = next(iter(tree.spools._kept.values()))[1]
    source.write("main", "two\n")
    await grows(tree, LOG, 8)
    broken = spool._following
    assert broken is not None
    stream = tree._client.transport.inner.stream  # type: ignore[attr-defined]

    def failing(method: str, path: str, **options: Any) -> Any:
        raise OSError("refused")

    tree._client.transport.inner.stream = failing  # type: ignore[attr-defined]
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)
    spool._following = None
    assert await file.read(8, 10) == b""
    tree._client.transport.inner.stream = stream  # type: ignore[attr-defined]
    source.write("main", "three\n")
    async with asyncio.timeout(10):
        while await file.read(8, 100) != b"three\n":
            await asyncio.sleep(0)
    await file.close()


async def test_closed_logs_leave_nothing(logged: tuple[Tree, LogSource]) -> None:
    """Neither a stream nor a file, once the moment is over in which they might be read."""
    tree, source = logged
    source.write("main", "one\n")
    file = await tree.open(LOG)
    assert await file.read(4, 1) == b""
    await tree.lookup(LOG)
    await file.close()
    async with asyncio.timeout(10):
        while len(tree.spools) or any("log" in t.get_name() for t in asyncio.all_tasks()):
            await asyncio.sleep(0.05)


async def test_logs_that_are_open_end_with_the_tree(api: EmbeddedCluster) -> None:
    """Also one that a later reader's took the place of; closing it afterwards is no error."""
    await api.client.create(PODS, pod(nodeName="n"))
    async with logging_tree(api) as (tree, source):
        source.write("main", "one\n")
        first = await tree.open(LOG)
        tree.spools._kept[LOG] = (0.0, tree.spools._kept[LOG][1])
        second = await tree.open(LOG)
        spools = [*tree.spools._all]
        assert len(spools) == 2
    assert all(spool._file.closed for spool in spools)
    await first.close()
    await second.close()


# -- mounted


@pytest.mark.requires("fuse")
async def test_tail_follows(logged: tuple[Tree, LogSource], tmp_path: Path) -> None:
    """``tail -f``: the last lines, and every line that is written from then on."""
    tree, source = logged
    source.write("main", "".join(f"line {number}\n" for number in range(100)))
    directory = tmp_path / "k8s"
    directory.mkdir()
    async with mount(directory, tree):
        process = await asyncio.create_subprocess_exec(
            "tail",
            "-n",
            "2",
            "-s",
            "0.1",
            "-f",
            f"{directory}{LOG}",
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                assert await process.stdout.readline() == b"line 98\n"
                assert await process.stdout.readline() == b"line 99\n"
                for number in range(3):
                    source.write("main", f"new {number}\n")
                    assert await process.stdout.readline() == f"new {number}\n".encode()
        finally:
            process.kill()
            await process.wait()


@pytest.mark.requires("fuse")
async def test_programs_read_logs(logged: tuple[Tree, LogSource], tmp_path: Path) -> None:
    """cat, wc, tail, grep, cp, tar and md5sum see all of it, whatever they ask first."""
    tree, source = logged
    text = "".join(f"line {number}\n" for number in range(200_000))
    source.write("main", text)
    directory = tmp_path / "k8s"
    directory.mkdir()
    async with mount(directory, tree):
        shell = Shell(directory)
        log = f"$D{LOG}"
        assert await shell(f"cat {log}") == text
        assert (await shell(f"wc -c < {log}")).strip() == str(len(text))
        assert (await shell(f"stat -c %s {log}")).strip() == str(len(text))
        assert await shell(f"tail -n 1 {log}") == "line 199999\n"
        assert await shell(f"tail -c 12 {log}") == text[-12:]
        nines = sum(line.endswith("9") for line in text.splitlines())
        assert await shell(f"grep -c '9$' {log}") == f"{nines}\n"
        await shell(f"cp {log} {tmp_path}/copy && cmp {log} {tmp_path}/copy")
        await shell(
            f"tar -C $D{LOGS} -cf {tmp_path}/logs.tar . && tar -xOf {tmp_path}/logs.tar ./main.log | cmp - {log}"
        )
        assert (await shell(f"md5sum < {log}")).split()[0] == hashlib.md5(text.encode()).hexdigest()
