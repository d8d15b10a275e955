"""The tree of commands: arguments in, words out."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from cove.operator.generate import Project
    from cove.operator.operator import Operator

__all__ = ["app"]

app = typer.Typer(
    help="Operators: kinds and controllers in Python.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
generating = typer.Typer(help="Make files of an operator.", no_args_is_help=True)
hooking = typer.Typer(help="Register webhooks.", no_args_is_help=True)
app.add_typer(generating, name="generate")
app.add_typer(hooking, name="webhook")

OWN = "."


class Format(StrEnum):
    """How documents are written."""

    yaml = "yaml"
    json = "json"


class _Namespaced(TyperCommand):
    """``--namespaced`` may have a value, after ``=`` only."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = [f"--namespaced={OWN}" if a == "--namespaced" else a for a in args]
        return super().parse_args(ctx, given)


Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODULE:OPERATOR]",
        help="The operator, or the file it is in. [module of [tool.cove.operator] in pyproject.toml]",
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="The kubeconfig. [KUBECONFIG, the pod's account, ~/.kube/config]"),
]
Context = Annotated[str | None, typer.Option(help="Its context. [the current one]")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write below this folder. [out of the table, else print]"),
]
How = Annotated[Format | None, typer.Option("--format", help="Of documents. [yaml]")]


def note(text: str) -> None:
    """Say something to the person."""
    sys.stderr.write(text + "\n")


def _found(ctx: typer.Context, target: str | None) -> tuple[Operator, Project]:
    from cove.operator.commands.load import find_operator
    from cove.operator.generate import Project

    project = Project.find()
    if ctx.obj is not None:
        return ctx.obj, project
    return find_operator(target, project), project


def _run(work: Any) -> None:
    from cove.operator.commands.connect import until_signalled

    code = until_signalled(work)
    if code:
        raise typer.Exit(code)


# -- a new one


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as cache-operator.")],
    dir: Annotated[Path | None, typer.Option("--dir", help="The folder to make. [NAME]")] = None,
    webhook: Annotated[bool, typer.Option(help="With a webhook that validates.")] = True,
) -> None:
    """Make a project: a kind, its controller, tests that pass."""
    from cove.operator.commands.scaffold import scaffold

    for path in scaffold(name, dir or Path(name), webhook=webhook):
        note(f"{path}")
    note(f"next: cd {dir or name} && python -m pytest, then cove operator run")


# -- at work


@app.command(cls=_Namespaced)
def run(
    ctx: typer.Context,
    target: Target = None,
    namespaced: Annotated[
        str | None,
        typer.Option(
            metavar="[=NAMESPACE,…]",
            help="Follow these namespaces only; without a value the pod's own.",
        ),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    base_url: Annotated[
        str | None, typer.Option(help="Where the API server reaches this process's webhooks.")
    ] = None,
    elect: Annotated[bool, typer.Option("--elect", help="One replica works at a time.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the operator until it is interrupted."""
    from cove.operator.commands.connect import connection, with_client
    from cove.operator.commands.run import run_operator
    from cove.operator.settings import Leadership

    op, _ = _found(ctx, target)
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    settings = op.settings
    if namespaced == OWN:
        settings = replace(settings, namespaced=True, namespaces=())
    elif namespaced is not None:
        names = tuple(filter(None, namespaced.split(",")))
        if not names:
            raise typer.BadParameter("names no namespace", param_hint="--namespaced")
        settings = replace(settings, namespaces=names, namespaced=False)
    if base_url is not None:
        settings = replace(settings, base_url=base_url)
    if elect and settings.leadership is None:
        settings = replace(settings, leadership=Leadership())
    given = connection(kubeconfig, context)
    _run(with_client(given, lambda client: run_operator(op, client, settings)))


@app.command()
def install(
    ctx: typer.Context,
    target: Target = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Install its kinds, or bring them up to date."""
    from cove.operator.commands import install as installing
    from cove.operator.commands.connect import connection, with_client

    op, _ = _found(ctx, target)

    async def work(client: Any) -> None:
        for name in await installing.install(op, client):
            note(f"{name} is installed")

    _run(with_client(connection(kubeconfig, context), work))


@app.command()
def uninstall(
    ctx: typer.Context,
    target: Target = None,
    force: Annotated[
        bool, typer.Option("--force", help="Although there are objects: they go with it.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take its kinds, and what is registered for its webhooks, away."""
    from cove.operator.commands import install as installing
    from cove.operator.commands.connect import connection, with_client

    op, _ = _found(ctx, target)

    async def work(client: Any) -> None:
        for name in await installing.uninstall(op, client, force=force):
            note(f"{name} is gone")

    _run(with_client(connection(kubeconfig, context), work))


@app.command()
def version(
    ctx: typer.Context,
    target: Target = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[Format | None, typer.Option("--output", "-o", help="As data.")] = None,
) -> None:
    """Print the operator's and the cluster's versions."""
    from cove._version import __version__
    from cove.operator.commands.connect import connection, with_client
    from cove.operator.generate import text_of

    op, _ = _found(ctx, target)

    async def work(client: Any) -> None:
        served = await client.version()
        facts = {
            "operator": op.name,
            "cove": __version__,
            "kubernetes": str(served.get("gitVersion", "")).removeprefix("v"),
        }
        if output is not None:
            typer.echo(text_of([facts], output.value), nl=False)
        else:
            for key, value in facts.items():
                typer.echo(f"{key} {value}")

    _run(with_client(connection(kubeconfig, context), work))


# -- generate


def _module(target: str | None) -> str:
    """What a pod is to run: what was named, or the program that this is."""
    if target is not None:
        place, colon, name = target.partition(":")
        return f"{Path(place).stem}{colon}{name}" if place.endswith(".py") else target
    program = sys.modules["__main__"]
    if program.__spec__ is not None:
        return program.__spec__.name.removesuffix(".__main__")
    return Path(getattr(program, "__file__", "") or "").stem


def _generate(
    what: str,
    ctx: typer.Context,
    target: str | None,
    out: Path | None,
    format: Format | None,
    **given: Any,
) -> None:
    from cove.operator.generate import generate, render, text_of, write

    op, project = _found(ctx, target)
    chosen = format.value if format is not None else project.format
    options = replace(project.options, **{k: v for k, v in given.items() if v is not None})
    named = target is not None or (ctx.obj is not None and not options.module)
    if named:
        options = replace(options, module=_module(target))
    files = generate(what, op, options, format=chosen, skip=project.skip if what == "all" else ())
    place = out or project.out
    if place is not None:
        for written in write(files, place, chosen):
            kept = ": it is yours, and left as it is" if written.state == "kept" else ""
            note(f"{written.path}: {written.state}{kept}")
        return
    documents = [doc for file in files for doc in file.documents]
    if documents and what in ("crd", "rbac", "operator", "webhooks"):
        typer.echo(text_of(documents, chosen), nl=False)
        return
    for file in files:
        name, text = render(file, chosen)
        typer.echo(f"# {name}\n{text}")


Namespace = Annotated[str | None, typer.Option(help="Where it runs. [NAME-system]")]
Image = Annotated[str | None, typer.Option(help="What its pods run. [NAME:latest]")]
Replicas = Annotated[int | None, typer.Option(help="How many; several elect a leader. [1]", min=0)]
Prefix = Annotated[str | None, typer.Option(help="Before all names that are installed.")]


@generating.command()
def crd(ctx: typer.Context, target: Target = None, out: Out = None, format: How = None) -> None:
    """Its CustomResourceDefinitions."""
    _generate("crd", ctx, target, out, format)


@generating.command()
def rbac(
    ctx: typer.Context,
    target: Target = None,
    out: Out = None,
    format: How = None,
    namespace: Namespace = None,
    replicas: Replicas = None,
) -> None:
    """Its service account, the roles it needs, their bindings."""
    _generate("rbac", ctx, target, out, format, namespace=namespace, replicas=replicas)


@generating.command()
def operator(
    ctx: typer.Context,
    target: Target = None,
    out: Out = None,
    format: How = None,
    namespace: Namespace = None,
    image: Image = None,
    replicas: Replicas = None,
) -> None:
    """Its Deployment, and the Service of webhooks and metrics."""
    _generate(
        "operator", ctx, target, out, format, namespace=namespace, image=image, replicas=replicas
    )


@generating.command()
def webhooks(
    ctx: typer.Context,
    target: Target = None,
    out: Out = None,
    format: How = None,
    namespace: Namespace = None,
) -> None:
    """What it registers for its webhooks when it runs."""
    _generate("webhooks", ctx, target, out, format, namespace=namespace)


@generating.command()
def installer(
    ctx: typer.Context,
    target: Target = None,
    out: Out = None,
    format: How = None,
    namespace: Namespace = None,
    image: Image = None,
    prefix: Prefix = None,
) -> None:
    """A kustomization of all of it; one that is there is kept."""
    _generate(
        "installer", ctx, target, out, format, namespace=namespace, image=image, prefix=prefix
    )


@generating.command()
def docker(ctx: typer.Context, target: Target = None, out: Out = None, image: Image = None) -> None:
    """A Dockerfile and a .dockerignore; those that are there are kept."""
    _generate("docker", ctx, target, out, None, image=image)


@generating.command()
def helm(
    ctx: typer.Context,
    target: Target = None,
    out: Out = None,
    image: Image = None,
    replicas: Replicas = None,
) -> None:
    """A Helm chart."""
    _generate("helm", ctx, target, out, None, image=image, replicas=replicas)


@generating.command("all")
def all_(
    ctx: typer.Context,
    target: Target = None,
    out: Out = None,
    format: How = None,
    namespace: Namespace = None,
    image: Image = None,
    replicas: Replicas = None,
    prefix: Prefix = None,
) -> None:
    """All of these but what the table of the project skips."""
    _generate(
        "all",
        ctx,
        target,
        out,
        format,
        namespace=namespace,
        image=image,
        replicas=replicas,
        prefix=prefix,
    )


# -- webhooks


@hooking.command("install")
def webhook_install(
    ctx: typer.Context,
    target: Target = None,
    namespace: Namespace = None,
    service: Annotated[
        str | None, typer.Option(help="The Service that leads to it. [its name]")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Register its webhooks at a Service of the cluster, and make their certificates."""
    from cove.operator.commands.connect import connection, with_client
    from cove.operator.commands.hooks import install_webhooks

    op, project = _found(ctx, target)
    chosen = replace(project.options, namespace=namespace or project.options.namespace)
    place = (chosen.complete(op).namespace, service or op.name)

    async def work(client: Any) -> None:
        await install_webhooks(op, client, place)
        note(f"the webhooks of {op.name} are registered at service {'/'.join(place)}")

    _run(with_client(connection(kubeconfig, context), work))


@hooking.command("register")
def webhook_register(
    ctx: typer.Context,
    target: Target = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="Where the API server reaches this process. [it is looked for]"),
    ] = None,
    tunnel: Annotated[
        bool, typer.Option("--tunnel", help="The URL is a tunnel's, with a certificate of its own.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Serve its webhooks from this process, registered until it is interrupted."""
    from cove.operator.commands.connect import connection, with_client
    from cove.operator.commands.hooks import serve_webhooks

    op, _ = _found(ctx, target)
    given = connection(kubeconfig, context)
    _run(
        with_client(
            given, lambda client: serve_webhooks(op, client, base_url, tunnel=tunnel, say=note)
        )
    )
