"""``cove clone``: a live cluster's objects in an embedded cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cove.cli._common import Output, option
from cove.cli._output import Format, emit, note

if TYPE_CHECKING:
    from cove.engines.clone import Progress, Summary

__all__ = ["clone"]


def clone(
    context: Annotated[
        str | None, typer.Option(help="The kubeconfig's context to copy. [the current one]")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The kubeconfig. [KUBECONFIG, ~/.kube/config]")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="The clone's name. [the context's]")
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Copy what is in it, and definitions of kinds; repeatable. [all]"),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Copy only such objects; repeatable."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Copy no such objects; repeatable."),
    ] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Copy what is in Secrets; redacted otherwise.")
    ] = False,
    webhooks: Annotated[
        bool, typer.Option("--webhooks", help="Copy configurations of admission webhooks.")
    ] = False,
    controllers: Annotated[
        bool, typer.Option("--controllers", help="Run controllers over the clone.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Copy a live cluster's objects into an embedded one, which is started then.

    The source is only read. Given again after an interruption, the same command goes on where it
    was. A cluster beyond this machine has to be allowed first, as for every engine.
    """
    from cove.client import ClientError
    from cove.engines.clone import CloneOptions
    from cove.engines.clone import clone as run
    from cove.kube.status import StatusError

    options = CloneOptions(
        context=context,
        kubeconfig=kubeconfig,
        name=name,
        namespaces=tuple(namespace or ()),
        include=_kinds(include),
        exclude=_kinds(exclude),
        secrets=secrets,
        webhooks=webhooks,
        controllers=controllers,
    )
    line = _Line()
    try:
        summary = run(options, told=line.told, log=note)
    except BaseException as e:
        line.end()
        if line.objects and isinstance(e, KeyboardInterrupt | ClientError | StatusError):
            note(f"{line.objects:,} objects are copied; the same command goes on from there")
        if isinstance(e, KeyboardInterrupt):
            raise typer.Exit(130) from e
        raise
    line.end()
    if output is Format.table:
        _tell(summary)
    else:
        emit(summary.document(), output)
    if summary.failed:
        raise typer.Exit(1)


def _kinds(given: list[str] | None) -> tuple[str, ...]:
    return tuple(kind for text in given or () for kind in text.split(",") if kind)


def _tell(summary: Summary) -> None:
    for what, why in summary.skipped.items():
        note(f"left out: {what}: {why}")
    for what, why in summary.failed.items():
        note(f"failed: {what}: {why}")
    if summary.redacted:
        note(f"{summary.redacted:,} Secrets are redacted: --secrets copies what is in them")
    note(
        f"cluster {summary.cluster} is a clone of {summary.context}: {summary.objects:,} objects "
        f"of {len(summary.kinds)} kinds"
    )
    note(f'use it: eval "$(cove env{option(summary.cluster)})"')


class _Line:
    """Progress: one line that changes on a terminal; elsewhere one per page of objects."""

    def __init__(self) -> None:
        self.objects = 0
        self._terminal = sys.stderr.isatty()
        self._open = False

    def told(self, progress: Progress) -> None:
        """Show it."""
        more = progress.objects > self.objects
        self.objects = progress.objects
        of = f" of {progress.kinds}" if progress.kinds else ""
        text = f"{progress.objects:,} objects, {progress.kinds_done}{of} kinds: {progress.kind}"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            self._open = True
        elif more:
            note(text)

    def end(self) -> None:
        """Leave the line that changes."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            self._open = False
