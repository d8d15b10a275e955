"""``cove record``: write down what a program asks a cluster, and what it is answered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cove.cli._output import note

__all__ = ["record"]


def record(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND ...]",
            help="What to record: it finds the cluster by KUBECONFIG. Without one, recording goes "
            "on until it is interrupted.",
        ),
    ] = None,
    file: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The recording; .gz compresses.")
    ] = Path("run.cove"),
    context: Annotated[
        str | None, typer.Option(help="The kubeconfig's context. [the current one]")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The kubeconfig. [KUBECONFIG, ~/.kube/config]")
    ] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Keep secrets as they are; redacted otherwise.")
    ] = False,
    only_asked: Annotated[
        bool,
        typer.Option(
            "--only-asked",
            help="Read nothing besides: no objects before they are changed, no definitions of kinds.",
        ),
    ] = False,
    limit: Annotated[
        int, typer.Option(metavar="MIB", help="How long the recording gets.", min=1)
    ] = 256,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
) -> None:
    """Record what a program asks a cluster, to replay it in tests.

    The program speaks to a server on this machine, which hands everything on to the cluster of
    the context. A cluster beyond this machine has to be allowed first, as for every engine.
    """
    from cove.testing.replay.session import Plan, run

    plan = Plan(
        file,
        command=tuple(command or ()),
        context=context,
        kubeconfig=kubeconfig,
        secrets=secrets,
        companions=not only_asked,
        limit=limit * 1024 * 1024,
        force=force,
    )
    code = run(plan, note)
    if code:
        sys.exit(code)
