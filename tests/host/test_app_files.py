"""``app.py``: found, run, and told what is wrong with it by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.host import AppError, load


def write(folder: Path, text: str, name: str = "app.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(AppError) as raised:
        load(path)
    return str(raised.value)


def test_the_application_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'import cove\nshop = cove.App("shop")\nshop.process("a", ["true"])\n')
    app = load(path)
    assert (app.name, list(app.resources), app.root) == ("shop", ["a"], tmp_path.resolve())


def test_a_folder_is_its_app_py_and_its_modules_are_found(tmp_path: Path) -> None:
    write(tmp_path, "NAME = 'shop'\n", "naming_of_shop.py")
    write(tmp_path, "import cove\nfrom naming_of_shop import NAME\napp = cove.App(NAME)\n")
    assert load(tmp_path).name == "shop"


def test_one_of_several_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, 'import cove\na = cove.App("a")\nb = cove.App("b")\n')
    assert "declares several applications" in refused(path)
    assert load(f"{path}:b").name == "b"
    assert "has no application called c (there are a, b)" in refused(f"{path}:c")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert f"there is no {tmp_path / 'app.py'}" in refused(tmp_path)
    assert "declares no application" in refused(write(tmp_path, "x = 1\n"))


def test_a_file_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "def f():\n    return 1 / 0\n\nf()\n")
    said = refused(path)
    assert said.startswith(f"{path}:2: ZeroDivisionError: division by zero")
    assert f'File "{path}", line 4' in said
    assert "importlib" not in said


def test_a_wrong_declaration_is_told_with_its_line_and_no_traceback(tmp_path: Path) -> None:
    path = write(tmp_path, 'import cove\napp = cove.App("shop")\napp.process("a b", ["true"])\n')
    said = refused(path)
    assert said.startswith(f'{path}:3: "a b" is no name for a process')
    assert "File" not in said


def test_a_file_that_is_no_python_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "import cove\napp = cove.App('shop'\n")
    assert refused(path).startswith(f"{path}:2: '(' was never closed")


def test_an_import_that_fails_names_the_module(tmp_path: Path) -> None:
    path = write(tmp_path, "import no_such_module_at_all\n")
    assert f"{path}:1: ModuleNotFoundError: No module named 'no_such_module_at_all'" in refused(
        path
    )
