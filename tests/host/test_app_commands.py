"""``cove up APP`` and the commands that look at it, as a user runs them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from programs import SERVER

from cove.host.folder import AppFolder
from cove.host.sweep import processes, session_of

COVE = str(Path(sys.executable).with_name("cove"))
APP = f"""
import sys, cove
app = cove.App("shop")
server = {SERVER!r}
app.process("web", [sys.executable, "-u", "-c", server], port=0, health="/").after("job")
app.process("job", ["sh", "-c", "echo preparing"])
app.process("api", ["sh", "-c", "echo $services__web__url; sleep 1000"]).reference("web").wait_for("web")
app.process("tool", ["echo", "tooling"], explicit_start=True)
"""


class Done:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


async def cove(*arguments: str | Path) -> Done:
    process = await asyncio.create_subprocess_exec(
        COVE, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def foreground(*arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """``cove up`` as one runs it on a terminal; ended if the test does not."""
    process = await asyncio.create_subprocess_exec(
        COVE,
        "up",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(process: asyncio.subprocess.Process, text: str) -> str:
    """What it says up to the line with ``text``."""
    assert process.stdout is not None
    said = ""
    while line := (await process.stdout.readline()).decode():
        said += line
        if text in line:
            return said
    raise AssertionError(f"it never said {text!r} but:\n{said}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
async def detached(file: Path) -> AsyncIterator[Path]:
    """The application in the background; ended with the test."""
    done = await cove("up", file, "--detach")
    assert done.code == 0, done.err
    yield file
    await cove("down", "shop")
    assert not list(processes(session_of(AppFolder("shop"))))


async def test_in_the_foreground_lines_are_prefixed_and_urls_are_told(file: Path) -> None:
    async with foreground(file) as process:
        said = await until(process, "shop is ready")
        url = await until(process, "http://localhost")
        assert "job | preparing\n" in said
        assert "web | Waiting: for job\n" in said
        assert url.split()[0] == "web"
        process.send_signal(signal.SIGINT)
        rest = (await process.stdout.read()).decode() if process.stdout else ""
        assert await process.wait() == 130
        assert rest.index("api | Exited: stopped") < rest.index("web | Exited: stopped")
    assert not list(processes(session_of(AppFolder("shop"))))


async def test_what_is_mended_becomes_ready_after_all(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text(
        "import cove\napp = cove.App('shop')\napp.process('job', ['test', '-e', 'mended'])\n"
        "app.process('api', ['sleep', '1000']).after('job')\n"
        "app.process('other', ['sleep', '1000'])\n"
    )
    async with foreground(file) as process:
        await until(process, "api is not healthy: api is FailedToStart ← job is Exited")
        (tmp_path / "mended").touch()
        assert (await cove("restart", "job")).code == 0
        await until(process, "shop is ready")
        process.send_signal(signal.SIGTERM)
        await process.communicate()


async def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
    file = tmp_path / "app.py"
    file.write_text(
        "import sys, cove\napp = cove.App('shop')\n"
        f"app.process('stubborn', [sys.executable, '-c', {stubborn!r}], grace=1000)\n"
    )
    async with foreground(file) as process:
        await until(process, "stubborn | up")
        process.send_signal(signal.SIGINT)
        await until(process, "stopping")
        process.send_signal(signal.SIGINT)
        await until(process, "ending at once")
        assert await process.wait() == 130


async def test_as_json_every_line_is_a_document(file: Path) -> None:
    async with foreground(file, "-o", "json") as process:
        said = await until(process, "shop is ready")
        documents = [json.loads(line) for line in said.splitlines()]
        assert {"message": "shop is ready"} in documents
        assert any(d.get("line", {}).get("text") == "preparing" for d in documents)
        assert any(d.get("status", {}).get("state") == "Running" for d in documents)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0


async def test_when_all_has_ended_it_ends_with_the_worst(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    text = "import cove\napp = cove.App('jobs')\napp.process('a', ['true'])\n"
    file.write_text(text)
    assert (await cove("up", file)).code == 0
    file.write_text(text + "app.process('b', ['false'])\n")
    done = await cove("up", file)
    assert done.code == 1
    assert "b | it ended with exit code 1\nb | Exited\n" in done.out


async def test_in_the_background_it_returns_when_all_is_ready(detached: Path) -> None:
    done = await cove("status", "--app", "shop", "-o", "json")
    states = {r["name"]: r["state"] for r in json.loads(done.out)}
    assert states == {"web": "Running", "job": "Finished", "api": "Running", "tool": "NotStarted"}
    table = (await cove("status")).out
    assert "http://localhost" in table
    again = await cove("up", detached, "--detach")
    assert again.code == 1
    assert '"shop" runs already' in again.err


async def test_what_cannot_become_ready_is_told_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text(
        "import cove\napp = cove.App('shop')\napp.process('bad', ['sh', '-c', 'exit 4'])\n"
        "app.process('api', ['sleep', '1000']).after('bad')\napp.process('ok', ['sleep', '1000'])\n"
    )
    done = await cove("up", file, "-d")
    try:
        assert done.code == 1
        assert (
            "error: api is not healthy: api is FailedToStart ← bad is Exited: it ended" in done.err
        )
        waited = await cove("wait", "api")
        assert waited.code == 1
        assert "api is FailedToStart ← bad is Exited: it ended with exit code 4" in waited.err
        assert (await cove("wait", "ok")).code == 0
    finally:
        await cove("down", "shop")


@pytest.mark.usefixtures("detached")
async def test_waiting_by_command() -> None:
    assert (await cove("wait")).code == 0
    assert (await cove("wait", "web")).code == 0
    assert (await cove("wait", "job", "--status", "completed")).code == 0
    late = await cove("wait", "web", "--status", "completed", "--timeout", "0.1")
    assert late.code == 1
    assert late.err == "error: web did not complete within 0.1 s: web is Running\n"
    unknown = await cove("wait", "wbe")
    assert unknown.err == 'error: there is no resource "wbe"; there are web, job, api, tool\n'
    assert (await cove("wait", "web", "--status", "happy")).code == 2


@pytest.mark.usefixtures("detached")
async def test_single_resources_by_command() -> None:
    assert (await cove("start", "tool")).code == 0
    assert (await cove("wait", "tool", "--status", "completed")).code == 0
    assert "tool | tooling\n" in (await cove("logs", "tool")).out
    before = (await cove("status", "--app", "shop", "-o", "json")).out
    assert (await cove("restart", "web")).code == 0
    assert (await cove("wait", "web")).code == 0
    after = (await cove("status", "--app", "shop", "-o", "json")).out
    assert _pid(before, "web") != _pid(after, "web")
    stopped = await cove("stop", "api")
    assert stopped.err == "api is Exited: stopped\n"


def _pid(text: str, name: str) -> str:
    return str(next(r for r in json.loads(text) if r["name"] == name)["properties"]["pid"])


@pytest.mark.usefixtures("detached")
async def test_logs_are_followed_and_stay_after_the_end() -> None:
    process = await asyncio.create_subprocess_exec(
        COVE, "logs", "job", "tool", "-f", stdout=asyncio.subprocess.PIPE
    )
    try:
        await until(process, "job | preparing")
        await cove("start", "tool")
        await until(process, "tool | tooling")
        assert (await cove("down", "shop")).code == 0
        assert await process.wait() == 0, "who follows ends with the application"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    logs = await cove("logs", "--tail", "1", "tool")
    assert logs.out == "tool | tooling\n"
    document = json.loads((await cove("logs", "tool", "-o", "json")).out)
    assert (document["name"], document["text"]) == ("tool", "tooling")


async def test_down_of_what_does_not_run_says_so(file: Path) -> None:
    done = await cove("down", file)
    assert done.code == 1
    assert done.err == 'error: "shop" does not run: start it with cove up APP\n'
    assert (
        await cove("wait", "web")
    ).err == "error: no application runs: start one with cove up APP\n"


async def test_a_killed_application_is_cleaned_up_by_the_next_start(file: Path) -> None:
    async with foreground(file) as process:
        await until(process, "shop is ready")
        process.kill()
        await process.wait()
    session = session_of(AppFolder("shop"))
    left = list(processes(session))
    async with foreground(file) as process:
        await until(process, "shop is ready")
        assert not set(left) & set(processes(session))
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert not list(processes(session))


async def test_a_wrong_application_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text(
        "import cove\napp = cove.App('shop')\napp.process('a', ['touch', 'x']).wait_for('a')\n"
    )
    done = await cove("up", file)
    assert done.code == 1
    assert done.err == 'error: nothing of "shop" was started:\n  a waits for itself\n'
    assert (await cove("up", tmp_path / "none.py")).code == 1
    assert (await cove("up", "--detach")).code == 2
