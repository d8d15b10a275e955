"""The command line: arguments in, words out; everything else is below.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The ``cove`` command."""
    from cove.cli._app import app
    from cove.kube.status import CoveError

    try:
        app(prog_name="cove")
    except CoveError as e:
        sys.stderr.write(f"error: {e}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
