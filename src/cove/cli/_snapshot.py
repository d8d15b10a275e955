"""``cove snapshot``: save a cluster's objects, and come back to them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cove.cli._common import DEFAULT, Name, Output, existing, option
from cove.cli._output import Format, emit, note, table

if TYPE_CHECKING:
    from cove.engines.home import ClusterFolder

app = typer.Typer(help="Save a cluster's objects, and come back to them.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The snapshot's name.")]


@app.command()
def save(
    snapshot: Annotated[
        str | None, typer.Argument(metavar="[SNAPSHOT]", help="Its name. [the time]")
    ] = None,
    name: Name = DEFAULT,
) -> None:
    """Save all objects of a cluster, as they are at this moment."""
    from cove.engines.snapshots import Snapshots

    folder = existing(name)
    chosen = snapshot or datetime.now(UTC).strftime("%Y-%m-%dt%H-%M-%S")
    if folder.serving() is None:
        with folder.starting():
            Snapshots(folder).save_stopped(chosen)
    else:
        _ask(folder, Snapshots(folder).path(chosen).stem)
    note(
        f"snapshot {chosen} is saved; come back to it: cove snapshot restore {chosen}{option(name)}"
    )


@app.command("list")
def list_(name: Name = DEFAULT, output: Output = Format.table) -> None:
    """Say which snapshots a cluster has."""
    from cove.engines.snapshots import Snapshots

    rows = Snapshots(existing(name)).list()
    if output is not Format.table:
        emit(rows, output)
    elif not rows:
        note(f"cluster {name} has no snapshot: save one with `cove snapshot save{option(name)}`")
    else:
        table(("name", "taken", "size"), rows)


@app.command()
def restore(
    snapshot: Which,
    name: Name = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make a snapshot's objects the cluster's; what it holds now is gone."""
    from cove.engines.snapshots import Snapshots

    folder = existing(name)
    snapshots = Snapshots(folder)
    snapshots.existing(snapshot)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on: say --yes")
        typer.confirm(f"Replace all objects of cluster {name} by {snapshot}?", abort=True)
    if folder.serving() is None:
        if folder.settings.in_memory:
            from cove.engines.snapshots import SnapshotError

            raise SnapshotError(
                f"cluster {name} is stopped and keeps nothing: start it with `cove up{option(name)}`"
            )
        with folder.starting():
            snapshots.restore_stopped(snapshot)
        note(f"cluster {name} starts with {snapshot}")
        return
    done = _ask(folder, f"{snapshot}/restore")
    note(f"cluster {name} is as in {snapshot}: {done['objects']} objects")


@app.command()
def delete(snapshot: Which, name: Name = DEFAULT) -> None:
    """Remove a snapshot."""
    from cove.engines.snapshots import Snapshots

    Snapshots(existing(name)).delete(snapshot)
    note(f"snapshot {snapshot} is gone")


def _ask(folder: ClusterFolder, path: str) -> Any:
    """Have the running cluster do it."""
    import asyncio

    from cove.client import Client, kubeconfig

    async def ask() -> Any:
        async with Client.connect(kubeconfig.load(str(folder.kubeconfig))) as client:
            return await client.request("POST", f"/cove/snapshots/{path}")

    return asyncio.run(ask())
