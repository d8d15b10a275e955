"""What may not be in the tree: paths of a machine, addresses of package registries, secrets,
what a merge has left, and two test files of one name, which pytest cannot collect together.

Run by ``make lint`` over the files git knows.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A class of one letter here and there, so that this file does not find itself.
_PATTERNS = {
    "a path of a machine": re.compile(r"(?<![\w.])/(?:wor[k]|hom[e]/\w+|User[s]/\w+|roo[t]/[.])/"),
    "the address of a package registry": re.compile(
        r"https?://(?:[\w.-]*pypi[.]org|files[.]pythonhosted|registry[.]npmjs|deb[.]debian)"
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KE[Y]-----\n[A-Za-z0-9+/]{40}"),
}
_PATTERNS["a conflict that was not resolved"] = re.compile(
    r"^(?:<{7} |>{7} |[|]{7} |={7}$)", re.MULTILINE
)
_SKIPPED = {".png", ".gif", ".db"}


def problems(root: Path) -> Iterator[str]:
    """What is wrong with the files that git knows below ``root``, a line each."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    tests: dict[str, str] = {}
    for name in filter(None, listed.split("\0")):
        path = root / name
        if path.name.startswith("test_") and path.is_file():
            other = tests.setdefault(path.name, name)
            if other != name:
                yield f"{name}: a test file is called so already: {other}"
        if path.suffix in _SKIPPED or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        for what, pattern in _PATTERNS.items():
            match = pattern.search(text)
            if match:
                line = text.count("\n", 0, match.start()) + 1
                yield f"{name}:{line}: {what}: {match.group()}"


def main() -> int:
    found = list(problems(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
