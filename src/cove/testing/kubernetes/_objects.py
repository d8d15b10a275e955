"""Objects: any kind by its documents, as the official clients' KubernetesObjectApi."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cove.client._client import path_of
from cove.testing.kubernetes._body import camel, document
from cove.testing.values import unwrap

if TYPE_CHECKING:
    from cove.client import Resource
    from cove.testing.kubernetes._facade import Kubernetes

__all__ = ["Objects"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

Doc = dict[str, Any]


class Objects:
    """``k8s.objects``: documents with apiVersion and kind go in, recorded ones come out.

    What they name is found by discovery; without a namespace it is the test's own.  Raises
    UnknownKindError for a kind that the cluster does not have, StatusError for what it refuses.
    """

    def __init__(self, owner: Kubernetes) -> None:
        self._owner = owner

    def create(self, obj: Any, namespace: str | None = None) -> Any:
        """The object as created."""
        return self._owner.run(self._create(document(obj), namespace))

    async def _create(self, obj: Doc, namespace: str | None) -> Any:
        resource, place = await self._where(obj, namespace)
        client = self._owner.client
        return await self._owner._linked(client.create(resource.gvr, obj, place))

    def read(self, obj: Any, kind: str = "", name: str = "", namespace: str | None = None) -> Any:
        """The object: of a document that names it, or of (api_version, kind, name, namespace)."""
        return self._owner.run(self._read(_named(obj, kind, name), namespace))

    async def _read(self, obj: Doc, namespace: str | None) -> Any:
        resource, place = await self._where(obj, namespace)
        name = obj["metadata"]["name"]
        made = await self._owner._linked(self._owner.client.get(resource.gvr, name, place))
        self._owner._note(resource.gvr, place, name, made)
        return made

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        everywhere: bool = False,
        **selectors: Any,
    ) -> Any:
        """A collection, as a List; ``everywhere`` of all namespaces.

        ``selectors`` are ``label_selector``, ``field_selector``, ``limit``.
        """
        return self._owner.run(self._list(api_version, kind, namespace, everywhere, selectors))

    async def _list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        everywhere: bool,
        selectors: Mapping[str, Any],
    ) -> Any:
        client = self._owner.client
        resource = await client.discovery.for_kind(api_version, kind)
        place = None
        if resource.namespaced and not everywhere:
            place = namespace or self._owner.namespace
        query = {camel(key): unwrap(value) for key, value in selectors.items()}

        def told(made: Doc) -> Doc:
            for item in made.get("items") or ():
                item.setdefault("apiVersion", api_version)
                item.setdefault("kind", kind)
            return made

        work = client.request("GET", path_of(resource.gvr, place), query=query)
        made = await self._owner._linked(work, told)
        self._owner._note(resource.gvr, place, "", made)
        return made

    def replace(self, obj: Any, namespace: str | None = None) -> Any:
        """The object as written whole; 409 if its resourceVersion is an older one."""
        return self._owner.run(self._replace(document(obj), namespace))

    async def _replace(self, obj: Doc, namespace: str | None) -> Any:
        resource, place = await self._where(obj, namespace)
        return await self._owner._linked(self._owner.client.update(resource.gvr, obj, place))

    def patch(self, obj: Any, patch: Any = None, namespace: str | None = None) -> Any:
        """The object with a merge patch; ``patch`` None is ``obj`` itself."""
        given = document(obj)
        return self._owner.run(
            self._patch(given, given if patch is None else document(patch), namespace)
        )

    async def _patch(self, obj: Doc, patch: Any, namespace: str | None) -> Any:
        resource, place = await self._where(obj, namespace)
        name = obj["metadata"]["name"]
        kind = "json" if isinstance(patch, list) else "merge"
        return await self._owner._linked(
            self._owner.client.patch(resource.gvr, name, patch, place, type=kind)  # type: ignore[arg-type]
        )

    def delete(
        self,
        obj: Any,
        kind: str = "",
        name: str = "",
        namespace: str | None = None,
        *,
        propagation_policy: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> Any:
        """What the server answers: the object as it goes, or a Status."""
        return self._owner.run(
            self._delete(
                _named(obj, kind, name), namespace, propagation_policy, grace_period_seconds
            )
        )

    async def _delete(
        self, obj: Doc, namespace: str | None, propagation: str | None, grace: int | None
    ) -> Any:
        resource, place = await self._where(obj, namespace)
        return await self._owner._linked(
            self._owner.client.delete(
                resource.gvr,
                obj["metadata"]["name"],
                place,
                grace=grace,
                propagation=propagation,  # type: ignore[arg-type]
            )
        )

    async def _where(self, obj: Doc, namespace: str | None) -> tuple[Resource, str | None]:
        resource = await self._owner.client.resource_of(obj)
        if not resource.namespaced:
            return resource, None
        own = (obj.get("metadata") or {}).get("namespace")
        return resource, own or namespace or self._owner.namespace


def _named(obj: Any, kind: str, name: str) -> Doc:
    obj = unwrap(obj)
    if isinstance(obj, str):
        obj = {"apiVersion": obj, "kind": kind, "metadata": {"name": unwrap(name)}}
    else:
        obj = document(obj)
    if not obj.get("kind") or not (obj.get("metadata") or {}).get("name"):
        raise ValueError("name the object: apiVersion, kind and metadata.name")
    return obj  # type: ignore[no-any-return]
