"""ManifestsResource: documents of files, applied to a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cove.host.errors import AppError
from cove.host.references import meant
from cove.host.resource import Resource
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.host.manifests import Document
    from cove.host.resources.cluster import ClusterResource
    from cove.host.run import Run

__all__ = ["ManifestsResource"]


class ManifestsResource(Resource):
    """A file, a directory or a kustomization, applied on the server's side; completes then.

    ``path`` is relative to the application's folder and read when it starts.  ``namespace`` is
    for objects that have none and need one.  ``prune`` deletes what was applied before and is
    declared no more (an ApplySet of the resource's name).  ``wait`` completes only when the
    workloads are rolled out.  ``watch`` applies again whenever what was read changes.
    ``crd_timeout`` is how many seconds CRDs have to become established.  ``images`` are images
    in the documents that are images of the application, ``{"shop/web": "web"}``.
    """

    kind: ClassVar[str] = "manifests"
    completes: ClassVar[bool] = True

    def __init__(
        self,
        cluster: ClusterResource,
        name: str,
        path: str | Path,
        *,
        namespace: str,
        prune: bool,
        watch: bool,
        wait: bool,
        crd_timeout: float,
        images: Mapping[str, str],
        explicit_start: bool,
    ) -> None:
        if not str(path).strip():
            raise AppError(f"the path of manifests {name} is blank: name a file or a folder")
        if not namespace.strip():
            raise AppError(f"the namespace of manifests {name} is blank: name it, or leave it out")
        self.path = cluster.app.path(path)
        self.namespace, self.prune, self.watch, self.wait = namespace, prune, watch, wait
        self.crd_timeout = crd_timeout
        super().__init__(cluster.app, name, parent=cluster, explicit_start=explicit_start)
        self.images = dict(images)
        self.after(*dict.fromkeys(self.images.values()))

    @property
    def properties(self) -> Mapping[str, str]:
        """Path and namespace; how the path is read is known when it was."""
        return {"path": str(self.path), "namespace": self.namespace}

    async def run(self, run: Run) -> int | None:
        """Apply, and go on to look at the files if so declared; see Resource.run."""
        from cove.host.manifests import changes

        if not self.watch:
            await self._apply(run)
            return None
        # Whatever changes from here on is seen, also while they are applied.
        async with aclosing(changes(self.path)) as changed:
            following = asyncio.ensure_future(anext(changed))
            try:
                await self._apply(run)
                await run.finished("and applied again when it changes")
                while True:
                    await following
                    following = asyncio.ensure_future(anext(changed))
                    await self._again(run)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    def _with_images(self, document: Document) -> Document:
        """A document whose containers have what was built."""
        from cove.host.images import Built, in_document, named

        def find(image: str) -> Built | None:
            name = named(image, self.images)
            if not name:
                return None
            repository, _, tag = str(getattr(self.app.resources[name], "built", "")).rpartition(":")
            return Built(name, repository, tag)

        return replace(document, obj=in_document(document.obj, find))

    async def _again(self, run: Run) -> None:
        """Apply what has changed; what is wrong with it is told until it is right."""
        run.log("its files have changed")
        try:
            await self._apply(run)
        except CoveError as e:
            run.log(str(e))
            await run.unhealthy(str(e))
        else:
            await run.finished("and applied again when it changes")

    async def _apply(self, run: Run) -> None:
        from cove.host.manifests import apply, read, wait_ready

        client = run.cluster.client
        if not run.was_running:
            await run.starting("being applied")
        source = await read(self.path)
        if self.images:
            source = source._replace(documents=[self._with_images(d) for d in source.documents])
        applied = await apply(
            source,
            client=client,
            log=run.log,
            namespace=meant(self.namespace, run.cluster),
            prune=self.name if self.prune else None,
            crd_timeout=self.crd_timeout,
            clock=run.clock,
        )
        await run.tell(mode=applied.mode, objects=str(len(applied.objects)))
        if self.wait:
            await wait_ready(applied, client=client, log=run.log, clock=run.clock)
