"""Declarations that are spread over the modules of a package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove.operator import Operator, info
from cove.operator.commands.load import LoadError, find_operator
from cove.operator.generate import Project

FILES = {
    "__init__.py": "",
    "app.py": "from cove.operator import Operator\nop = Operator('spread')\n",
    "kinds/__init__.py": "",
    "kinds/cache.py": (
        "from cove.operator import Entity, entity\n"
        "@entity('spread.example.com/v1')\nclass Cache(Entity): ...\n"
    ),
    "controllers/__init__.py": "",
    "controllers/cache.py": (
        "from {package}.app import op\nfrom {package}.kinds.cache import Cache\n"
        "@op.reconcile(Cache)\nasync def keep(cache: Cache) -> None: ...\n"
    ),
    "controllers/deeper/__init__.py": "",
    "controllers/deeper/hooks.py": (
        "from {package}.app import op\nfrom {package}.kinds.cache import Cache\n"
        "@op.validate(Cache)\ndef check(new: Cache) -> None: ...\n"
    ),
    "__main__.py": "raise AssertionError('run by a scan')\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of its own name, forgotten afterwards."""
    name = f"spread_{abs(hash(tmp_path))}"
    for place, text in FILES.items():
        path = tmp_path / name / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(package=name))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def test_a_scan_finds_what_every_module_declares(package: str) -> None:
    op = find_operator(f"{package}.app:op", Project(Path.cwd()))
    before = len(op.controllers)

    op.scan(package)
    op.scan(package)

    assert before == 0
    assert [info(cls).kind for cls in op.entities] == ["Cache"]
    assert [spec.name for spec in op.controllers] == ["cache"]
    assert [spec.name for spec in op.validators] == ["check.caches.spread.example.com"]


def test_a_module_with_one_operator_need_not_name_it(package: str, tmp_path: Path) -> None:
    assert find_operator(f"{package}.app", Project(tmp_path)).name == "spread"
    with pytest.raises(LoadError, match="has 0 operators"):
        find_operator(f"{package}.kinds.cache", Project(tmp_path))


def test_an_operator_in_a_file_is_found(tmp_path: Path) -> None:
    name = f"single_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text("from cove.operator import Operator\nop = Operator('x')\n")

    found = find_operator(str(tmp_path / f"{name}.py"), Project(tmp_path))

    assert isinstance(found, Operator)
    assert found.name == "x"
