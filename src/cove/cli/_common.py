"""What several commands share: their options, and how clusters are looked up."""

from __future__ import annotations

from typing import Annotated

import typer

from cove.cli._output import Format
from cove.engines.home import ClusterFolder, UnknownClusterError, clusters

__all__ = ["DEFAULT", "Name", "Output", "existing", "known", "option"]

Name = Annotated[str, typer.Option("--name", "-n", envvar="COVE_CLUSTER", help="Which cluster.")]
Output = Annotated[Format, typer.Option("-o", "--output", help="How to print.")]
DEFAULT = "cove"


def existing(name: str) -> ClusterFolder:
    """The folder of a cluster; raises UnknownClusterError."""
    folder = ClusterFolder(name)
    if not folder.exists:
        raise UnknownClusterError(name, known())
    return folder


def known() -> list[str]:
    """The names of all clusters there are, of any engine."""
    from cove.engines.attached import every

    return sorted({*(c.name for c in clusters()), *(each.name for each in every())})


def option(name: str) -> str:
    """How a cluster is named on the command line, "" for the default one."""
    return "" if name == DEFAULT else f" --name {name}"
