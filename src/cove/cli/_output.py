"""How commands print data: a table for people, JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

__all__ = ["Format", "emit", "note", "table"]


class Format(StrEnum):
    """What ``-o`` takes."""

    table = "table"
    json = "json"
    yaml = "yaml"


def emit(doc: Any, format: Format) -> None:
    """Print a document as JSON or YAML."""
    if format is Format.yaml:
        import yaml

        yaml.safe_dump(doc, sys.stdout, sort_keys=False, allow_unicode=True)
    else:
        json.dump(doc, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as kubectl does: aligned columns, upper-case headings, no rules."""
    shown = [
        [str(row.get(c, "") if row.get(c) is not None else "") for c in columns] for row in rows
    ]
    heads = [c.upper().replace("_", " ") for c in columns]
    widths = [max(len(h), *(len(r[i]) for r in shown), 0) for i, h in enumerate(heads)]
    for line in (heads, *shown):
        text = "   ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))
        sys.stdout.write(text.rstrip() + "\n")


def note(text: str) -> None:
    """Say something to the person, not to the program that reads our output."""
    sys.stderr.write(text + "\n")
