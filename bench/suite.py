"""What a suite of tests costs: the plugin where nobody needs it, a fork, a thousand tests.

Each run is a process of its own; two ways are run in turn, and medians compared.  kmock, where
it is installed (``make bench`` does), runs the same thousand tests on its emulator: create,
read, compare — with no controllers, validation or history behind it.
"""

from __future__ import annotations

import importlib.util
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cove.testing.plugin.default import DEFAULT
from cove.testing.plugin.options import Options
from cove.testing.plugin.session import Session
from cove.testing.timeline import Timeline

__all__ = ["suite"]

ROUNDS = 7
FORKS = 300
TESTS = 1000
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
OURS = f"""
import pytest

@pytest.mark.parametrize("n", range({TESTS}))
def test_it(k8s, n):
    body = {{"metadata": {{"name": f"c{{n}}"}}, "data": {{"n": str(n)}}}}
    k8s.core.create_namespaced_config_map("default", body)
    made = k8s.core.read_namespaced_config_map(f"c{{n}}", "default")
    assert made.data.n == str(n)
"""
THEIRS = f"""
import kmock as library
import pytest

@pytest.mark.kmock(cls=library.KubernetesEmulator)
@pytest.mark.parametrize("n", range({TESTS}))
async def test_it(kmock, n):
    kmock.resources["v1/configmaps"] = {{
        "namespaced": True, "kind": "ConfigMap", "verbs": ["get", "create"]
    }}
    path = "/api/v1/namespaces/default/configmaps"
    body = {{"apiVersion": "v1", "kind": "ConfigMap",
             "metadata": {{"name": f"c{{n}}", "namespace": "default"}}, "data": {{"n": str(n)}}}}
    assert (await kmock.post(path, json=body)).status in (200, 201)
    made = await (await kmock.get(f"{{path}}/c{{n}}")).json()
    assert made["data"]["n"] == str(n)
"""
PLAIN = "def test_it(): pass\n"


def _pytest(folder: Path, file: str, *arguments: str) -> tuple[float, float]:
    """(seconds of the process, seconds that pytest says)."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, file],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.search(r"in (\d+\.\d+)s", done.stdout)
    return time.perf_counter() - begun, float(told.group(1)) if told else 0.0


def _plugin(folder: Path) -> None:
    (folder / "test_plain.py").write_text(PLAIN)
    differences = []
    for _ in range(ROUNDS):
        without, _ = _pytest(folder, "test_plain.py", "-p", "no:cove")
        loaded, _ = _pytest(folder, "test_plain.py")
        differences.append(loaded - without)
    print(f"the plugin, where nobody needs it   {statistics.median(differences) * 1e3:6.1f} ms")


def _forks() -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Options(), Path(folder), "")
        try:
            begun = time.perf_counter()
            session.warmed(DEFAULT)
            warm = time.perf_counter() - begun
            times = []
            for number in range(FORKS):
                session.timeline = Timeline(f"test {number}")
                begun = time.perf_counter()
                session.enter(DEFAULT, str(number), None)
                session.leave(DEFAULT, str(number))
                times.append(time.perf_counter() - begun)
        finally:
            session.close()
    print(f"an empty warm state                 {warm * 1e3:6.1f} ms")
    p99 = sorted(times)[int(FORKS * 0.99)]
    print(
        f"a fork for a test, its end included {statistics.median(times) * 1e3:6.2f} ms"
        f" (p99 {p99 * 1e3:.2f} ms)"
    )


def _thousand(folder: Path) -> None:
    (folder / "test_ours.py").write_text(OURS)
    _, two = _pytest(folder, "test_ours.py", "-n", "2")
    _, one = _pytest(folder, "test_ours.py")
    print(f"{TESTS} tests, two workers            {two:6.2f} s")
    line = f"{TESTS} tests, one process            {one:6.2f} s"
    if importlib.util.find_spec("kmock") is None:
        print(f"{line} (kmock is not installed)")
        return
    (folder / "test_theirs.py").write_text(THEIRS)
    _, theirs = _pytest(folder, "test_theirs.py")
    print(f"{line}, kmock {theirs:.2f} s: {theirs / one:.1f} ×")


def suite() -> None:
    """Print what it costs."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pytest.ini").write_text(INI)
        _plugin(folder)
        _forks()
        _thousand(folder)
