"""What the page on testing shows is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}
"""


def blocks() -> list[str]:
    return re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.requires("kubectl")
def test_the_first_suite_and_what_follows_it_pass(tmp_path: Path) -> None:
    shown = [b for b in blocks() if "def test_" in b and "k8s.ingress" not in b]
    (tmp_path / "deploy.yaml").write_text(DEPLOYMENT)
    (tmp_path / "test_page.py").write_text("\n".join(shown))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "5 passed" in done.stdout, done.stdout


def test_every_option_and_method_it_names_is_there() -> None:
    from cove.testing.kubernetes import Kubernetes
    from cove.testing.kubernetes._groups import methods
    from cove.testing.kubernetes._ingress import Ingress
    from cove.testing.plugin import pytest_addoption

    text = PAGE.read_text()
    for name in set(re.findall(r"k8s\.ingress\.(\w+)", text)):
        assert hasattr(Ingress, name), name
    known = {name for group in (("", "v1"), ("apps", "v1")) for name in methods(*group)}
    for name in set(re.findall(r"k8s\.(?:core|apps)\.(\w+)", text)):
        assert name in known, name
    groups = {"core", "apps", "batch", "networking", "helm", "manifests", "endpoint"}
    for name in set(re.findall(r"`k8s\.(\w+)", text)) - groups:
        assert hasattr(Kubernetes, name), name

    class Options:
        def __init__(self) -> None:
            self.names: list[str] = []

        def getgroup(self, *_: str) -> Options:
            return self

        def addoption(self, name: str, **_: object) -> None:
            self.names.append(name)

    there = Options()
    pytest_addoption(there)  # type: ignore[arg-type]
    assert set(re.findall(r"--cove-[a-z]+", text)) == set(there.names)
