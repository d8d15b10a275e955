"""The documentation holds: links lead somewhere, commands and tests named in it exist.

Run by ``make docs``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(?:#[^)]*)?\)")
_TARGET = re.compile(r"`make ([a-z]+)")
_TEST = re.compile(r"`(tests/[\w/]+\.py)((?:::[\w\[\]-]+)?)`")
_COMMAND = re.compile(r"`cove ([a-z]+)")


def commands() -> set[str]:
    """The names of cove's commands."""
    from cove.cli._app import app

    return {
        (c.name or (c.callback.__name__ if c.callback else "")).replace("_", "-")
        for c in app.registered_commands
    } | {group.name or "" for group in app.registered_groups}


def problems(root: Path) -> tuple[int, list[str]]:
    """How many pages there are below ``root``, and what is wrong with them."""
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    known = commands()
    found = []
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    for page in pages:
        text = page.read_text()
        name = page.relative_to(root)
        for link in _LINK.findall(text):
            if "://" not in link and not (page.parent / link).exists():
                found.append(f"{name}: {link} does not exist")
        for target in _TARGET.findall(text):
            if target not in targets:
                found.append(f"{name}: there is no `make {target}`")
        for command in _COMMAND.findall(text):
            if command not in known:
                found.append(f"{name}: there is no `cove {command}`")
        for file, test in _TEST.findall(text):
            if not _is_test(root / file, test):
                found.append(f"{name}: there is no test {file}{test}")
    return len(pages), found


def _is_test(file: Path, test: str) -> bool:
    """Whether a file has a test; ``test`` is "" or "::name"."""
    if not file.is_file():
        return False
    name = test.removeprefix("::").partition("[")[0]
    return (
        not name
        or re.search(rf"^\s*(?:async )?def {name}\(", file.read_text(), re.MULTILINE) is not None
    )


def main() -> int:
    pages, found = problems(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    print("\n".join(found) or f"{pages} pages hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
