"""Lines of resources: kept, shown, never in the way of who says them."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove.client import ManualClock
from cove.host.console import Console
from cove.host.logs import LogBook, read_log
from cove.host.states import State, Status


@pytest.fixture
def book(tmp_path: Path) -> Iterator[LogBook]:
    made = LogBook(tmp_path, ManualClock())
    yield made
    made.close()


def test_files_hold_what_was_said_with_its_time(book: LogBook, tmp_path: Path) -> None:
    book.write("web", "one")
    book.write("web", "zwei\u2028drei \x85 ✓")
    found = read_log(tmp_path, "web")
    assert [line.text for line in found] == ["one", "zwei\u2028drei \x85 ✓"]
    assert found[0].time.tzinfo is not None
    book.close()
    assert (tmp_path / "web.log").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_full_is_kept_beside_a_new_one(
    book: LogBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.host.logs.LARGEST", 1000)
    for i in range(25):
        book.write("web", f"line {i}")
    assert (tmp_path / "web.log").stat().st_size <= 1000
    assert [line.text for line in read_log(tmp_path, "web")][-1] == "line 24"
    assert (tmp_path / "web.log.1").exists()


def test_a_line_cut_short_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("2026-01-01T00:00:00+00:00 whole\n2026-01-0")
    assert [line.text for line in read_log(tmp_path, "web")] == ["whole"]


async def test_following_begins_with_the_last_lines(book: LogBook) -> None:
    for i in range(5):
        book.write("web", str(i))
    book.write("api", "x")
    async with book.follow(["web"], tail=2) as lines:
        assert [(await anext(lines)).text for _ in range(2)] == ["3", "4"]
        following = asyncio.ensure_future(anext(lines))
        book.write("api", "not asked for")
        book.write("web", "5")
        assert (await following).text == "5"
    assert not book._listeners


async def test_who_follows_too_slowly_is_told_what_he_missed(
    book: LogBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.host.logs.BEHIND", 10)
    async with book.follow(["web"]) as lines:
        for i in range(30):
            book.write("web", str(i))
        got = [(await anext(lines)).text for _ in range(11)]
    assert got == [*map(str, range(10)), "… 20 lines were not shown"]
    assert len(book.recent(["web"])) == 30, "the book has them all"


def test_a_terminal_that_stands_still_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, book: LogBook
) -> None:
    monkeypatch.setattr("cove.host.console.BEHIND", 5)
    monkeypatch.setattr("cove.host.console.PATIENCE", 0.05)
    gate = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait()
            return super().write(text)

    out = Stuck()
    with Console(["web"], out) as console:
        book.listen(console.line)
        for i in range(50):
            book.write("web", str(i))
        gate.set()
    shown = out.getvalue().count("\n")
    assert 0 < shown < 50, "it was not waited for, and what fitted was shown"


async def test_lines_states_and_urls_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out, plain = Terminal(), io.StringIO()
    for where in (out, plain):
        with Console(["web", "gateway"], where) as console:
            await console.state(Status(name="web", kind="process", state=State.RUNNING))
            await console.state(
                Status(name="web", kind="process", state=State.RUNNING, reason="again")
            )
            console.table([Status(name="web", kind="process", url="http://localhost:1")])
    assert "\033[32mRunning\033[0m" in out.getvalue()
    assert plain.getvalue() == "    web | Running\n  web  http://localhost:1\n"
