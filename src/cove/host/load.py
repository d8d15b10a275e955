"""Applications in files: ``app.py``, found, run and checked."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

from cove.host.app import App
from cove.host.errors import AppError

__all__ = ["DEFAULT", "load"]

DEFAULT = "app.py"


def load(path: str | Path) -> App:
    """The application that a file declares; ``FILE:VARIABLE`` names one of several.

    A folder stands for the ``app.py`` in it.  The folder of the file is the first place that
    its own imports are looked for in.  Raises AppError that names the file, the line and
    what was raised there.
    """
    text, _, variable = str(path).partition(":")
    file = Path(text)
    if file.is_dir():
        file = file / DEFAULT
    if not file.is_file():
        raise AppError(f"there is no {file}: name the file that declares the application")
    file = file.resolve()
    found = _execute(file)
    apps = {name: value for name, value in found.items() if isinstance(value, App)}
    if variable:
        if variable not in apps:
            raise AppError(f"{file} has no application called {variable}{_among(apps)}")
        return apps[variable]
    different = {id(app): name for name, app in apps.items()}
    if not different:
        raise AppError(
            f'{file} declares no application: it needs a line such as app = cove.App("shop")'
        )
    if len(different) > 1 and "app" not in apps:
        raise AppError(
            f"{file} declares several applications: name one as {file}:NAME{_among(apps)}"
        )
    return apps.get("app") or next(iter(apps.values()))


def _among(apps: dict[str, App]) -> str:
    return f" (there are {', '.join(apps)})" if apps else ""


def _execute(file: Path) -> dict[str, object]:
    """The variables of a file once it was run."""
    name = "__cove_app__"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise AppError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except AppError as e:
        raise AppError(f"{_where(e, file)}: {e}") from e
    except SyntaxError as e:
        raise AppError(f"{e.filename}:{e.lineno}: {e.msg}") from e
    except Exception as e:
        frames = [f for f in traceback.extract_tb(e.__traceback__) if "importlib" not in f.filename]
        told = "".join(traceback.format_list(frames[1:]))
        raise AppError(f"{_where(e, file)}: {type(e).__name__}: {e}\n{told}".rstrip()) from e
    finally:
        sys.modules.pop(name, None)
    return vars(module)


def _where(error: BaseException, file: Path) -> str:
    """The line of the file that an error came from."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)
