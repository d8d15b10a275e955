"""The commands of operators: ``cove operator …``, and ``python -m my_operator …`` by op.main().

Both are one tree of commands; in the second the operator is known, and need not be named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["main"]


def main(operator: Operator, arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the arguments (None: the process's) say, and exit.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    import typer

    from cove.kube.status import CoveError
    from cove.operator.commands._app import app

    command = typer.main.get_command(app)
    _bind(command)
    try:
        command.main(None if arguments is None else list(arguments), obj=operator)
    except CoveError as e:
        sys.stderr.write(f"error: {e}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _bind(command: object) -> None:
    """Take away what only makes sense where the operator has to be found."""
    parameters = getattr(command, "params", None)
    if parameters is not None:
        parameters[:] = [p for p in parameters if p.name != "target"]
    commands: dict[str, object] = getattr(command, "commands", {})
    commands.pop("new", None)
    for inner in commands.values():
        _bind(inner)
