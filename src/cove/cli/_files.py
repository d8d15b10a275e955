"""``cove files``: a cluster as files, mounted or not."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cove.cli._common import DEFAULT, Output
from cove.cli._output import Format, emit, note, table

if TYPE_CHECKING:
    from cove.files import FileError, Tree
    from cove.files.source import Source

app = typer.Typer(
    help="A cluster as a read-only file system: mounted, or read without mounting.",
    no_args_is_help=True,
)

Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        "-n",
        help="A cluster of cove. [KUBECONFIG's, else COVE_CLUSTER or cove if it runs]",
    ),
]
Context = Annotated[str | None, typer.Option(help="A context of the kubeconfig. [the current one]")]
Kubeconfig = Annotated[Path | None, typer.Option(help="A kubeconfig. [KUBECONFIG, ~/.kube/config]")]
UnixSocket = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="The socket of a `kubectl proxy --unix-socket PATH`."),
]
Secrets = Annotated[bool, typer.Option("--secrets", help="Show the values of Secrets.")]
HideEmpty = Annotated[
    bool, typer.Option("--hide-empty-types", help="Leave out types that have no objects.")
]
Namespaces = Annotated[
    list[str] | None, typer.Option("--namespace", help="Only this namespace; repeatable.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Leave out names that match; repeatable."),
]
Where = Annotated[str, typer.Argument(metavar="[PATH]", help="A path in the cluster.")]


class Kind(StrEnum):
    """What ``find --type`` takes."""

    f = "f"
    d = "d"
    l = "l"  # noqa: E741  # find's letter


def _source(
    name: str | None, context: str | None, kubeconfig: Path | None, unix_socket: Path | None
) -> Source:
    from cove.engines.home import ClusterFolder
    from cove.files.source import Source

    given = [
        option
        for option, value in (
            ("--name", name),
            ("--kubeconfig", kubeconfig),
            ("--unix-socket", unix_socket),
        )
        if value is not None
    ]
    if len(given) > 1 or (context is not None and (name or unix_socket)):
        raise typer.BadParameter("say one of them: each names a cluster", param_hint=given)
    if unix_socket is not None:
        return Source(unix_socket=os.fspath(unix_socket)).pinned()
    if name is not None:
        from cove.cli._common import existing

        return Source(kubeconfig=os.fspath(existing(name).kubeconfig)).pinned()
    if kubeconfig is None and context is None and not os.environ.get("KUBECONFIG"):
        folder = ClusterFolder(os.environ.get("COVE_CLUSTER") or DEFAULT)
        if folder.exists and folder.serving() is not None:
            return Source(kubeconfig=os.fspath(folder.kubeconfig)).pinned()
    path = None if kubeconfig is None else os.fspath(kubeconfig)
    return Source(kubeconfig=path, context=context).pinned()


def _mounts() -> Path:
    from cove.engines.home import home

    return home() / "mounts"


def _with_tree(
    source: Source, work: Callable[[Tree], Coroutine[Any, Any, int]], **options: Any
) -> None:
    import asyncio

    async def run() -> int:
        async with source.tree(**options) as tree:
            return await work(tree)

    code = asyncio.run(run())
    if code:
        raise typer.Exit(code)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _tell(error: FileError) -> None:
    note(f"error: {error}")


@app.command()
def mount(
    directory: Annotated[
        Path | None,
        typer.Argument(help="Where; made if it is not there. Without it: what is mounted."),
    ] = None,
    name: Name = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    unix_socket: UnixSocket = None,
    namespace: Namespaces = None,
    hide_empty_types: HideEmpty = False,
    secrets: Secrets = False,
    allow_other: Annotated[
        bool, typer.Option("--allow-other", help="Let other users of this machine read it.")
    ] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", "-f", help="Stay until Ctrl-C, which unmounts.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Mount a cluster as a read-only file system, in the background.

    The context is pinned: the mount stays with it whatever becomes the current one.
    """
    from cove.files.mounting.process import MountOptions, records, start

    if directory is None:
        rows = [
            {"directory": str(r.path), "cluster": r.context, "pid": r.pid, "log": str(r.log)}
            for r in records(_mounts())
        ]
        if output is not Format.table:
            emit(rows, output)
        elif rows:
            table(("directory", "cluster", "pid", "log"), rows)
        else:
            note("nothing is mounted: `cove files mount DIRECTORY` does")
        return
    path = Path(os.path.abspath(directory))
    options = MountOptions(
        path=os.fspath(path),
        source=_source(name, context, kubeconfig, unix_socket),
        namespaces=tuple(namespace or ()),
        hide_empty_types=hide_empty_types,
        secrets=secrets,
        allow_other=allow_other,
    )
    options.source.connection()
    with contextlib.suppress(FileExistsError):
        # One that a killed process left mounted is there, too.
        path.mkdir(parents=True)
    if foreground:
        from cove.files.mounting.serve import run

        def ready(where: str) -> None:
            note(f"{where} is mounted at {path}; Ctrl-C unmounts it")

        code = run(options, ready)
        if code:
            raise typer.Exit(code)
        return
    record = start(options, _mounts())
    if output is not Format.table:
        emit(
            {
                "directory": str(path),
                "cluster": record.context,
                "pid": record.pid,
                "log": str(record.log),
            },
            output,
        )
        return
    note(f"{record.context} is mounted at {path} (pid {record.pid}, log {record.log})")
    note(f"unmount it: cove files unmount {path}")


@app.command()
def unmount(
    directory: Annotated[Path | None, typer.Argument(help="What was mounted.")] = None,
    all: Annotated[bool, typer.Option("--all", help="All that is mounted.")] = False,
    lazy: Annotated[
        bool, typer.Option("--lazy", help="Also while it is in use, which is cut off.")
    ] = False,
) -> None:
    """Unmount; a mount whose process was killed, too."""
    from cove.files.mounting.process import records, stop

    if (directory is None) is not all:
        raise typer.BadParameter("say a directory or --all", param_hint="DIRECTORY")
    paths = (
        [record.path for record in records(_mounts())]
        if directory is None
        else [Path(os.path.abspath(directory))]
    )
    for path in paths:
        if stop(path, _mounts(), lazy=lazy):
            note(f"{path} is unmounted")
        elif not all:
            note(f"error: nothing is mounted at {path}")
            raise typer.Exit(1)


@app.command()
def ls(
    path: Where = "/",
    long: Annotated[bool, typer.Option("--long", "-l", help="Sizes and times, too.")] = False,
    name: Name = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    unix_socket: UnixSocket = None,
    namespace: Namespaces = None,
    hide_empty_types: HideEmpty = False,
    secrets: Secrets = False,
    output: Output = Format.table,
) -> None:
    """List a directory of a cluster, without mounting it."""
    where = _absolute(path)

    async def work(tree: Tree) -> int:
        from cove.files.walking import details

        detailed = long or output is not Format.table
        rows = await details(tree, where, detailed=detailed, problem=_tell)
        if output is not Format.table:
            emit(rows, output)
        elif long:
            table(("kind", "size", "modified", "name"), rows)
        else:
            for row in rows:
                typer.echo(row["name"])
        return 0

    _with_tree(
        _source(name, context, kubeconfig, unix_socket),
        work,
        namespaces=namespace or (),
        hide_empty_types=hide_empty_types,
        secrets=secrets,
    )


@app.command()
def cat(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files in the cluster.")],
    name: Name = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    unix_socket: UnixSocket = None,
    secrets: Secrets = False,
) -> None:
    """Print files of a cluster, without mounting it."""

    async def work(tree: Tree) -> int:
        from cove.files import FileError
        from cove.files.walking import pieces

        code = 0
        for path in paths:
            try:
                async for piece in pieces(tree, _absolute(path)):
                    sys.stdout.buffer.write(piece)
            except FileError as e:
                _tell(e)
                code = 1
        sys.stdout.buffer.flush()
        return code

    _with_tree(_source(name, context, kubeconfig, unix_socket), work, secrets=secrets)


@app.command()
def find(
    path: Where = "/",
    pattern: Annotated[
        str | None, typer.Option("--match", metavar="GLOB", help="Only names that match.")
    ] = None,
    type: Annotated[Kind | None, typer.Option(help="Only files, directories or links.")] = None,
    max_depth: Annotated[
        int | None, typer.Option("--max-depth", min=0, help="How deep to look. [all the way]")
    ] = None,
    exclude: Exclude = None,
    name: Name = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    unix_socket: UnixSocket = None,
    namespace: Namespaces = None,
    hide_empty_types: HideEmpty = False,
    output: Output = Format.table,
) -> None:
    """Print the paths below a directory of a cluster, without mounting it."""

    async def work(tree: Tree) -> int:
        from cove.files.walking import search

        problems: list[FileError] = []

        def problem(error: FileError) -> None:
            _tell(error)
            problems.append(error)

        rows: list[dict[str, str]] = []
        async for found in search(
            tree,
            _absolute(path),
            pattern=pattern,
            kind=None if type is None else type.value,
            max_depth=max_depth,
            exclude=exclude or (),
            problem=problem,
        ):
            if output is Format.table:
                typer.echo(found.path)
            else:
                rows.append({"path": found.path, "kind": found.kind})
        if output is not Format.table:
            emit(rows, output)
        return 1 if problems else 0

    _with_tree(
        _source(name, context, kubeconfig, unix_socket),
        work,
        namespaces=namespace or (),
        hide_empty_types=hide_empty_types,
    )


@app.command()
def export(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A path in the cluster.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A new directory, a .tar, .tar.gz or .tgz, or - for a tar to pipe.",
        ),
    ],
    exclude: Exclude = None,
    name: Name = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    unix_socket: UnixSocket = None,
    namespace: Namespaces = None,
    hide_empty_types: HideEmpty = False,
    secrets: Secrets = False,
) -> None:
    """Copy what is below a path to a directory or an archive, without mounting it."""

    async def work(tree: Tree) -> int:
        from cove.files.walking import export as copy

        problems: list[FileError] = []

        def problem(error: FileError) -> None:
            _tell(error)
            problems.append(error)

        copied = await copy(tree, _absolute(path), target, problem=problem, exclude=exclude or ())
        note(f"{copied} files were copied to {'standard output' if target == '-' else target}")
        return 1 if problems else 0

    _with_tree(
        _source(name, context, kubeconfig, unix_socket),
        work,
        namespaces=namespace or (),
        hide_empty_types=hide_empty_types,
        secrets=secrets,
    )
