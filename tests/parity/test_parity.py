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
    """Replay all of them against a cluster of the command line, as a user would."""
    run = _runner()
    report = run.replay(None, False, quiet=True)
    ratchet = json.loads((HERE / "ratchet.json").read_text())
    assert run.fallen(report, ratchet) == []
    assert report["scenarios"] >= len(ratchet)
