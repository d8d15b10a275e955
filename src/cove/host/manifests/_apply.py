"""Apply: documents into a cluster by server-side apply, one after the other.

Namespaces go first, then CRDs, whose kinds are waited for, then everything else as it was
written.  The first refusal ends it: the error says which document, which field, and what
is in the cluster already.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cove.client import Client, Clock, Resource, SystemClock, UnknownKindError, UnreachableError
from cove.host._deadline import deadline
from cove.host.diagnose import diagnose
from cove.host.manifests._applyset import ApplySet
from cove.host.manifests._errors import ManifestError
from cove.host.manifests._sources import Document, Mode, Source, read
from cove.host.rollout import Rollout, Unready, targets
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError

__all__ = ["Applied", "AppliedObject", "apply", "wait_ready"]

Log = Callable[[str], None]

CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
FIRST = {("v1", "Namespace"): 0, ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): 1}
MANAGER = "cove"
# Seconds a kind may take from Established until the server has it everywhere.
SETTLING = 30.0
STEP = 0.25


@dataclass(frozen=True, slots=True)
class AppliedObject:
    """An object that is in the cluster now; ``obj`` is the server's answer."""

    gvr: GVR
    kind: str
    namespace: str
    name: str
    obj: dict[str, Any] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied, what it was read as, and what was pruned (``kind/name``)."""

    mode: Mode
    objects: tuple[AppliedObject, ...]
    pruned: tuple[str, ...] = ()


async def apply(
    source: str | os.PathLike[str] | Source,
    *,
    client: Client,
    log: Log,
    namespace: str = "default",
    field_manager: str = MANAGER,
    force: bool = False,
    prune: str | None = None,
    kubectl: Path | None = None,
    crd_timeout: float = 300.0,
    clock: Clock | None = None,
) -> Applied:
    """Apply a file, a directory or a kustomization, read now, or a Source that was read.

    ``namespace`` is of objects that have none and need one.  A field that somebody else
    manages is an error naming him, unless ``force`` takes it over.  ``prune`` is the name of
    an ApplySet in ``namespace``: what belonged to it and is no longer declared is deleted.
    CRDs have ``crd_timeout`` seconds to be established.  Raises ManifestError; nothing is
    applied if the documents are faulty by themselves.
    """
    read_source = source if isinstance(source, Source) else await read(source, kubectl=kubectl)
    run = _Run(client, log, namespace, field_manager, force, crd_timeout, clock or SystemClock())
    if prune is None:
        await run.all(read_source.documents, {})
        return Applied(read_source.mode, tuple(run.applied))
    group = ApplySet(client, prune, namespace, manager=field_manager)
    documents = read_source.documents
    told = read_source.mode if isinstance(source, Source) else str(source)
    async with _told(None, run.applied, told):
        members = await run.members(documents)
        await group.begin(members)
    await run.all(documents, group.label)
    async with _told(None, run.applied, told):
        pruned = await group.finish(
            {obj.obj["metadata"]["uid"] for obj in run.applied}, await run.members(documents)
        )
    for text in pruned:
        log(f"{text} pruned")
    return Applied(read_source.mode, tuple(run.applied), tuple(pruned))


class _Run:
    """One application of documents."""

    def __init__(
        self,
        client: Client,
        log: Log,
        namespace: str,
        manager: str,
        force: bool,
        crd_timeout: float,
        clock: Clock,
    ) -> None:
        self._client = client
        self._log = log
        self._namespace = namespace
        self._manager = manager
        self._force = force
        self._crd_timeout = crd_timeout
        self._clock = clock
        self._fresh: set[tuple[str, str]] = set()
        self.applied: list[AppliedObject] = []

    async def all(self, documents: Sequence[Document], labels: dict[str, str]) -> None:
        """Apply them in order; raises ManifestError at the first that is refused."""
        ordered = sorted(documents, key=_rank)
        crds = [document for document in ordered if _rank(document) == 1]
        for document in ordered:
            if crds and _rank(document) > 1:
                await self._established(crds)
                crds = []
            await self._one(document, labels)
        if crds:
            await self._established(crds)

    async def members(self, documents: Iterable[Document]) -> list[tuple[str, str, str]]:
        """(group, kind, namespace) of each, where the kind is known; "" for cluster-wide."""
        found = []
        for document in documents:
            group = str(document.obj["apiVersion"]).rpartition("/")[0]
            namespace = document.namespace or self._namespace
            try:
                resource = await self._client.resource_of(document.obj)
            except UnknownKindError:
                # Its CRD is among them; until that says otherwise it has a namespace.
                found.append((group, document.kind, namespace))
                continue
            found.append((group, document.kind, namespace if resource.namespaced else ""))
        return found

    async def _one(self, document: Document, labels: dict[str, str]) -> None:
        async with _told(document, self.applied):
            resource = await self._resource(document)
            obj = document.obj
            metadata = dict(obj["metadata"])
            place: str | None = None
            if resource.namespaced:
                place = metadata["namespace"] = document.namespace or self._namespace
            else:
                metadata.pop("namespace", None)
            if labels:
                metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
            answer = await self._patch(resource, {**obj, "metadata": metadata}, place)
        done = AppliedObject(resource.gvr, document.kind, place or "", document.name, answer)
        self.applied.append(done)
        self._log(f"{done} applied")

    async def _resource(self, document: Document) -> Resource:
        """Where it belongs; a kind that has just been established may take a moment."""
        begun = self._clock.monotonic()
        while True:
            try:
                return await self._client.resource_of(document.obj)
            except UnknownKindError:
                if self._settled(document.obj, begun):
                    raise
            await self._clock.sleep(STEP)

    async def _patch(
        self, resource: Resource, obj: dict[str, Any], namespace: str | None
    ) -> dict[str, Any]:
        begun = self._clock.monotonic()
        while True:
            try:
                return await self._client.patch(
                    resource.gvr,
                    obj["metadata"]["name"],
                    obj,
                    namespace,
                    type="apply",
                    field_manager=self._manager,
                    field_validation="Strict",
                    force=self._force,
                )
            except StatusError as e:
                if e.code != 404 or e.details or self._settled(obj, begun):
                    raise
            await self._clock.sleep(STEP)

    def _settled(self, obj: dict[str, Any], begun: float) -> bool:
        key = (str(obj["apiVersion"]).rpartition("/")[0], str(obj["kind"]))
        return key not in self._fresh or self._clock.monotonic() - begun > SETTLING

    async def _established(self, crds: Sequence[Document]) -> None:
        """Return when all of these CRDs are; their kinds are looked up anew then."""
        self._log(f"waiting for {', '.join(d.name for d in crds)} to be established")
        for document in crds:
            async with _told(document, self.applied):
                try:
                    async with deadline(self._crd_timeout, self._clock):
                        await _established(self._client, document.name)
                except TimeoutError:
                    raise ManifestError(
                        f"{document.where}: {document} was not established within "
                        f"{self._crd_timeout:g} s{await self._why_not(document.name)}"
                        f"{_so_far(self.applied)}",
                        document=document,
                        applied=self.applied,
                    ) from None
            spec = document.obj.get("spec") or {}
            kind = str((spec.get("names") or {}).get("kind", ""))
            self._fresh.add((str(spec.get("group", "")), kind))
        self._client.discovery.invalidate()

    async def _why_not(self, name: str) -> str:
        try:
            obj = await self._client.get(CRDS, name)
        except CoveError as e:
            return f": {e}"
        texts = [
            f"{c['type']}: {c.get('reason', '')}: {c.get('message', '')}"
            for c in (obj.get("status") or {}).get("conditions") or ()
            if c.get("status") == "False"
        ]
        return f": {'; '.join(texts)}" if texts else ""


def _rank(document: Document) -> int:
    return FIRST.get((str(document.obj["apiVersion"]), document.kind), 2)


async def _established(client: Client, name: str) -> None:
    """Watch a CRD until it is established."""
    while True:
        listed = await client.list(CRDS, field_selector=f"metadata.name={name}")
        if any(map(_is_established, listed.items)):
            return
        async with client.watch(
            CRDS,
            field_selector=f"metadata.name={name}",
            resource_version=listed.resource_version,
        ) as events:
            async for event in events:
                if event.type != "BOOKMARK" and _is_established(event.object):
                    return


def _is_established(crd: dict[str, Any]) -> bool:
    return any(
        c.get("type") == "Established" and c.get("status") == "True"
        for c in (crd.get("status") or {}).get("conditions") or ()
    )


@asynccontextmanager
async def _told(
    document: Document | None, applied: Sequence[AppliedObject], source: str = ""
) -> AsyncIterator[None]:
    """What the server refuses as an error that says where, what and how far it went."""
    where = f"{document.where}: {document}" if document is not None else source
    # The server's text often begins with what was named here.
    name = f"{document}" if document is not None else ""
    fields: list[str] = []
    try:
        yield
    except ManifestError:
        raise
    except UnknownKindError as e:
        cause: CoveError = e
        text = f"{where}: {e}; apply the CRD that defines it first, or correct kind and apiVersion"
    except UnreachableError as e:
        cause, text = e, f"{where}: the cluster does not answer: {e}"
    except StatusError as e:
        causes = (e.details or {}).get("causes") or ()
        fields = [str(c["field"]) for c in causes if c.get("field")]
        cause, text = e, f"{where}: {_refusal(e, causes).removeprefix(name).lstrip()}"
    else:
        return
    raise ManifestError(
        text + _so_far(applied), document=document, fields=fields, applied=applied
    ) from cause


def _refusal(error: StatusError, causes: Iterable[dict[str, Any]]) -> str:
    conflicts = [c for c in causes if c.get("reason") == "FieldManagerConflict"]
    if not conflicts:
        return str(error)
    texts = [f"{c.get('field', '')}: {c.get('message', '')}" for c in conflicts]
    return (
        f"others manage fields of it: {'; '.join(texts)}; take these fields out of the "
        "manifest, or take them over with force=True"
    )


def _so_far(applied: Sequence[AppliedObject]) -> str:
    if not applied:
        return "\nnothing was applied"
    return f"\napplied before it: {', '.join(map(str, applied))}"


async def wait_ready(
    applied: Applied,
    *,
    client: Client,
    log: Log,
    timeout: float = 600.0,
    clock: Clock | None = None,
) -> None:
    """Return when the applied workloads are rolled out; ``log`` tells what is missing.

    Raises ManifestError when a Job or Pod has failed, or ``timeout`` seconds have passed,
    with what the cluster knows of it.
    """
    clock = clock or SystemClock()
    wanted = targets((o.obj | {"kind": o.kind} for o in applied.objects), "default")
    missing: list[Unready] = []
    if not wanted:
        return
    async with Rollout(client, wanted, clock=clock) as rollout:
        try:
            async with deadline(timeout, clock):
                await rollout.synced()
                told = ""
                while missing := rollout.missing():
                    if any(each.final for each in missing):
                        break
                    text = "; ".join(map(str, missing))
                    if text != told:
                        log(f"waiting for {text}")
                    told = text
                    await rollout.changed()
                else:
                    return
        except TimeoutError:
            told = f"not ready within {timeout:g} s"
        else:
            told = "failed"
    names = ", ".join(str(m.target) for m in missing if told != "failed" or m.final)
    known = await diagnose(client, [m.target for m in missing])
    raise ManifestError("\n".join([f"{names}: {told}", *known]), applied=applied.objects)
