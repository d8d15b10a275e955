"""The recordings of a real Kubernetes: what is identical stays identical."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent


def _runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_run", HERE / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_recorded_scenario_falls_behind_the_ratchet() -> None:
    """Replay all of them against a cluster of the command line, as a user would.

    A few steps recorded a controller in passing (an update that met its write, a namespace half
    gone). On a busy machine ours may be elsewhere at that moment; such a scenario is replayed
    once more, alone.
    """
    run = _runner()
    ratchet = json.loads((HERE / "ratchet.json").read_text())

    report = run.replay(None, False, quiet=True)
    fallen = run.fallen(report, ratchet)
    if fallen:
        names = ",".join(line.partition(":")[0] for line in fallen)
        fallen = run.fallen(run.replay(names, False, quiet=True), ratchet)

    assert fallen == []
    assert report["scenarios"] >= len(ratchet)
