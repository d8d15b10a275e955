"""Resources start in order, end in reverse, and go with what they need."""

from __future__ import annotations

import asyncio
import os

import pytest
from programs import SERVER, python

from cove import App
from cove.host import BlockedError, Host, State, Status, UnknownResourceError
from cove.host.folder import AppRunsError

FOREVER = ["sleep", "1000"]


class History:
    """Every state that resources come into, in order."""

    def __init__(self, host: Host) -> None:
        self.states: list[tuple[str, State]] = []
        host.board.follow(self._tell)

    async def _tell(self, status: Status) -> None:
        if (status.name, status.state) not in self.states[-1:]:
            self.states.append((status.name, status.state))

    def of(self, state: State) -> list[str]:
        return [name for name, s in self.states if s is state]


async def test_everything_starts_after_what_it_needs(app: App) -> None:
    app.process("api", FOREVER).wait_for("web").after("job")
    app.process("web", FOREVER).after("job")
    app.process("job", ["true"])
    async with app.run() as host:
        history = History(host)
        await host.ready()
        assert history.of(State.STARTING) == ["job", "web", "api"]


async def test_the_end_comes_in_reverse(app: App) -> None:
    app.process("db", FOREVER)
    app.process("web", FOREVER).wait_for("db")
    app.process("api", FOREVER).wait_for("web")
    async with app.run() as host:
        history = History(host)
        await host.ready()
    assert history.of(State.EXITED) == ["api", "web", "db"]
    assert all(host.board[n].reason == "stopped" for n in ("api", "web", "db"))


async def test_what_fails_takes_its_dependants_along_with_the_chain(app: App) -> None:
    app.process("db", ["sh", "-c", "exit 7"])
    app.process("web", FOREVER).after("db")
    app.process("api", FOREVER).wait_for("web")
    async with app.run() as host:
        with pytest.raises(BlockedError) as raised:
            await host.wait("api")
        assert [s.name for s in raised.value.chain] == ["api", "web", "db"]
        assert "db is Exited: it ended with exit code 7" in str(raised.value)
        assert host.board["api"].state is State.FAILED_TO_START


async def test_who_runs_is_stopped_when_what_it_needs_fails_and_starts_again_with_it(
    app: App,
) -> None:
    app.process("db", ["sh", "-c", "while [ ! -e fail ]; do sleep 0.01; done; rm fail; exit 1"])
    app.process("api", FOREVER).wait_for("db")
    async with app.run() as host:
        await host.wait("api")
        (app.root / "fail").touch()
        await host.board.until(lambda: host.board["api"].failed)
        assert host.board["api"].because_of == "db"
        assert "it was stopped: db is Exited: it ended with exit code 1" in host.board["api"].reason

        await host.start("db")
        await host.board.until(lambda: host.board["api"].state is State.RUNNING)


async def test_one_that_is_fixed_starts_who_failed_for_it(app: App) -> None:
    app.process("db", ["sh", "-c", "[ -e fixed ]"])
    app.process("web", ["true"]).after("db")
    app.process("api", FOREVER).after("web")
    async with app.run() as host:
        with pytest.raises(BlockedError):
            await host.wait("api")
        (app.root / "fixed").touch()
        await host.restart("db")
        await host.board.until(lambda: host.board["api"].state is State.RUNNING)


async def test_explicit_start_waits_for_its_word(app: App) -> None:
    app.process("tool", ["true"]).explicit_start()
    app.process("after", ["true"]).after("tool")
    app.process("web", FOREVER)
    async with app.run() as host:
        await host.ready()  # neither tool nor what needs it
        assert host.board["tool"].state is State.NOT_STARTED
        assert host.board["tool"].reason == "it is started on demand: cove start tool"
        await host.start("tool")
        await host.wait("after", "completed")


async def test_starting_one_starts_what_it_needs(app: App) -> None:
    app.process("db", FOREVER).explicit_start()
    app.process("tool", ["true"], explicit_start=True).wait_for("db")
    async with app.run() as host:
        await host.start("tool")
        await host.wait("tool", "completed")
        assert host.board["db"].state is State.RUNNING


async def test_stop_and_restart_are_of_one_resource(app: App) -> None:
    app.process("web", python(SERVER), port=0, health="/")
    app.process("api", FOREVER).wait_for("web")
    async with app.run() as host:
        await host.ready()
        first = host.board["web"].properties["pid"]
        await host.stop("web")
        assert (host.board["web"].state, host.board["web"].reason) == (State.EXITED, "stopped")
        with pytest.raises(ProcessLookupError):
            os.kill(int(first), 0)
        assert host.board["api"].state is State.RUNNING, "it was somebody's wish, not a failure"
        await host.start("web")
        await host.wait("web")
        await host.restart("web")
        await host.wait("web")
        assert host.board["web"].properties["pid"] != first


async def test_what_is_stopped_while_it_waits_does_not_start(app: App) -> None:
    app.process("never", FOREVER).explicit_start()
    app.process("api", FOREVER).wait_for("never")
    async with app.run() as host:
        await host.board.until(lambda: host.board["api"].state is State.WAITING)
        await host.stop("api")
        assert (host.board["api"].state, host.board["api"].reason) == (State.NOT_STARTED, "stopped")
        await host.start("never")
        await host.wait("never")
        assert host.board["api"].state is State.NOT_STARTED


@pytest.mark.parametrize("moment", [0, 1, 2, 5, 20, 100])
async def test_leaving_at_any_moment_leaves_nothing(app: App, moment: int) -> None:
    app.process("db", python(SERVER), port=0, health="/")
    app.process("bad", ["sh", "-c", "exit 1"], restart="always")
    app.process("web", FOREVER).wait_for("db")
    app.process("api", FOREVER).wait_for("bad").reference("db")
    before = asyncio.all_tasks()
    async with app.run() as host:
        for _ in range(moment):
            await asyncio.sleep(0.001)
    assert asyncio.all_tasks() == before
    assert all(s.state is not State.RUNNING for s in host.board)


async def test_being_cancelled_leaves_nothing_either(app: App) -> None:
    app.process("db", FOREVER)
    app.process("api", FOREVER).wait_for("db")
    inside = asyncio.Event()
    before = asyncio.all_tasks()

    async def program() -> None:
        async with app.run() as host:
            await host.ready()
            inside.set()
            await asyncio.sleep(1000)

    task = asyncio.create_task(program())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asyncio.all_tasks() == before


async def test_a_bug_in_one_resource_is_told_and_ends_no_other(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web = app.process("web", FOREVER)
    app.process("api", FOREVER)

    async def broken(run: object) -> int:
        raise ZeroDivisionError("of our own making")

    monkeypatch.setattr(web, "run", broken)
    async with app.run() as host:
        await host.wait("api")
        with pytest.raises(BlockedError, match="ZeroDivisionError: of our own making"):
            await host.wait("web")
    assert "Traceback" in caplog.text


async def test_an_application_runs_once(app: App) -> None:
    app.process("web", FOREVER)
    async with app.run():
        with pytest.raises(AppRunsError, match=rf'"shop" runs already \(pid {os.getpid()}\)'):
            async with app.run():
                pass
    async with app.run() as host:
        await host.wait("web")


async def test_the_folder_is_its_users_alone(app: App) -> None:
    app.process("web", ["echo", "hi"])
    async with app.run() as host:
        await host.wait("web", "completed")
        folder = host.folder.path
        assert folder.stat().st_mode & 0o777 == 0o700
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path


async def test_names_that_nobody_has_are_told(app: App) -> None:
    app.process("web", FOREVER)
    async with app.run() as host:
        for ask in (host.wait, host.start, host.stop, host.restart):
            with pytest.raises(UnknownResourceError, match='no resource "wbe"; there are web'):
                await ask("wbe")
