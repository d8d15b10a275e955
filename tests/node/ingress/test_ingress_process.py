"""The process behind the proxy: what it leaves, what it finds, which ports it has."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.engines.embedded import EmbeddedCluster
from cove.node.child import Child, ChildError, program
from cove.node.ingress import CaddyError, IngressProxy, ListenError
from cove.node.ingress._culprits import culprits
from cove.node.ingress._sockets import listen
from cove.node.ingress.caddy import Caddy, RefusedError


def first(admin: str, storage: str) -> dict[str, object]:
    """A configuration that serves nothing."""
    return {"admin": {"listen": admin, "config": {"persist": False}}}


@pytest.mark.requires("caddy")
async def test_leaving_leaves_nothing(api: EmbeddedCluster, tmp_path: Path) -> None:
    """No process, no file, no port, no task."""
    before = asyncio.all_tasks()
    async with IngressProxy(
        api.client, authority=lambda: api.authority, folder=tmp_path, http_port=0, https_port=0
    ) as proxy:
        pid, port = proxy.pid, proxy.http_port
        assert pid is not None
        assert (tmp_path / "caddy").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert os.listdir(tmp_path) == []
    socket.create_server(("127.0.0.1", port)).close()
    assert asyncio.all_tasks() == before


@pytest.mark.requires("caddy")
async def test_one_that_lost_its_owner_is_ended_by_the_next(tmp_path: Path) -> None:
    """Where the system does not do it: the socket in the folder says where it is."""
    (tmp_path / "caddy").mkdir()
    config = tmp_path / "orphan.json"
    config.write_text('{"admin": {"listen": "unix/%s"}}' % (tmp_path / "caddy" / "admin.sock"))
    listening = asyncio.get_running_loop().create_future()

    def line(text: str) -> None:
        if "serving initial configuration" in text and not listening.done():
            listening.set_result(None)

    caddy = program("caddy")
    assert caddy is not None
    orphan = await Child.start(
        "caddy",
        [caddy, "run", "--config", str(config)],
        folder=tmp_path,
        environment={"HOME": str(tmp_path)},
        line=line,
    )
    try:
        await orphan.ready(listening)
        async with Caddy(tmp_path, first, []) as one:
            assert await orphan.wait() == 0
            assert one.pid is not None
    finally:
        await orphan.stop()


@pytest.mark.requires("caddy")
async def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """Sockets may have names of about a hundred letters only."""
    async with Caddy(tmp_path / ("x" * 120), first, []) as caddy:
        assert caddy.socket.exists()
        with pytest.raises(RefusedError, match="nonsense"):
            await caddy.load({**first(f"unix/{caddy.socket}", ""), "apps": {"nonsense": {}}})
        assert "nonsense" in await caddy.refusal({"apps": {"nonsense": {}}})
        assert await caddy.refusal({"apps": {}}) == ""
    assert not caddy.socket.parent.exists()


async def test_without_caddy_the_next_step_is_told(
    api: EmbeddedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install; and nothing is left open."""
    monkeypatch.setattr("cove.node.ingress.caddy.program", lambda _: None)
    with pytest.raises(CaddyError, match="pip install"):
        async with IngressProxy(
            api.client, authority=lambda: api.authority, folder=tmp_path, http_port=0, https_port=0
        ):
            pass


def test_a_port_that_is_taken_is_asked_for_in_vain() -> None:
    """The usual one is given up for a free one; one that was asked for is not."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ListenError, match="choose another port"):
            listen(["127.0.0.1"], taken, 80)
        with closing(listen(["127.0.0.1"], None, taken)[0]) as free:
            assert free.getsockname()[1] != taken


def test_all_addresses_have_one_port() -> None:
    """Also where it is any."""
    sockets = listen(["127.0.0.1", "127.0.0.2"], 0, 80)
    assert len({s.getsockname()[1] for s in sockets}) == 1
    for one in sockets:
        one.close()


@given(st.lists(st.booleans(), max_size=20))
def test_all_that_are_refused_are_found(refused: list[bool]) -> None:
    """And nobody else, in whatever order they come."""
    items = list(enumerate(refused))

    async def refusal(some: list[tuple[int, bool]]) -> str:
        return "no" if any(bad for _, bad in some) else ""

    found = asyncio.run(culprits(items, refusal))
    assert [item for item, _ in found] == [item for item in items if item[1]]


async def test_a_program_that_ends_before_it_is_ready_says_why(tmp_path: Path) -> None:
    """Its last line and its code."""
    command = [sys.executable, "-c", "import sys; sys.stderr.write('out of luck\\n'); exit(3)"]
    child = await Child.start("one", command, folder=tmp_path)
    with pytest.raises(ChildError, match=r"one ended \(3\): out of luck"):
        await child.ready(asyncio.get_running_loop().create_future())
    await child.stop()
    with pytest.raises(ChildError, match="no program"):
        await Child.start("two", [str(tmp_path / "none")], folder=tmp_path)


async def test_a_program_that_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    """After its grace."""
    code = "import signal, sys; signal.signal(15, signal.SIG_IGN); sys.stderr.write('on\\n')"
    on = asyncio.get_running_loop().create_future()
    child = await Child.start(
        "deaf",
        [sys.executable, "-c", f"{code}; sys.stderr.flush(); signal.pause()"],
        folder=tmp_path,
        line=lambda _: on.set_result(None),
    )
    await child.ready(on)
    await child.stop(grace=0.01)
    assert await child.wait() == -9


@pytest.mark.skipif(sys.platform != "linux", reason="the system does it on Linux")
def test_a_child_ends_with_an_owner_that_was_killed(tmp_path: Path) -> None:
    """Its end closes the pipe that the two of them share."""
    owner = f"""
import asyncio, os, sys
from pathlib import Path
from cove.node.child import Child

async def main():
    on = asyncio.get_running_loop().create_future()
    code = "import os, signal, sys; sys.stderr.write('on\\\\n'); sys.stderr.flush(); signal.pause()"
    child = await Child.start(
        "one", [sys.executable, "-c", code], folder=Path({str(tmp_path)!r}),
        descriptors=[int(sys.argv[1])], line=lambda _: on.set_result(None))
    await child.ready(on)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""
    reading, writing = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", owner, str(writing)], pass_fds=[writing], check=False
    )
    os.close(writing)
    assert done.returncode == -9
    assert os.read(reading, 1) == b""
    os.close(reading)


@pytest.mark.requires("caddy")
async def test_requests_are_answered_on_every_address(api: EmbeddedCluster, tmp_path: Path) -> None:
    """Loopback for the host, the bridge's gateway for pods."""
    async with (
        IngressProxy(
            api.client,
            authority=lambda: api.authority,
            folder=tmp_path,
            addresses=["127.0.0.1", "127.0.0.2"],
            http_port=0,
            https_port=0,
        ) as proxy,
        aiohttp.ClientSession() as session,
    ):
        for address in ("127.0.0.1", "127.0.0.2"):
            async with session.get(f"http://{address}:{proxy.http_port}/") as answer:
                assert answer.status == 404
                assert await answer.text() == "no rule for this host\n"
