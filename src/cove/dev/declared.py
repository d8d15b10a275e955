"""Declared: the plan of an application (`app.py`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cove.dev.errors import ConfigurationError
from cove.dev.patterns import SyncRule
from cove.dev.plan import (
    Artifact,
    ClusterPlan,
    Deploy,
    Forward,
    HelmDeploy,
    ManifestDeploy,
    Plan,
    Program,
    Requirement,
)

if TYPE_CHECKING:
    from cove.host.app import App
    from cove.host.resources.cluster import ClusterResource

__all__ = ["plan_of"]


def plan_of(app: App, *, cluster: str | None = None, source: Path | None = None) -> Plan:
    """What the loop works on; ``cluster`` names one where the application has several.

    Its lifetime is persistent here, whatever is declared: the loop's commands come and go.
    Raises ConfigurationError, GraphError.
    """
    from cove.host.resources.endpoint import EndpointResource
    from cove.host.resources.helm import HelmResource
    from cove.host.resources.image import ImageResource
    from cove.host.resources.manifests import ManifestsResource
    from cove.host.resources.process import ProcessResource

    app.check()
    chosen = _cluster(app, cluster)
    artifacts: list[Artifact] = []
    deploys: list[Deploy] = []
    forwards: list[Forward] = []
    programs: list[Program] = []
    for resource in app.resources.values():
        after = tuple(edge.target for edge in resource.edges)
        waits = any(_completes_ready(app.resources[name]) for name in after)
        if isinstance(resource, ImageResource):
            artifacts.append(_artifact(resource))
        elif isinstance(resource, ProcessResource):
            programs.append(
                Program(
                    name=resource.name,
                    command=tuple(resource.command),
                    cwd=resource.cwd,
                    env=resource.env,
                    references=tuple(resource.references),
                    port=resource.port,
                    port_env=resource.port_env,
                    watch=resource.watch,
                    grace=resource.grace,
                )
            )
        elif resource.parent is not chosen:
            continue
        elif isinstance(resource, HelmResource):
            deploys.append(
                HelmDeploy(
                    name=resource.name,
                    after=after,
                    waits=waits,
                    release=resource.release,
                    images=resource.images,
                    driver=_driver(resource.driver, resource.name),
                )
            )
        elif isinstance(resource, ManifestsResource):
            deploys.append(
                ManifestDeploy(
                    name=resource.name,
                    after=after,
                    waits=waits,
                    paths=(resource.path,),
                    namespace=resource.namespace,
                    images=resource.images,
                    crd_timeout=resource.crd_timeout,
                )
            )
        elif isinstance(resource, EndpointResource):
            forwards.append(
                Forward(
                    name=resource.name,
                    service=resource.service,
                    port=resource.port,
                    namespace=resource.namespace,
                    local_port=resource.host_port,
                    scheme=resource.scheme,
                )
            )
    return Plan(
        name=app.name,
        root=app.root,
        cluster=ClusterPlan(
            name=chosen.cluster_name,
            options=replace(chosen.options, lifetime="persistent"),
            engine=chosen.engine,
            key=chosen.name,
        ),
        artifacts=tuple(artifacts),
        deploys=tuple(deploys),
        forwards=tuple(forwards),
        programs=tuple(programs),
        source=(source,) if source is not None else (),
    )


def _completes_ready(resource: object) -> bool:
    """Whether it has completed only when its workloads are ready."""
    from cove.host.resources.helm import HelmResource
    from cove.host.resources.manifests import ManifestsResource

    if isinstance(resource, HelmResource):
        return resource.release.wait
    return isinstance(resource, ManifestsResource) and resource.wait


def _artifact(image: object) -> Artifact:
    from cove.host.resources.image import ImageResource

    assert isinstance(image, ImageResource)
    also = (image.tag, image.tag.rpartition(":")[0]) if image.tag else ()
    return Artifact(
        name=image.name,
        context=image.context,
        dockerfile=image.dockerfile,
        also=tuple(filter(None, also)),
        args=image.args,
        target=image.target,
        platforms=image.platforms,
        requires=tuple(Requirement(name, alias) for alias, name in image.requires.items()),
        sync=tuple(SyncRule(pattern, dest) for pattern, dest in image.sync),
        run_after=image.run_after_sync,
        rebuild_on=image.rebuild_on,
    )


def _driver(driver: str, name: str) -> str:
    if driver == "container":
        raise ConfigurationError(
            f"{name} is deployed by Helm in a container, which `cove dev` does not do: take the "
            "driver sdk (cove[helm]) or cli"
        )
    return driver


def _cluster(app: App, name: str | None) -> ClusterResource:
    from cove.host.resources.cluster import ClusterResource

    found = {r.name: r for r in app.resources.values() if isinstance(r, ClusterResource)}
    if name is not None:
        if name not in found:
            raise ConfigurationError(
                f'"{app.name}" has no cluster "{name}" (there are {", ".join(found) or "none"})'
            )
        return found[name]
    if not found:
        raise ConfigurationError(
            f'"{app.name}" declares no cluster: it needs a line such as k8s = app.cluster("k8s")'
        )
    if len(found) > 1:
        raise ConfigurationError(
            f'"{app.name}" has several clusters: name one with --cluster ({", ".join(found)})'
        )
    return next(iter(found.values()))
