"""Deploy: releases and manifests into the cluster, with the images that were built.

What a deployment consists of is known afterwards, so that it can be waited for, followed
and taken away again.  Nothing here waits for pods but :func:`settled`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from cove.client import Client, Clock
from cove.dev.errors import ConfigurationError, DeployError
from cove.dev.plan import Deploy, HelmDeploy, ManifestDeploy
from cove.dev.templates import render
from cove.host.diagnose import diagnose
from cove.host.helm import values as given
from cove.host.images import Built, defaults, in_document, in_values, named
from cove.host.manifests import Document, Source, apply, read
from cove.host.rollout import PODS, Rollout, Target, pod_reason, targets
from cove.kube import labels
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError

__all__ = ["Deployed", "Deployer", "Thing", "settled"]

Say = Callable[[str, str], None]
Doc = dict[str, Any]

# What a pod waits for that does not go away by itself.
_HOPELESS = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
# Kinds that stay when a deployment is taken away: what belongs to them would go as well.
_STAY = frozenset(("Namespace", "CustomResourceDefinition"))


class Thing(NamedTuple):
    """An object that was applied, by where it is."""

    group: str
    version: str
    resource: str
    kind: str
    namespace: str
    name: str

    @property
    def gvr(self) -> GVR:
        """Its resource."""
        return GVR(self.group, self.version, self.resource)

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment has in the cluster; ``same`` tells that nothing had to be done."""

    name: str
    targets: tuple[Target, ...]
    things: tuple[Thing, ...] = ()
    release: tuple[str, str] | None = None
    same: bool = False


class Deployer:
    """Puts the deployments of a plan into one cluster, and takes them away.

    ``names`` are the artifacts by every name that means them.
    """

    def __init__(
        self,
        client: Client,
        kubeconfig: Path,
        names: Mapping[str, str],
        *,
        say: Say,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._kubeconfig = kubeconfig
        self._names = names
        self._say = say
        self._clock = clock
        self._last: dict[str, tuple[str, Deployed]] = {}

    async def deploy(self, deploy: Deploy, images: Mapping[str, Built]) -> Deployed:
        """Have it in the cluster as its files are now; raises CoveError with the reason.

        A release is upgraded only if its chart, its values or its images differ from those
        of the last time.
        """
        if isinstance(deploy, HelmDeploy):
            return await self._helm(deploy, images)
        assert isinstance(deploy, ManifestDeploy)
        return await self._manifests(deploy, images)

    def _find(
        self, images: Mapping[str, Built], more: Mapping[str, str]
    ) -> Callable[[str], Built | None]:
        names = {**self._names, **more}

        def find(image: str) -> Built | None:
            return images.get(named(image, names))

        return find

    # -- manifests

    async def _manifests(self, deploy: ManifestDeploy, images: Mapping[str, Built]) -> Deployed:
        documents = await _documents(deploy)
        if not documents:
            raise DeployError(f"{deploy.name} holds no documents: there is nothing to deploy")
        find = self._find(images, deploy.images)
        changed = [replace(d, obj=in_document(d.obj, find)) for d in documents]

        def log(text: str) -> None:
            self._say(deploy.name, text)

        applied = await apply(
            Source("file", changed),
            client=self._client,
            log=log,
            namespace=deploy.namespace,
            force=True,
            crd_timeout=deploy.crd_timeout,
            clock=self._clock,
        )
        things = tuple(
            Thing(o.gvr.group, o.gvr.version, o.gvr.resource, o.kind, o.namespace, o.name)
            for o in applied.objects
        )
        wanted = targets((o.obj | {"kind": o.kind} for o in applied.objects), deploy.namespace)
        deployed = Deployed(deploy.name, tuple(wanted), things)
        before = self._last.get(deploy.name)
        if before is not None:
            gone = [t for t in before[1].things if t not in things and t.kind not in _STAY]
            await self.delete(gone)
        self._last[deploy.name] = ("", deployed)
        return deployed

    async def delete(self, things: Iterable[Thing]) -> None:
        """Delete objects, the last applied first; what is not there is fine."""
        for thing in reversed(list(things)):
            try:
                await self._client.delete(
                    thing.gvr, thing.name, thing.namespace or None, propagation="Background"
                )
            except StatusError as e:
                if e.code != 404:
                    raise
            else:
                self._say("cove", f"{thing} deleted")

    # -- releases

    async def _helm(self, deploy: HelmDeploy, images: Mapping[str, Built]) -> Deployed:
        from cove.host import helm

        release = await asyncio.to_thread(self._release, deploy, images)
        state = await asyncio.to_thread(_state, release)
        before = self._last.get(deploy.name)
        if before is not None and before[0] == state:
            return replace(before[1], same=True)

        def log(text: str) -> None:
            self._say(deploy.name, text)

        await helm.deploy(
            release,
            kubeconfig=self._kubeconfig,
            client=self._client,
            log=log,
            driver=deploy.driver,  # type: ignore[arg-type]  # checked where it was declared
            clock=self._clock,
        )
        documents = await helm.objects(
            release.name, namespace=release.namespace, client=self._client
        )
        deployed = Deployed(
            deploy.name,
            tuple(targets(documents, release.namespace)),
            release=(release.name, release.namespace),
        )
        self._last[deploy.name] = (state, deployed)
        return deployed

    def _release(self, deploy: HelmDeploy, images: Mapping[str, Built]) -> Any:
        """The release with its images among its values; what is waited for is ours."""
        from cove.host.helm import HelmError

        release = deploy.release
        try:
            own = given.merged(release.values_files, release.values, release.set)
        except given.ValuesError as e:
            raise HelmError(f'release "{release.name}": {e}') from e
        chosen: dict[str, Built] = {}
        for path, name in deploy.images.items():
            artifact = self._names.get(name, name)
            if artifact not in images:
                raise ConfigurationError(
                    f'release "{release.name}": {path} is the image "{name}", which is not '
                    f"declared (there are {', '.join(images) or 'none'})"
                )
            chosen[path] = images[artifact]
        rendered = {path: render(text, images) for path, text in deploy.templates.items()}
        more: dict[str, Any] = {}
        if chosen or not rendered:
            more = in_values(own, defaults(release.local), chosen, self._find(images, {}))
        values = given.merge(own, more)
        return replace(release, values=values, values_files=(), set=rendered, wait=False)

    async def uninstall(self, name: str, namespace: str) -> None:
        """Take a release away; none is fine."""
        from cove.host import helm

        if await helm.status(name, namespace=namespace, client=self._client) is None:
            return
        await helm.uninstall(name, namespace=namespace, kubeconfig=self._kubeconfig)
        self._say("cove", f"release {name} uninstalled")

    async def remove(self, deployed: Sequence[Deployed], *, all: bool = False) -> None:
        """Take deployments away, the last first; ``all`` with namespaces and CRDs."""
        for each in reversed(deployed):
            if each.release is not None:
                await self.uninstall(*each.release)
            await self.delete(t for t in each.things if all or t.kind not in _STAY)
        self._last.clear()


async def _documents(deploy: ManifestDeploy) -> list[Document]:
    documents: list[Document] = []
    paths = list(deploy.paths)
    for pattern in deploy.patterns:
        found = sorted(p for p in deploy.root.glob(pattern) if p.is_file())
        if not found:
            raise DeployError(f"{deploy.name}: no file fits {pattern} in {deploy.root}")
        paths += found
    for path in dict.fromkeys(paths):
        documents += (await read(path)).documents
    count = len(deploy.documents)
    for number, doc in enumerate(deploy.documents, 1):
        documents.append(Document(dict(doc), deploy.name, number, count, 1))
    return documents


def _state(release: Any) -> str:
    """What tells one state of a release from another: its values and the files of its chart."""
    whole = sha256(json.dumps([release.values, release.set], sort_keys=True, default=str).encode())
    whole.update(f"{release.chart} {release.version} {release.repo}".encode())
    chart = release.local
    if chart is not None and chart.exists():
        files = sorted(p for p in chart.rglob("*") if p.is_file()) if chart.is_dir() else [chart]
        for file in files:
            whole.update(str(file).encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


async def settled(
    client: Client,
    wanted: Sequence[Target],
    *,
    log: Callable[[str], None],
    clock: Clock | None = None,
) -> None:
    """Return when workloads are rolled out; ``log`` tells what is missing.

    Raises DeployError as soon as one cannot become ready by itself — a pod that crashes again
    and again, an image that cannot be had, a Job that failed — with what the cluster knows.
    """
    if not wanted:
        return
    async with Rollout(client, wanted, clock=clock) as rollout:
        await rollout.synced()
        told = ""
        while missing := rollout.missing():
            suspects = [m for m in missing if m.final or _hopeless(m.reason)]
            # A pod that was replaced because it crashed may still be there, and crash.
            hopeless = [m for m in suspects if m.final or await _is_its_own(client, m.target)]
            if hopeless:
                break
            text = "; ".join(map(str, missing))
            if text != told:
                log(f"waiting for {text}")
            told = text
            await rollout.changed()
        else:
            return
    lines = [f"{m.target} is not ready: {m.reason}" for m in hopeless]
    try:
        lines += await diagnose(client, [m.target for m in hopeless])
    except CoveError:
        pass
    raise DeployError("\n".join(lines))


def _hopeless(reason: str) -> bool:
    return any(word in reason for word in _HOPELESS)


async def _is_its_own(client: Client, target: Target) -> bool:
    """Whether a pod that will not become ready is one of a workload as it is declared now."""
    try:
        workload = await client.get(target.gvr, target.name, target.namespace)
        spec = workload.get("spec") or {}
        if target.kind == "Pod":
            return True
        selector = str(labels.from_document(spec.get("selector") or {}))
        pods = (await client.list(PODS, target.namespace, label_selector=selector)).items
    except CoveError:
        return False  # whoever waits sees the next change
    wanted = _essence(((spec.get("template") or {}).get("spec")) or {})
    return any(
        _essence(pod["spec"]) == wanted
        and not pod["metadata"].get("deletionTimestamp")
        and _hopeless(pod_reason(pod))
        for pod in pods
    )


def _essence(spec: Doc) -> list[tuple[Any, ...]]:
    """What of a pod's containers nobody adds to: what they run, and with what."""
    keys = ("name", "image", "command", "args", "env")
    return [tuple(c.get(key) or None for key in keys) for c in spec.get("containers") or ()]
