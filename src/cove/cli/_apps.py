"""Commands about applications: run one, look at it, wait for it, end it."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cove.cli._common import Output
from cove.cli._output import Format, emit, note, table

if TYPE_CHECKING:
    from cove.host.states import Status

__all__ = ["AppName", "down", "register", "show", "statuses", "up"]

COLUMNS = ("app", "name", "kind", "state", "url", "reason")

T = TypeVar("T")

AppName = Annotated[
    str | None, typer.Option("--app", help="Which application. [the one that runs]")
]


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(work)


def up(
    app: str,
    *,
    engine: str | None,
    container_engine: str | None,
    context: str | None,
    detach: bool,
    output: Format,
) -> int:
    """Run the application of a file; the exit code."""
    from cove.host.load import load

    declared = load(app)
    declared.check()
    if detach:
        from cove.host.background import start

        folder, found = start(
            app,
            declared,
            engine=engine,
            container_engine=container_engine,
            context=context,
            say=note,
        )
        show(_rows(declared.name, found), output)
        note(f"log: {folder.path / 'app.log'}")
        return 0
    import asyncio

    from cove.host.foreground import run

    work = run(
        declared,
        engine=engine,
        container_engine=container_engine,
        context=context,
        json=output is not Format.table,
    )
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def _statuses(app: str | None) -> list[Status]:
    from cove.host.remote import Remote, running

    async def ask() -> list[Status]:
        async with Remote(running(app)) as remote:
            return await remote.status()

    return _run(ask())


def _rows(app: str, found: list[Status]) -> list[dict[str, Any]]:
    return [{"app": app, **status.to_dict()} for status in found]


def show(rows: list[dict[str, Any]], output: Format) -> None:
    """Print resources; a table has the first line of each reason."""
    if output is not Format.table:
        emit(rows, output)
    else:
        table(COLUMNS, [{**row, "reason": row["reason"].partition("\n")[0]} for row in rows])


def statuses(app: str | None) -> list[dict[str, Any]]:
    """The resources of an application that runs, or of all of them; rows for printing."""
    from cove.host.folder import apps
    from cove.host.remote import NotRunningError

    names = [app] if app is not None else [f.name for f in apps() if f.running]
    rows = []
    for name in names:
        try:
            rows += _rows(name, _statuses(name))
        except NotRunningError:
            if app is not None:
                raise
    return rows


def down(app: str, *, all: bool) -> None:
    """End an application, by its name or its file; returns when nothing of it runs.

    ``all`` ends what is persistent as well.
    """
    from cove.host.folder import AppFolder
    from cove.host.remote import Remote, running
    from cove.host.stop import stop

    name = app
    if app.endswith(".py") or "/" in app or Path(app).exists():
        from cove.host.load import load

        name = load(app).name

    async def ask() -> AppFolder:
        folder = running(name)
        async with Remote(folder) as remote:
            await remote.down(all=all)
        return folder

    stop(_run(ask()))
    note(f"application {name} is down")


def register(app: typer.Typer) -> None:
    """Add the commands that are about applications alone."""
    app.command()(wait)
    app.command()(logs)
    for verb, what in (("start", "Start"), ("stop", "Stop"), ("restart", "Restart")):
        app.command(verb, help=f"{what} one resource of an application that runs.")(_verb(verb))
    app.command()(export)


def wait(
    name: Annotated[
        str | None, typer.Argument(help="A resource. [all that start by themselves]")
    ] = None,
    status: Annotated[
        str, typer.Option("--status", help="What to wait for: healthy or completed.")
    ] = "healthy",
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which to give up. [never]", min=0)
    ] = None,
    app: AppName = None,
) -> None:
    """Wait until a resource is healthy, or has completed; says what stands in the way if not."""
    from cove.host.remote import Remote, running

    if status not in ("healthy", "completed"):
        raise typer.BadParameter("it is healthy or completed", param_hint="--status")

    async def ask() -> None:
        async with Remote(running(app)) as remote:
            await remote.wait(name, status, timeout)

    _run(ask())


def logs(
    names: Annotated[list[str] | None, typer.Argument(help="Resources. [all]")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what follows.")
    ] = False,
    tail: Annotated[int | None, typer.Option(help="So many lines at most. [all]", min=0)] = None,
    app: AppName = None,
    output: Output = Format.table,
) -> None:
    """Print what resources said, also of an application that has ended."""
    from cove.host.folder import AppFolder, apps
    from cove.host.logs import Line, read_log
    from cove.host.remote import NotRunningError, running

    try:
        folder = running(app)
    except NotRunningError:
        known = [f for f in apps() if app is None or f.name == app]
        if follow or len(known) != 1:
            raise
        folder = AppFolder(known[0].name)
    there = folder.log_names()
    if folder.running:
        there = [status.name for status in _statuses(folder.name)]
    unknown = [name for name in names or () if name not in there]
    if unknown:
        raise typer.BadParameter(
            f'there is nothing of "{unknown[0]}", only of {", ".join(there) or "nobody"}',
            param_hint="NAMES",
        )

    def show(time: str, name: str, text: str) -> None:
        if output is Format.table:
            sys.stdout.write(f"{name} | {text}\n")
        else:
            import json

            sys.stdout.write(json.dumps({"time": time, "name": name, "text": text}) + "\n")

    if not follow:
        lines: list[Line] = [
            line for name in names or there for line in read_log(folder.logs, name)
        ]
        lines.sort(key=lambda line: line.time)
        for line in lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]:
            show(line.time.isoformat(), line.name, line.text)
        return

    async def ask() -> None:
        from cove.host.remote import Remote

        async with Remote(folder) as remote, remote.logs(names or (), tail) as found:
            async for doc in found:
                show(doc["time"], doc["name"], doc["text"])
                sys.stdout.flush()

    _run(ask())


def _verb(verb: str) -> Any:
    def command(
        name: Annotated[str, typer.Argument(help="The resource.")], app: AppName = None
    ) -> None:
        from cove.host.remote import Remote, running

        async def ask() -> Status:
            async with Remote(running(app)) as remote:
                return await remote.tell(verb, name)

        note(str(_run(ask())))

    return command


def export(
    app: Annotated[str, typer.Argument(metavar="APP", help="The file that declares it.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write into.")] = Path("deploy"),
) -> None:
    """Write manifests and Helm values that deploy an application's clusters elsewhere."""
    from cove.host.export import export as write
    from cove.host.load import load

    for path in write(load(app), to):
        note(f"wrote {path}")
