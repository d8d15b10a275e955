"""The documentation holds: links lead somewhere, commands named in it exist.

Run by ``make docs``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(?:#[^)]*)?\)")
_TARGET = re.compile(r"`make ([a-z]+)")
_COMMAND = re.compile(r"`cove ([a-z]+)")


def commands() -> set[str]:
    """The names of cove's commands."""
    from cove.cli._app import app

    return {
        (c.name or (c.callback.__name__ if c.callback else "")).replace("_", "-")
        for c in app.registered_commands
    } | {group.name or "" for group in app.registered_groups}


def main() -> int:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = commands()
    problems = []
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for page in pages:
        text = page.read_text()
        name = page.relative_to(ROOT)
        for link in _LINK.findall(text):
            if "://" not in link and not (page.parent / link).exists():
                problems.append(f"{name}: {link} does not exist")
        for target in _TARGET.findall(text):
            if target not in targets:
                problems.append(f"{name}: there is no `make {target}`")
        for command in _COMMAND.findall(text):
            if command not in known:
                problems.append(f"{name}: there is no `cove {command}`")
    print("\n".join(problems) or f"{len(pages)} pages hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
