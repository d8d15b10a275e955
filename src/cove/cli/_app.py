"""The commands."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cove._version import __version__
from cove.cli import _apps, _attached, _clone, _dev, _files, _operator, _record, _snapshot
from cove.cli._common import DEFAULT, Name, Output, existing, known, option
from cove.cli._output import Format, emit, note, table
from cove.engines.home import ClusterFolder, UnknownClusterError, clusters, home

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(_snapshot.app, name="snapshot")
app.add_typer(_operator.app, name="operator")
app.add_typer(_files.app, name="files")
app.add_typer(_dev.app, name="dev")
app.command()(_record.record)
app.command()(_clone.clone)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cove {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A Kubernetes you carry with you."""


@app.command()
def up(
    application: Annotated[
        str | None,
        typer.Argument(
            metavar="APP",
            help="The file that declares an application (FILE:VARIABLE for one of several): run "
            "that. Options of a cluster are declared in it.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Run the application in the background.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            help="Where clusters come from: embedded, k3s or existing. "
            "[the one it had, COVE_ENGINE, embedded]",
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(help="The kubeconfig's context, for the engine existing. [the current one]"),
    ] = None,
    output: Output = Format.table,
    name: Name = DEFAULT,
    kubernetes: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Version of Kubernetes, or tag of k3s' image (k3s)."),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=IMAGE",
            help="Another image for server, agent, registry or ingress (k3s); repeatable.",
        ),
    ] = None,
    extra_arg: Annotated[
        list[str] | None,
        typer.Option(help="One more argument for `k3s server` (k3s); repeatable."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port of the API server; 0 takes a free one. [0]", min=0, max=65535),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(help="How many nodes; 0 has none. [1]", min=0)
    ] = None,
    service_subnet: Annotated[
        str | None, typer.Option(help="Addresses of services. [10.96.0.0/12]")
    ] = None,
    pod_subnet: Annotated[
        str | None, typer.Option(help="Addresses of pods. [10.244.0.0/16]")
    ] = None,
    enable_admission: Annotated[
        list[str] | None,
        typer.Option(metavar="PLUGIN", help="Turn an admission plugin on; repeatable."),
    ] = None,
    disable_admission: Annotated[
        list[str] | None,
        typer.Option(metavar="PLUGIN", help="Turn an admission plugin off; repeatable."),
    ] = None,
    history: Annotated[
        int | None, typer.Option(help="How many writes are remembered. [16384]", min=1)
    ] = None,
    history_mib: Annotated[
        int | None, typer.Option(help="… as long as they fit into so many MiB. [24]", min=1)
    ] = None,
    container_engine: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            help="What runs the pods: docker, podman, none (simulated), an address, or auto. [auto]",
        ),
    ] = None,
    ingress: Annotated[
        bool | None, typer.Option(help="Serve Ingresses on this machine. [yes, where pods run]")
    ] = None,
    registry: Annotated[
        bool | None, typer.Option(help="Run an image registry. [yes, where pods run]")
    ] = None,
    registry_mirror: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST=URL",
            help="Fetch images of HOST once, through the registry; repeatable.",
        ),
    ] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option(help="Names below it lead to Ingresses; repeatable. [cove.localhost]"),
    ] = None,
    in_memory: Annotated[
        bool, typer.Option("--in-memory", help="Keep nothing when the cluster stops.")
    ] = False,
    merge_kubeconfig: Annotated[
        bool, typer.Option("--merge-kubeconfig", help="Add the cluster to ~/.kube/config.")
    ] = False,
) -> None:
    """Start a cluster in the background, or run the application APP.

    A cluster that runs is left as it is; options that are not given are as they were the
    last time.  An application is run until Ctrl-C, which ends it in reverse order.
    """
    if application is not None:
        code = _apps.up(
            application,
            engine=engine,
            container_engine=container_engine,
            context=context,
            detach=detach,
            output=output,
        )
        raise typer.Exit(code)
    if detach:
        raise typer.BadParameter("it is an option of an application: cove up APP", param_hint="APP")
    from cove.engines.attached import engine_of
    from cove.engines.process import start

    for mirror in filter(None, registry_mirror or ()):
        if not all(mirror.partition("=")):
            raise typer.BadParameter(
                f'"{mirror}" is not HOST=URL, such as docker.io=https://registry-1.docker.io',
                param_hint="--registry-mirror",
            )
    for each in image or ():
        if not all(each.partition("=")):
            raise typer.BadParameter(f'"{each}" is not ROLE=IMAGE', param_hint="--image")
    which = engine_of(name, engine)
    others = {"version": kubernetes, "images": image, "extra_args": extra_arg, "context": context}
    if which != "embedded":
        embedded_only = {
            "history": history,
            "history_mib": history_mib,
            "enable_admission": enable_admission,
            "disable_admission": disable_admission,
        }
        _attached.refuse({k: v for k, v in embedded_only.items() if v}, which)
        if nodes == 0:
            raise typer.BadParameter("a server is a node: 1 or more", param_hint="--nodes")
        told = {
            **others,
            "images": tuple(image or ()),
            "extra_args": tuple(extra_arg or ()),
            "agents": None if nodes is None else nodes - 1,
            "api_port": port,
            "pod_subnet": pod_subnet,
            "service_subnet": service_subnet,
            "ingress": ingress,
            "registry": registry,
            "domains": _plugins(domain) or (),
            "mirrors": _plugins(registry_mirror) or (),
            "in_memory": in_memory or None,
            "container_engine": container_engine,
        }
        _attached.up(name, which, told, _user_kubeconfig() if merge_kubeconfig else None)
        return
    for option_, value in others.items():
        if value:
            hint = {"version": "--kubernetes", "images": "--image", "extra_args": "--extra-arg"}
            raise typer.BadParameter(
                "it is for other engines: --engine k3s or existing",
                param_hint=hint.get(option_, f"--{option_}"),
            )
    begun = time.monotonic()
    given: dict[str, Any] = {
        "port": port,
        "nodes": nodes,
        "service_subnet": service_subnet,
        "pod_subnet": pod_subnet,
        "history": history,
        "history_mib": history_mib,
        "container_engine": container_engine,
        "ingress": ingress,
        "registry": registry,
        "domains": _plugins(domain),
        "mirrors": _plugins(registry_mirror),
        # An empty one takes back those of the last time.
        "enable_admission": _plugins(enable_admission),
        "disable_admission": _plugins(disable_admission),
    }
    given = {key: value for key, value in given.items() if value is not None}
    settings = replace(ClusterFolder(name).settings, in_memory=in_memory, **given)
    started = start(name, settings)
    if started.already:
        note(f"cluster {name} is already running (pid {started.pid})")
        running = started.folder.settings
        if any(getattr(running, key) != value for key, value in given.items()):
            note("its options differ from the ones given; give them again after `cove down`")
    else:
        took = time.monotonic() - begun
        note(f"cluster {name} is up in {took:.2f} s: {_server(started.folder)}")
    if settings.nodes:
        note(_what_runs_pods(settings.container_engine))
        for what, address in started.folder.addresses.items():
            note(f"{what}: {address}")
        for sentence in started.folder.missing:
            note(sentence)
    if merge_kubeconfig:
        merge_user_kubeconfig(started.folder.kubeconfig, name)
    note(f'use it: eval "$(cove env{option(name)})"')


def _what_runs_pods(asked: str | None) -> str:
    from cove.node.docker import EngineError, find_engine

    try:
        engine = find_engine(asked)
    except EngineError as e:
        return str(e)
    if engine is None:
        return "pods are simulated: they run no containers (`cove doctor` says why)"
    return f"pods run in {engine}"


def _plugins(names: list[str] | None) -> tuple[str, ...] | None:
    return None if not names else tuple(filter(None, names))


def merge_user_kubeconfig(kubeconfig: Path, name: str) -> None:
    """Add a cluster to the user's own kubeconfig, as the current context."""
    from cove.engines.kubeconfig import merge

    target = _user_kubeconfig()
    merge(target, kubeconfig, name)
    note(f"context {name} is the current one in {target}")


def unmerge_user_kubeconfig(name: str) -> None:
    """Take back what was added of a cluster of this machine, if it was."""
    _unmerge(ClusterFolder(name))


def _user_kubeconfig() -> Path:
    given = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(given) if given else Path.home() / ".kube" / "config"


def _server(folder: ClusterFolder) -> str:
    for line in (folder.read("kubeconfig") or b"").decode().splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "server":
            return value
    return ""


@app.command()
def down(
    application: Annotated[
        str | None,
        typer.Argument(metavar="APP", help="The name of an application that runs, or its file."),
    ] = None,
    all: Annotated[
        bool, typer.Option("--all", help="End what the application declares persistent, too.")
    ] = False,
    name: Name = DEFAULT,
) -> None:
    """Stop an application, or a cluster; what a cluster holds stays for the next start."""
    if application is not None:
        _apps.down(application, all=all)
        return
    other = _attached.find(name)
    if other is not None:
        from cove.engines.kubeconfig import unmerge

        unmerge(_user_kubeconfig(), name, other.server)
        _attached.down(other)
        return
    from cove.engines.process import stop

    if stop(name):
        note(f"cluster {name} is down")
    else:
        note(f"cluster {name} was not running")
    _unmerge(ClusterFolder(name))


def _unmerge(folder: ClusterFolder) -> None:
    """Take back what ``up --merge-kubeconfig`` added."""
    from cove.engines.kubeconfig import unmerge

    name, target = folder.name, _user_kubeconfig()
    if target != folder.kubeconfig and unmerge(target, name, _server(folder)):
        note(f"context {name} is gone from {target}")


_apps.register(app)


@app.command()
def reset(
    name: Name = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop a cluster and delete everything of it."""
    from cove.engines.process import stop

    folder = ClusterFolder(name)
    other = _attached.find(name)
    if other is None and not folder.path.is_dir():
        raise UnknownClusterError(name, known())
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on: say --yes")
        typer.confirm(f"Delete cluster {name} and all its objects?", abort=True)
    if other is not None:
        _attached.reset(other)
        return
    stop(name)
    _unmerge(folder)
    folder.remove()
    note(f"cluster {name} is gone")


@app.command()
def status(
    name: Annotated[str | None, typer.Option("--name", "-n", help="Only this cluster.")] = None,
    application: _apps.AppName = None,
    output: Output = Format.table,
) -> None:
    """Say which clusters and applications there are and how they are.

    As data: the clusters, or the resources of the one application that --app names.
    """
    if application is not None:
        _apps.show(_apps.statuses(application), output)
        return
    from cove.engines.attached import every

    others = [each for each in every() if name in (None, each.name)]
    folders = ([] if others else [existing(name)]) if name else clusters()
    rows = [_describe(folder) for folder in folders]
    for each in others:
        row = _attached.describe(each)
        if row["server"]:
            _count_into(row)
        rows.append(row)
    if output is not Format.table:
        emit(rows, output)
    else:
        resources = [] if name else _apps.statuses(None)
        if rows:
            columns = ("name", "engine", "state", "server", "nodes", "pods", "pid")
            table(columns if others else tuple(c for c in columns if c != "engine"), rows)
        if resources:
            note("")
            _apps.show(resources, output)
        if not rows and not resources:
            note("no cluster: start one with `cove up`")
    if name and not rows[0]["state"].startswith("running"):
        raise typer.Exit(1)


def _describe(folder: ClusterFolder) -> dict[str, Any]:
    pid = folder.serving()
    row: dict[str, Any] = {
        "name": folder.name,
        "engine": "embedded",
        "state": "stopped" if pid is None else "running",
        "server": _server(folder) if pid is not None else "",
        "nodes": "",
        "pods": "",
        "pid": pid,
        "addresses": folder.addresses if pid is not None else {},
        "kubeconfig": str(folder.kubeconfig),
        "log": str(folder.log),
    }
    if pid is not None:
        _count_into(row)
    return row


def _count_into(row: dict[str, Any]) -> None:
    """Put into a cluster's row how many of its nodes and pods are well."""
    import asyncio

    try:
        row["nodes"], row["pods"] = asyncio.run(_count(row["kubeconfig"]))
    except Exception as e:
        # Whatever keeps it from answering is what the state has to say.
        row["state"] = f"not answering ({e})"


async def _count(file: str) -> tuple[str, str]:
    from cove.client import Client, kubeconfig
    from cove.kube.gvk import GVR

    connection = kubeconfig.load(file)
    async with Client.connect(connection) as client:
        nodes = (await client.list(GVR("", "v1", "nodes"))).items
        pods = (await client.list(GVR("", "v1", "pods"))).items

    def is_true(obj: dict[str, Any], type_: str) -> bool:
        return any(
            c.get("type") == type_ and c.get("status") == "True"
            for c in obj.get("status", {}).get("conditions", ())
        )

    ready = sum(is_true(n, "Ready") for n in nodes)
    running = sum(p.get("status", {}).get("phase") == "Running" for p in pods)
    return f"{ready}/{len(nodes)}", f"{running}/{len(pods)}"


@app.command()
def env(name: Name = DEFAULT, output: Output = Format.table) -> None:
    """Print the environment of a cluster for a shell: eval "$(cove env)"."""
    folder = _attached.find(name) or existing(name)
    values = {"KUBECONFIG": str(folder.kubeconfig), "COVE_CLUSTER": name}
    for what, address in folder.addresses.items():
        values[f"COVE_{what.upper()}"] = address
    if "https" in folder.addresses:
        # Who signed for the hosts of Ingresses: for curl --cacert, SSL_CERT_FILE and the like.
        values["COVE_CA"] = str(folder.path / "ca.crt")
    if output is not Format.table:
        emit(values, output)
        return
    import shlex

    for key, value in values.items():
        typer.echo(f"export {key}={shlex.quote(value)}")


@app.command()
def kubeconfig(
    name: Name = DEFAULT,
    show: Annotated[bool, typer.Option("--show", help="Print the content, not the path.")] = False,
) -> None:
    """Print where a cluster's kubeconfig is."""
    folder = _attached.find(name) or existing(name)
    typer.echo(folder.kubeconfig.read_text() if show else str(folder.kubeconfig), nl=not show)


@app.command()
def version(output: Output = Format.table) -> None:
    """Print versions."""
    import platform

    from cove.kube.version import KUBERNETES

    facts = {
        "cove": __version__,
        "kubernetes": KUBERNETES,
        "python": platform.python_version(),
    }
    if output is not Format.table:
        emit(facts, output)
        return
    for key, value in facts.items():
        typer.echo(f"{key} {value}")


@app.command()
def doctor(output: Output = Format.table) -> None:
    """Check what cove needs and say what to do about what is missing."""
    from cove.engines.doctor import examine

    findings = examine(home())
    if output is not Format.table:
        emit([f.to_dict() for f in findings], output)
    else:
        table(("check", "state", "detail"), [f.to_dict() for f in findings])
    if any(f.state == "failed" for f in findings):
        raise typer.Exit(1)
