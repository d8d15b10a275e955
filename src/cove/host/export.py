"""Export: the cluster part of an application, as files that deploy it anywhere.

::

    DIR/CLUSTER/deploy.sh           every step in the application's order, with kubectl and Helm
    DIR/CLUSTER/NAME.yaml           manifests, kustomizations built
    DIR/CLUSTER/NAME.values.yaml    all values of a release, merged
    DIR/CLUSTER/NAME.chart/         its chart, where that is a folder or a file

Processes, containers and endpoints stay behind: they are of the development machine.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cove.host.errors import AppError
from cove.host.resources.cluster import ClusterResource
from cove.host.resources.helm import HelmResource
from cove.host.resources.manifests import ManifestsResource

if TYPE_CHECKING:
    from cove.host.app import App
    from cove.host.resource import Resource

__all__ = ["export"]

CRD = "CustomResourceDefinition"
_HEAD = """#!/bin/sh
# Deploys {cluster} of {app} to the cluster that kubectl and helm point to.
set -eu
cd "$(dirname "$0")"
"""


def export(app: App, folder: Path) -> list[Path]:
    """Write the files into ``folder``, made if need be; the paths that were written.

    Raises GraphError for an application that could not start, AppError if it has no
    cluster, and the errors of charts and manifests that cannot be read.
    """
    app.check()
    clusters = [r for r in app.resources.values() if isinstance(r, ClusterResource)]
    if not clusters:
        raise AppError(f'"{app.name}" declares no cluster: there is nothing to be deployed')
    written: list[Path] = []
    for cluster in clusters:
        written += _cluster(app, cluster, folder / cluster.name)
    return written


def _cluster(app: App, cluster: ClusterResource, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    script = [_HEAD.format(cluster=cluster.name, app=app.name)]
    for name in (name for level in app.graph.order() for name in level):
        resource = app.resources[name]
        if resource.parent is cluster and not resource.explicit:
            commands, paths = _step(resource, folder)
            script += [shlex.join(command) for command in commands]
            written += paths
    path = folder / "deploy.sh"
    path.write_text("\n".join(script) + "\n")
    path.chmod(0o755)
    return [*written, path]


def _step(resource: Resource, folder: Path) -> tuple[list[list[str]], list[Path]]:
    if isinstance(resource, ManifestsResource):
        return _manifests(resource, folder)
    if isinstance(resource, HelmResource):
        return _helm(resource, folder)
    return [], []


def _manifests(resource: ManifestsResource, folder: Path) -> tuple[list[list[str]], list[Path]]:
    from cove.host.manifests import export as documents

    found = asyncio.run(documents(resource.path))
    parts = {
        f"{resource.name}.crds.yaml": [d for d in found if d["kind"] == CRD],
        # kubectl takes a namespace for what has none, and none for what has another.
        f"{resource.name}.yaml": [d for d in found if _default(d, resource) and d["kind"] != CRD],
        f"{resource.name}.elsewhere.yaml": [d for d in found if not _default(d, resource)],
    }
    commands, written = [], []
    for name, documents_ in parts.items():
        if not documents_:
            continue
        path = folder / name
        path.write_text(yaml.safe_dump_all(documents_, sort_keys=False, allow_unicode=True))
        written.append(path)
        command = ["kubectl", "apply", "--server-side", "--filename", name]
        if not name.endswith(".elsewhere.yaml"):
            command += ["--namespace", resource.namespace]
        commands.append(command)
        if name.endswith(".crds.yaml"):
            # As cove does: what they define follows once they are established.
            wait = ["kubectl", "wait", "--for", "condition=Established"]
            crds = [f"crd/{d['metadata']['name']}" for d in documents_]
            commands.append([*wait, "--timeout", f"{resource.crd_timeout:g}s", *crds])
    return commands, written


def _default(document: dict[str, Any], resource: ManifestsResource) -> bool:
    """Whether a document has no namespace of its own, or the one that others are given."""
    own = document["metadata"].get("namespace")
    return own is None or own == resource.namespace


def _helm(resource: HelmResource, folder: Path) -> tuple[list[list[str]], list[Path]]:
    from cove.host.helm import export as values

    release = resource.release
    path = folder / f"{resource.name}.values.yaml"
    path.write_text(values(release))
    written = [path]
    chart = os.fspath(release.chart)
    local = release.local
    if local is not None:
        if not local.exists():
            raise AppError(f"chart {local} of {resource.name} is not there")
        if local.is_dir():
            chart = f"{resource.name}.chart"
            shutil.rmtree(folder / chart, ignore_errors=True)
            shutil.copytree(local, folder / chart)
        else:
            chart = f"{resource.name}.chart.tgz"
            shutil.copyfile(local, folder / chart)
        written.append(folder / chart)
        chart = f"./{chart}"
    command = ["helm", "upgrade", "--install", release.name, chart]
    command += ["--namespace", release.namespace, "--create-namespace", "--values", path.name]
    if release.repo:
        command += ["--repo", release.repo]
    if release.version:
        command += ["--version", release.version]
    if release.wait:
        command += ["--wait", "--timeout", f"{release.timeout:g}s"]
    return [command], written
