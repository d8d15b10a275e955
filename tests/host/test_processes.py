"""Processes of an application: started, watched, told apart by how they end, ended whole."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from programs import SERVER, python

from cove import App
from cove.host import BlockedError, State, WaitTimeoutError
from cove.host.folder import AppFolder
from cove.host.sweep import processes, session_of


def lines(host: object, name: str) -> list[str]:
    return [line.text for line in host.logs.recent([name])]  # type: ignore[attr-defined]


async def test_exit_code_zero_is_finished_and_any_other_is_not(app: App) -> None:
    app.process("good", ["true"])
    app.process("bad", ["sh", "-c", "echo gone wrong >&2; exit 3"])
    async with app.run() as host:
        await host.wait("good", "completed")
        with pytest.raises(BlockedError, match="it ended with exit code 3"):
            await host.wait("bad", "completed")
        status = host.board["bad"]
        assert (status.state, status.exit_code) == (State.EXITED, 3)
        assert lines(host, "bad") == ["gone wrong", "it ended with exit code 3"]


async def test_a_signal_is_told_as_one(app: App) -> None:
    app.process("bad", ["sh", "-c", "kill -9 $$"])
    async with app.run() as host:
        with pytest.raises(BlockedError, match="it was ended by signal 9"):
            await host.wait("bad", "completed")


async def test_what_is_not_there_fails_to_start_and_says_where_it_was_looked_for(app: App) -> None:
    app.process("one", ["no-such-program"], env={"PATH": "/nowhere"})
    app.process("two", ["./missing.sh"])
    app.process("three", ["true"], cwd="no-such-folder")
    (app.root / "plain.txt").write_text("x")
    app.process("four", ["./plain.txt"])
    async with app.run() as host:
        for name, said in {
            "one": '"no-such-program" cannot be started: it is not on PATH (/nowhere)',
            "two": "there is no",
            "three": "is no folder",
            "four": "may not be executed (chmod +x ./plain.txt)",
        }.items():
            with pytest.raises(BlockedError) as raised:
                await host.wait(name)
            assert said in str(raised.value)
            assert host.board[name].state is State.FAILED_TO_START


async def test_healthy_when_the_check_says_so(app: App) -> None:
    (app.root / "health").write_text("503")
    app.process("web", python(SERVER), port=0, health="/healthz")
    async with app.run() as host:
        await host.board.until(lambda: "503" in host.board["web"].reason)
        assert host.board["web"].state is State.STARTING
        (app.root / "health").unlink()
        status = await host.wait("web")
        assert status.url.startswith("http://localhost:")
        assert status.url.endswith(str(int(status.url.rpartition(":")[2])))


async def test_a_check_that_fails_later_is_unhealthy_and_recovers(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.host.resources.process.CALM", 0.01)
    monkeypatch.setattr("cove.host.resources.process.WORRIED", 0.01)
    app.process("web", python(SERVER), port=0, health="/healthz")
    async with app.run() as host:
        await host.wait("web")
        (app.root / "health").write_text("500")
        await host.board.until(lambda: host.board["web"].state is State.UNHEALTHY)
        assert "was answered 500" in host.board["web"].reason
        (app.root / "health").unlink()
        await host.wait("web")


async def test_never_healthy_is_told_with_the_reason(app: App) -> None:
    app.process("web", ["sleep", "1000"], url="http://127.0.0.1:1", health="/healthz")
    app.process("api", ["sleep", "1000"]).wait_for("web")
    async with app.run() as host:
        await host.board.until(lambda: bool(host.board["web"].reason))
        with pytest.raises(WaitTimeoutError) as raised:
            await host.wait("api", timeout=0.05)
        assert "web is Starting: GET http://127.0.0.1:1/healthz" in str(raised.value)


async def test_ready_within_ends_what_is_not(app: App) -> None:
    app.process("web", ["sleep", "1000"], url="http://127.0.0.1:1", health="/", ready_within=0.2)
    async with app.run() as host:
        with pytest.raises(BlockedError, match=r"it was not healthy within 0\.2 s: GET http"):
            await host.wait("web")
        assert not list(processes(session_of(host.folder)))


async def test_ending_well_before_being_healthy_is_no_success(app: App) -> None:
    app.process("web", ["true"], url="http://127.0.0.1:1", health="/")
    async with app.run() as host:
        with pytest.raises(BlockedError, match="exit code 0 before it was healthy"):
            await host.wait("web")


async def test_checks_may_be_functions_and_ports(app: App) -> None:
    async def answer() -> str:
        return "the moon is not full"

    with socket.create_server(("127.0.0.1", 0)) as server:
        app.process("tcp", ["sleep", "9"], health=f"tcp://127.0.0.1:{server.getsockname()[1]}")
        app.process("own", ["sleep", "9"], health=answer)
        async with app.run() as host:
            await host.wait("tcp")
            with pytest.raises(WaitTimeoutError, match="own is Starting: the moon is not full"):
                await host.wait("own", timeout=0.1)


async def test_who_floods_its_output_is_slowed_down_and_nothing_is_lost_that_fits(app: App) -> None:
    count = 200_000
    app.process("flood", python(f"for i in range({count}): print('line', i)"))
    app.process("calm", ["sh", "-c", "sleep 0.1; echo calm"])
    async with app.run() as host:
        await host.wait("calm", "completed")
        await host.wait("flood", "completed")
        assert lines(host, "flood")[-1] == f"line {count - 1}"
        text = b"".join(
            p.read_bytes() for p in sorted(host.folder.logs.glob("flood.log*"), reverse=True)
        )
        assert text.count(b"\n") == count


async def test_a_line_without_end_is_shown_in_parts(app: App) -> None:
    app.process("long", python("import sys; sys.stdout.write('x' * 300_000); sys.stdout.flush()"))
    async with app.run() as host:
        await host.wait("long", "completed")
        assert sum(map(len, lines(host, "long"))) == 300_000
        assert max(map(len, lines(host, "long"))) <= 64 * 1024


async def test_who_ignores_sigterm_is_killed_after_its_grace(app: App) -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(1000)"
    )
    app.process("stubborn", python(stubborn), grace=0.2)
    async with app.run() as host:
        await host.board.until(lambda: host.board["stubborn"].state is State.RUNNING)
        while "up" not in lines(host, "stubborn"):
            await asyncio.sleep(0.01)
    assert host.board["stubborn"].exit_code == -9
    assert not list(processes(session_of(host.folder)))


async def test_in_a_hurry_nobody_has_grace(app: App) -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(1000)"
    )
    app.process("stubborn", python(stubborn), grace=1000.0)
    async with app.run() as host:
        while "up" not in lines(host, "stubborn"):
            await asyncio.sleep(0.01)
        host.hurry.set()
    assert host.board["stubborn"].exit_code == -9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells environments of others")
async def test_whoever_a_process_leaves_behind_goes_with_the_application(app: App) -> None:
    away = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo left"
    app.process("parent", ["sh", "-c", away])
    app.process("group", ["sh", "-c", "sleep 1001 & wait"])
    async with app.run() as host:
        await host.wait("parent", "completed")
        await host.wait("group")
        session = session_of(host.folder)
        assert list(processes(session)), "somebody was left behind"
    assert not list(processes(session))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells environments of others")
async def test_what_a_killed_session_left_is_ended_by_the_next_one(app: App) -> None:
    session = session_of(AppFolder("shop"))
    left = await asyncio.create_subprocess_exec(
        "sleep", "1000", env={**os.environ, "COVE_SESSION": session}, start_new_session=True
    )
    app.process("new", ["true"])
    async with app.run() as host:
        await host.wait("new", "completed")
        assert await left.wait() == -9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells environments of others")
async def test_who_starts_it_anew_from_a_shell_of_its_own_is_spared() -> None:
    look = "import os, sys; from cove.host.sweep import processes; print(os.getppid() in processes('mark'))"
    shell = ["sh", "-c", f'{sys.executable} -c "{look}"; {sys.executable} -c "{look}"']
    bearer = await asyncio.create_subprocess_exec(
        *shell, env={**os.environ, "COVE_SESSION": "mark"}, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await bearer.communicate()
    assert out.decode().split() == ["False", "False"]


async def test_output_of_who_stays_behind_does_not_keep_the_end_from_being_seen(app: App) -> None:
    app.process("parent", ["sh", "-c", "(sleep 1000 &) ; echo done"])
    async with app.run() as host:
        await host.wait("parent", "completed")
        assert lines(host, "parent") == ["done"]


async def test_restart_on_failure_goes_on_until_it_succeeds(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.host.resources.process.BACKOFF", 0.01)
    script = "echo x >> tries; [ $(wc -l < tries) -ge 3 ]"
    app.process("job", ["sh", "-c", script], restart="on-failure")
    async with app.run() as host:
        await host.board.until(lambda: host.board["job"].state is State.FINISHED)
    assert (app.root / "tries").read_text().count("x") == 3


async def test_references_are_environment_and_twice_is_once(app: App) -> None:
    app.process("web", python(SERVER), port=0)
    api = app.process(
        "api", ["sh", "-c", 'echo "$services__web__url $MINE $PORT"'], env={"MINE": "x"}
    )
    assert api.reference("web") is api
    api.reference("web").reference("web")
    async with app.run() as host:
        await host.wait("api", "completed")
        assert lines(host, "api") == [f"{host.url('web')} x "]
    assert len(api.edges) == 1


async def test_a_fixed_port_is_told_to_the_process(app: App) -> None:
    app.process("web", ["sh", "-c", "echo $HTTP"], port=8123, port_env="HTTP")
    async with app.run() as host:
        await host.wait("web", "completed")
        assert lines(host, "web") == ["8123"]


async def test_ten_thousand_checks_leave_nothing_open(app: App) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("this machine does not tell how many descriptors are open")
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with app.run() as host:
        assert await host.prober.probe(url) == ""
        before = (len(list(folder.iterdir())), len(asyncio.all_tasks()))
        for _ in range(200):
            found = await asyncio.gather(*(host.prober.probe(url) for _ in range(50)))
            assert not any(found)
        await asyncio.sleep(0)
        for _ in range(100):
            if (len(list(folder.iterdir())), len(asyncio.all_tasks())) <= before:
                break
            await asyncio.sleep(0.01)
        assert len(list(folder.iterdir())) <= before[0] + 2
        assert len(asyncio.all_tasks()) <= before[1]
    server.close()
    await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
