"""Programs that run to their end, whatever they make of being asked to."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cove.host import _program

DEAF = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(f"{__import__('os').getpid()} {child.pid}")
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_what_it_said_and_how_it_ended() -> None:
    script = "import sys; d = sys.stdin.read(); print(d * 2); sys.stderr.write('oh'); sys.exit(3)"

    ended = await _program.run([sys.executable, "-c", script], stdin=b"ab")

    assert ended == _program.Ended(3, b"abab\n", "oh")


async def test_a_flood_is_taken_whole() -> None:
    script = "import sys; sys.stdout.write('x' * 5_000_000); sys.stderr.write('y' * 5_000_000)"

    ended = await _program.run([sys.executable, "-c", script])

    assert (len(ended.out), len(ended.err)) == (5_000_000, 5_000_000)


async def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(_program.ProgramError, match="is no program"):
        await _program.run([str(tmp_path / "none")])


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes in /proc")
async def test_leaving_ends_a_program_that_ignores_it_and_its_children(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    running = asyncio.create_task(_program.run([sys.executable, "-c", DEAF, str(told)], grace=0.1))
    while not (told.exists() and told.read_text()):
        await asyncio.sleep(0.01)
    pids = [int(text) for text in told.read_text().split()]

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not alive(pids[0])
    while alive(pids[1]):  # killed with it; its end may come a moment later
        await asyncio.sleep(0.01)
