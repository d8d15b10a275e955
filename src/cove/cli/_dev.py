"""``cove dev``: the inner loop; what its commands do is in :mod:`cove.dev`."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cove.cli._common import Output
from cove.cli._output import Format, emit, note, table

if TYPE_CHECKING:
    from cove.dev.plan import Plan
    from cove.dev.session import Options

__all__ = ["app"]

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Edit, build, push, roll, log, sync: the inner loop.")

File = Annotated[
    str | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="What declares the loop: app.py (FILE:VARIABLE), skaffold.yaml or a compose file. "
        "[the first of them here]",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(metavar="ENGINE", help="embedded, k3s or existing. [COVE_ENGINE, embedded]"),
]
Context = Annotated[
    str | None, typer.Option(help="Work on the existing cluster of this kubeconfig context.")
]
ContainerEngine = Annotated[
    str | None,
    typer.Option(metavar="ENGINE", help="docker, podman, none, an address, or auto. [auto]"),
]
Registry = Annotated[
    str | None,
    typer.Option(
        metavar="HOST/PATH",
        help="Where images are pushed to. [COVE_DEV_REGISTRY, what the cluster says itself]",
    ),
]
Cluster = Annotated[
    str | None, typer.Option(help="Which of the application's clusters, where it has several.")
]
ClusterName = Annotated[
    str | None, typer.Option("--name", "-n", help="What the cluster is called on this machine.")
]
PerBranch = Annotated[bool, typer.Option("--per-branch", help="A cluster of the git branch's own.")]
Profile = Annotated[
    list[str] | None,
    typer.Option("--profile", "-p", metavar="NAME", help="A profile of skaffold.yaml; repeatable."),
]
Poll = Annotated[
    bool, typer.Option("--poll", help="Look at files again and again: for network file systems.")
]


def _plan(
    file: str | None,
    cluster: str | None,
    name: str | None,
    per_branch: bool,
    profile: list[str] | None,
    command: str = "dev",
    context: str | None = None,
) -> Plan:
    from dataclasses import replace

    from cove.dev.find import plan_from
    from cove.dev.settle import branch_of, on_branch

    plan = plan_from(
        file, cluster=cluster, profiles=profile or (), command=command, context=context
    )
    if name is not None:
        plan = replace(plan, cluster=replace(plan.cluster, name=name))
    return on_branch(plan, branch_of(plan.root)) if per_branch else plan


def _options(
    engine: str | None, container_engine: str | None, context: str | None, registry: str | None
) -> Options:
    from cove.dev.session import Options

    return Options(
        engine=engine, container_engine=container_engine, context=context, registry=registry
    )


def _say(name: str, text: str) -> None:
    note(f"{name} | {text}")


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


@app.command()
def up(
    file: File = None,
    engine: Engine = None,
    context: Context = None,
    container_engine: ContainerEngine = None,
    cluster: Cluster = None,
    name: ClusterName = None,
    per_branch: PerBranch = False,
    merge_kubeconfig: Annotated[
        bool, typer.Option("--merge-kubeconfig", help="Add the cluster to ~/.kube/config.")
    ] = False,
    output: Output = Format.table,
) -> None:
    """Have the cluster, its registry and its ports; what is up stays as it is."""
    from cove.dev.commands import up as work

    plan = _plan(file, cluster, name, per_branch, None)
    options = _options(engine, container_engine, context, None)
    found = _run(work(plan, options, say=_say))
    if merge_kubeconfig:
        from cove.cli._app import merge_user_kubeconfig

        merge_user_kubeconfig(Path(found["kubeconfig"]), found["name"])
    _show(found, output)


def _show(found: dict[str, Any], output: Format) -> None:
    if output is not Format.table:
        emit(found, output)
        return
    rows = [{"what": key, "is": value} for key, value in found.items() if value]
    for row in rows:
        if isinstance(row["is"], dict):
            row["is"] = ", ".join(f"localhost:{k} → {v}" for k, v in row["is"].items())
        elif isinstance(row["is"], list):
            row["is"] = ", ".join(row["is"])
    table(("what", "is"), rows)


@app.command()
def bootstrap(
    file: File = None,
    engine: Engine = None,
    context: Context = None,
    container_engine: ContainerEngine = None,
    registry: Registry = None,
    cluster: Cluster = None,
    name: ClusterName = None,
    per_branch: PerBranch = False,
    profile: Profile = None,
    output: Output = Format.table,
) -> None:
    """Up, and everything that is declared deployed and ready: CRDs, charts, manifests."""
    from cove.dev.commands import bootstrap as work

    plan = _plan(file, cluster, name, per_branch, profile, "run", context)
    options = _options(engine, container_engine, context, registry)
    _show(_run(work(plan, options, say=_say)), output)


@app.command()
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which programs. [all]")
    ] = None,
    file: File = None,
    engine: Engine = None,
    context: Context = None,
    container_engine: ContainerEngine = None,
    registry: Registry = None,
    cluster: Cluster = None,
    name: ClusterName = None,
    per_branch: PerBranch = False,
    once: Annotated[
        bool, typer.Option("--once", help="Do not start them again when files change.")
    ] = False,
    poll: Poll = False,
    output: Output = Format.table,
) -> None:
    """Run programs on this machine, outside of the cluster, again whenever their files change.

    They get KUBECONFIG, their declared variables and what they refer to: URLs of endpoints,
    names of images in the registry.  Ends with their exit code.
    """
    from cove.dev.commands import run as work

    plan = _plan(file, cluster, name, per_branch, None)
    options = _options(engine, container_engine, context, registry)
    json = output is not Format.table
    code = _run(work(plan, options, names=names or (), watch_files=not once, poll=poll, json=json))
    raise typer.Exit(code)


@app.command()
def watch(
    file: File = None,
    engine: Engine = None,
    context: Context = None,
    container_engine: ContainerEngine = None,
    registry: Registry = None,
    cluster: Cluster = None,
    name: ClusterName = None,
    per_branch: PerBranch = False,
    profile: Profile = None,
    cleanup: Annotated[bool, typer.Option(help="Take away what was deployed when it ends.")] = True,
    logs: Annotated[bool, typer.Option(help="Show what the pods that were rolled say.")] = True,
    poll: Poll = False,
    output: Output = Format.table,
) -> None:
    """Build, push and deploy what changes, or copy it into running pods, until Ctrl-C."""
    from cove.dev.commands import watch as work

    plan = _plan(file, cluster, name, per_branch, profile, context=context)
    options = _options(engine, container_engine, context, registry)
    json = output is not Format.table
    code = _run(work(plan, options, cleanup=cleanup, logs=logs, poll=poll, json=json))
    raise typer.Exit(code)


@app.command()
def sync(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE]...", help="Which images. [all]")
    ] = None,
    file: File = None,
    engine: Engine = None,
    context: Context = None,
    container_engine: ContainerEngine = None,
    registry: Registry = None,
    cluster: Cluster = None,
    name: ClusterName = None,
    per_branch: PerBranch = False,
    profile: Profile = None,
    output: Output = Format.table,
) -> None:
    """Build and push every image once; what the registry has is left as it is."""
    from cove.dev.commands import sync as work

    plan = _plan(file, cluster, name, per_branch, profile, "build", context)
    options = _options(engine, container_engine, context, registry)
    rows = _run(work(plan, options, names=images or (), say=_say))
    if output is not Format.table:
        emit(rows, output)
    else:
        table(("name", "how", "reference"), rows)


@app.command()
def down(
    file: File = None,
    cluster: Cluster = None,
    name: ClusterName = None,
    per_branch: PerBranch = False,
) -> None:
    """End everything: programs, what was deployed, the cluster, its registry, built images.

    It works after a crash, too.  Of an existing cluster only what was deployed goes.
    """
    from cove.cli._app import unmerge_user_kubeconfig
    from cove.dev.down import down as work

    if name is None or per_branch:
        name = _plan(file, cluster, name, per_branch, None).cluster.name
    unmerge_user_kubeconfig(name)
    if not _run(work(name, say=_say)):
        note(f"there was nothing of {name}")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The repository to look at.")] = Path(),
    write: Annotated[
        Path | None,
        typer.Option("--write", "-w", metavar="FILE", help="Write it there instead of printing."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Propose a Python file for a repository: its Dockerfiles, charts, manifests, compose."""
    from cove.dev.init import propose

    proposed = propose(folder)
    for remark in proposed.remarks:
        note(remark)
    if write is None:
        typer.echo(proposed.text, nl=False)
        return
    if write.exists() and not force:
        raise typer.BadParameter(f"{write} is there: say --force to replace it", param_hint="-w")
    write.write_text(proposed.text)
    note(f"{write} was written: look at it, then `cove dev watch -f {write}`")
