"""Docstrings of classes and of their attributes, as descriptions.

An attribute's docstring is the text that stands below it; Python forgets it, so the source is
read again.  Where there is no source (a prompt, ``python -c``) there are no descriptions.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__ = ["attribute_docs", "class_doc"]


def class_doc(cls: type) -> str:
    """What a class says of itself; "" if it does not, whatever its bases say."""
    text = cls.__dict__.get("__doc__")
    return _plain(text) if isinstance(text, str) else ""


def attribute_docs(cls: type) -> dict[str, str]:
    """The texts below the attributes of a class and of those it inherits from, by name."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ in sys.modules and not base.__module__.startswith("cove.operator.kinds"):
            found.update(_module_docs(base.__module__).get(base.__qualname__, {}))
    return found


@lru_cache(maxsize=256)
def _module_docs(module: str) -> dict[str, dict[str, str]]:
    """For every class of a module, by its qualified name, the texts below its attributes."""
    file: Any = getattr(sys.modules.get(module), "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return {}
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, dict[str, str]] = {}
    _collect(tree.body, "", found)
    return found


def _collect(body: list[ast.stmt], prefix: str, found: dict[str, dict[str, str]]) -> None:
    for node in body:
        if isinstance(node, ast.ClassDef):
            name = f"{prefix}{node.name}"
            found[name] = _attributes(node.body)
            _collect(node.body, f"{name}.", found)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _collect(node.body, f"{prefix}{node.name}.<locals>.", found)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            _collect(node.body, prefix, found)


def _attributes(body: list[ast.stmt]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for node, below in pairwise(body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            docs[node.target.id] = _plain(below.value.value)
    return docs


def _plain(text: str) -> str:
    return inspect.cleandoc(text).strip()
