"""Api: the verbs of Kubernetes for typed objects, as an operator uses them.

What is in memory is read from there; what is written is seen by the next read.  Everything
here also takes plain documents for kinds that have no class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from cove.client import Client
from cove.client.meta import key_of
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator.entities import Entity, from_document, info, to_document
from cove.operator.runtime.children import Children
from cove.operator.runtime.results import RetryError
from cove.operator.runtime.stores import Stores

__all__ = ["Api"]

Doc = dict[str, Any]
E = TypeVar("E", bound=Entity)
Propagation = Literal["Background", "Foreground", "Orphan"]


class Api:
    """Typed verbs over a client; ``manager`` is the field manager of all that is written."""

    def __init__(self, client: Client, stores: Stores, manager: str) -> None:
        self.client = client
        self.stores = stores
        self.manager = manager
        self._children = Children()

    # -- reading

    async def get(self, cls: type[E], name: str, namespace: str | None = None) -> E | None:
        """An object, from memory where its kind is followed, else asked for; None: there is none."""
        store = self.stores.known(cls)
        if store is not None and store.synced:
            return store.get(name, namespace if info(cls).namespaced else None)
        try:
            return from_document(cls, await self.client.get(info(cls).gvr, name, namespace))
        except StatusError as e:
            if e.code == 404:
                return None
            raise

    async def list(
        self, cls: type[E], namespace: str | None = None, *, selector: str = ""
    ) -> list[E]:
        """Objects of a namespace or of all, from memory where their kind is followed."""
        store = self.stores.known(cls)
        if store is not None and store.synced:
            return store.list(namespace, selector)
        found = await self.client.list(info(cls).gvr, namespace, label_selector=selector)
        return [from_document(cls, doc) for doc in found.items]

    # -- writing

    async def create(self, obj: E) -> E:
        """The object as it was made; StatusError 409 if there is one."""
        said = info(obj)
        doc = await self.client.create(said.gvr, to_document(obj), field_manager=self.manager)
        self._wrote(said.gvr, doc)
        return from_document(type(obj), doc)

    async def update(self, obj: E, *, subresource: str = "") -> E:
        """The object as it was written; StatusError 409 if somebody was faster.

        Replaces all of it: fields that the type does not know are lost.  :meth:`patch` and
        :meth:`apply` keep them.
        """
        said = info(obj)
        doc = await self.client.update(
            said.gvr, to_document(obj), subresource=subresource, field_manager=self.manager
        )
        self._wrote(said.gvr, doc)
        return from_document(type(obj), doc)

    async def patch(
        self,
        obj: E,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
        type: Literal["merge", "json", "strategic"] = "merge",
    ) -> E:
        """The object as patched."""
        said = info(obj)
        doc = await self.client.patch(
            said.gvr,
            obj.metadata.name,
            patch,
            obj.metadata.namespace or None,
            type=type,
            subresource=subresource,
            field_manager=self.manager,
        )
        self._wrote(said.gvr, doc)
        return from_document(obj.__class__, doc)

    async def apply(self, obj: E, *, force: bool = True) -> E:
        """Server-side apply: the object as merged.  What would change nothing is not sent.

        ``force`` takes fields over that somebody else manages: a controller knows what its
        children are to be.
        """
        said = info(obj)
        return from_document(
            type(obj), await self.apply_document(to_document(obj), said.gvr, force=force)
        )

    async def apply_document(
        self, doc: Mapping[str, Any], gvr: GVR | None = None, *, force: bool = True
    ) -> Doc:
        """As :meth:`apply`, for a document of any kind; what the server holds of it now."""
        if gvr is None:
            gvr = (await self.client.resource_of(doc)).gvr
        live = self._live(gvr, doc)
        if live is not None and self._children.unchanged(gvr, doc, live):
            return live
        answer = await self.client.apply(gvr, doc, field_manager=self.manager, force=force)
        self._children.applied(gvr, doc, answer)
        self._wrote(gvr, answer)
        return answer

    async def put_finalizers(self, gvr: GVR, doc: Doc, finalizers: Sequence[str]) -> Doc:
        """Replace exactly the list that was seen in ``doc``; the object as it is then.

        Raises RetryError if it is another list by now.
        """
        metadata = doc["metadata"]
        patch: list[Doc] = [{"op": "test", "path": "/metadata/uid", "value": metadata["uid"]}]
        if metadata.get("finalizers"):
            seen = {"op": "test", "path": "/metadata/finalizers"}
            patch.append({**seen, "value": metadata["finalizers"]})
        else:
            version = {"op": "test", "path": "/metadata/resourceVersion"}
            patch.append({**version, "value": metadata["resourceVersion"]})
        patch.append({"op": "add", "path": "/metadata/finalizers", "value": list(finalizers)})
        try:
            answer = await self.client.patch(
                gvr,
                metadata["name"],
                patch,
                metadata.get("namespace"),
                type="json",
                field_manager=self.manager,
            )
        except StatusError as e:
            if e.code in (404, 409, 422):
                raise RetryError("somebody else changed it meanwhile", 0.05) from e
            raise
        self._wrote(gvr, answer)
        return answer

    async def delete(
        self,
        obj: Entity,
        *,
        propagation: Propagation | None = None,
        grace: int | None = None,
    ) -> bool:
        """Delete exactly this object (by its uid); False if it was gone already."""
        said = info(obj)
        try:
            answer = await self.client.delete(
                said.gvr,
                obj.metadata.name,
                obj.metadata.namespace or None,
                propagation=propagation,
                grace=grace,
                uid=obj.metadata.uid or "",
            )
        except StatusError as e:
            # 409: what has the name now is another object.
            if e.code in (404, 409):
                return False
            raise
        if answer.get("kind") != "Status":
            self._wrote(said.gvr, answer)
        else:
            for store in self.stores.of(said.gvr):
                store.removed(to_document(obj))
        return True

    def _wrote(self, gvr: GVR, doc: Doc) -> None:
        for store in self.stores.of(gvr):
            store.wrote(doc)

    def _live(self, gvr: GVR, doc: Mapping[str, Any]) -> Doc | None:
        key = key_of(dict(doc))
        for store in self.stores.of(gvr):
            found = store.document(key)
            if found is not None:
                return found
        return None
