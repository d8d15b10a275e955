"""Garbage collection: objects whose owners are gone go too.

The owner references of every resource the server has, custom ones included, make a
graph.  Deleting in the foreground waits for the dependents that block it, deleting as
orphan cuts them loose, and a dependent all of whose owners are gone is deleted.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from cove.client import Informer, Resource, UnknownKindError
from cove.controllers._controller import Context, Controller, Retry
from cove.controllers._resources import CUSTOM_RESOURCE_DEFINITIONS
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

__all__ = ["GarbageCollector"]

Doc = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
MONITORS = "/monitors"
# How often the resources are looked up again when no CRD told of a change.
RESYNC = 30.0
ABSENT = 500
_NONE: list[Doc] = []
_IGNORED = frozenset((("", "events"), ("events.k8s.io", "events")))


class _Node:
    """One object of the graph.  ``virtual``: only heard of, from a dependent."""

    __slots__ = (
        "api_version",
        "deleting",
        "dependents",
        "foreground",
        "gvr",
        "kind",
        "name",
        "namespace",
        "owners",
        "uid",
        "virtual",
    )

    def __init__(
        self, uid: str, gvr: GVR | None, api_version: str, kind: str, namespace: str, name: str
    ) -> None:
        self.uid = uid
        self.gvr = gvr
        self.api_version = api_version
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.owners = _NONE
        self.dependents: set[str] = set()
        self.deleting = False
        self.foreground = False
        self.virtual = False


class GarbageCollector(Controller):
    """Keys are ``/monitors``, ``delete UID`` and ``orphan UID``."""

    name = "garbage-collector"
    workers = 10

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._graph: dict[str, _Node] = {}
        self._monitors: dict[GVR, tuple[Informer, Callable[..., None]]] = {}
        self._absent: OrderedDict[tuple[str, str], None] = OrderedDict()
        definitions = self.informer(CUSTOM_RESOURCE_DEFINITIONS)
        definitions.add_handler(self._definition_changed)
        self.queue.add(MONITORS)

    # -- which resources

    def _definition_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if not initial:
            self.queue.add(MONITORS)

    async def _monitor(self) -> None:
        """Watch every resource that can be listed, watched and deleted."""
        wanted = {
            r.gvr: r
            for r in await self.client.discovery.preferred(fresh=True)
            if {"list", "watch", "delete"} <= r.verbs
            and (r.gvr.group, r.gvr.resource) not in _IGNORED
        }
        for gvr in self._monitors.keys() - wanted.keys():
            informer, handler = self._monitors.pop(gvr)
            informer.remove_handler(handler)
            for node in [n for n in self._graph.values() if n.gvr == gvr]:
                self._removed(node.uid)
            if informer.metadata_only:
                await self.context.informers.stop(informer)
        started = []
        for gvr, resource in wanted.items():
            if gvr not in self._monitors:
                informer = self.context.informers.informer(gvr, metadata_only=True)
                handler = self._handler(resource)
                self._monitors[gvr] = (informer, handler)
                informer.add_handler(handler)
                started.append(informer)
        self.queue.add_after(MONITORS, RESYNC)

    def _handler(self, resource: Resource) -> Callable[..., None]:
        def handle(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
            if new is None:
                assert old is not None
                self._removed(old["metadata"]["uid"])
            else:
                self._seen(resource, old, new)

        return handle

    # -- the graph

    def _seen(self, resource: Resource, old: Doc | None, new: Doc) -> None:
        metadata = new["metadata"]
        uid = metadata["uid"]
        node = self._graph.get(uid)
        fresh = node is None or node.virtual
        if node is None:
            node = self._graph[uid] = _Node(
                uid,
                resource.gvr,
                resource.gvr.api_version,
                resource.kind,
                metadata.get("namespace", ""),
                metadata["name"],
            )
        if fresh:
            node.virtual = False
            node.gvr = resource.gvr
            node.api_version, node.kind = resource.gvr.api_version, resource.kind
            node.namespace, node.name = metadata.get("namespace", ""), metadata["name"]
            if node.dependents:
                # Perhaps another object than the dependents meant.
                for dependent in node.dependents:
                    self.queue.add(f"delete {dependent}")
        owners = metadata.get("ownerReferences") or _NONE
        if owners != node.owners or (fresh and owners):
            self._own(node, owners)
        if "deletionTimestamp" in metadata:
            self._deleting(node, metadata)

    def _own(self, node: _Node, owners: list[Doc]) -> None:
        before = {o["uid"] for o in node.owners}
        unblocked = {o["uid"] for o in node.owners if o.get("blockOwnerDeletion")} - {
            o["uid"] for o in owners if o.get("blockOwnerDeletion")
        }
        node.owners = owners
        after = {o["uid"] for o in owners}
        for uid in before - after:
            owner = self._graph.get(uid)
            if owner is not None:
                owner.dependents.discard(node.uid)
                if owner.virtual and not owner.dependents:
                    del self._graph[uid]
        for uid in unblocked:
            owner = self._graph.get(uid)
            if owner is not None and owner.foreground:
                self.queue.add(f"delete {uid}")
        for reference in owners:
            uid = reference["uid"]
            owner = self._graph.get(uid)
            if owner is None:
                owner = self._graph[uid] = _Node(
                    uid,
                    None,
                    reference["apiVersion"],
                    reference["kind"],
                    node.namespace,
                    reference["name"],
                )
                owner.virtual = True
                self.queue.add(f"delete {uid}")
            owner.dependents.add(node.uid)
            if owner.namespace and owner.namespace != node.namespace and not owner.virtual:
                # An owner of another namespace is none.
                self.queue.add(f"delete {node.uid}")
            if owner.foreground:
                self.queue.add(f"delete {node.uid}")
        if before - after and owners:
            self.queue.add(f"delete {node.uid}")

    def _deleting(self, node: _Node, metadata: Doc) -> None:
        finalizers = metadata.get("finalizers") or ()
        if not node.deleting:
            node.deleting = True
            if ORPHAN in finalizers:
                self.queue.add(f"orphan {node.uid}")
        if FOREGROUND in finalizers and not node.foreground:
            node.foreground = True
            for uid in node.dependents:
                self.queue.add(f"delete {uid}")
            self.queue.add(f"delete {node.uid}")

    def _removed(self, uid: str) -> None:
        node = self._graph.pop(uid, None)
        if node is None:
            return
        self._note_absent(node.namespace, uid)
        for owner_reference in node.owners:
            owner = self._graph.get(owner_reference["uid"])
            if owner is None:
                continue
            owner.dependents.discard(uid)
            if owner.foreground:
                self.queue.add(f"delete {owner.uid}")
            if owner.virtual and not owner.dependents:
                del self._graph[owner.uid]
        for dependent in node.dependents:
            self.queue.add(f"delete {dependent}")

    def _note_absent(self, namespace: str, uid: str) -> None:
        self._absent[(namespace, uid)] = None
        if len(self._absent) > ABSENT:
            self._absent.popitem(last=False)

    # -- the work

    async def sync(self, key: str) -> None:
        """One object of the graph, or the monitors."""
        if key == MONITORS:
            await self._monitor()
            return
        verb, _, uid = key.partition(" ")
        node = self._graph.get(uid)
        if node is None:
            return
        if verb == "orphan":
            await self._orphan(node)
        elif node.virtual:
            await self._verify(node)
        else:
            await self._attempt(node)

    async def _live(self, node: _Node) -> Doc | None:
        """The object's metadata from the server, None if it is gone or another."""
        assert node.gvr is not None
        try:
            live = await self.client.get(
                node.gvr, node.name, node.namespace or None, metadata_only=True
            )
        except StatusError as e:
            if e.code == 404:
                return None
            raise
        return live if live["metadata"]["uid"] == node.uid else None

    async def _verify(self, node: _Node) -> None:
        """An owner nobody has seen: ask for it; if it is not there its dependents are free."""
        try:
            resource = await self.client.discovery.for_kind(node.api_version, node.kind)
        except UnknownKindError as e:
            # Its API may come back: nothing is deleted for an owner that cannot be asked for.
            raise Retry from e
        node.gvr = resource.gvr
        if not resource.namespaced:
            node.namespace = ""
        if await self._live(node) is None:
            self._removed(node.uid)
        # Otherwise the informer will tell of it.

    async def _present(self, reference: Doc, namespace: str) -> bool:
        """Whether an owner exists where its reference says."""
        uid = reference["uid"]
        known = self._graph.get(uid)
        if known is not None and not known.virtual:
            return known.namespace in ("", namespace) and known.name == reference["name"]
        if (namespace, uid) in self._absent or ("", uid) in self._absent:
            return False
        try:
            resource = await self.client.discovery.for_kind(
                reference["apiVersion"], reference["kind"]
            )
        except UnknownKindError as e:
            raise Retry from e
        where = namespace if resource.namespaced else ""
        if resource.namespaced and not namespace:
            return True  # a cluster-scoped dependent of a namespaced owner: never resolved
        node = _Node(uid, resource.gvr, "", "", where, reference["name"])
        if await self._live(node) is None:
            self._note_absent(where, uid)
            return False
        return True

    async def _attempt(self, node: _Node) -> None:
        if node.deleting and not node.foreground:
            return
        live = await self._live(node)
        if live is None:
            self._removed(node.uid)
            return
        if node.foreground:
            await self._foreground(node, live)
            return
        owners = live["metadata"].get("ownerReferences") or []
        if not owners:
            return
        solid, dangling, waiting = [], [], []
        for reference in owners:
            if not await self._present(reference, node.namespace):
                dangling.append(reference)
                continue
            owner = self._graph.get(reference["uid"])
            if (owner is not None and owner.foreground and reference.get("blockOwnerDeletion")) or (
                owner is not None and owner.foreground
            ):
                waiting.append(reference)
            else:
                solid.append(reference)
        if solid:
            if dangling or waiting:
                await self._set_owners(node, live, solid)
            return
        if waiting and node.dependents:
            if any(self._is_foreground(uid) for uid in node.dependents):
                # Two owners that wait for each other would wait for ever.
                unblocked = [{**o, "blockOwnerDeletion": False} for o in owners]
                await self._set_owners(node, live, unblocked)
            await self._delete(node, "Foreground")
            return
        finalizers = live["metadata"].get("finalizers") or ()
        if ORPHAN in finalizers:
            await self._delete(node, "Orphan")
        elif FOREGROUND in finalizers:
            await self._delete(node, "Foreground")
        else:
            await self._delete(node, "Background")

    def _is_foreground(self, uid: str) -> bool:
        node = self._graph.get(uid)
        return node is not None and node.foreground

    async def _delete(self, node: _Node, policy: Any) -> None:
        assert node.gvr is not None
        try:
            await self.client.delete(
                node.gvr,
                node.name,
                node.namespace or None,
                propagation=policy,
                uid=node.uid,
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise

    async def _set_owners(self, node: _Node, live: Doc, owners: list[Doc]) -> None:
        await self._patch(node, live, {"ownerReferences": owners or None})

    async def _patch(self, node: _Node, live: Doc, metadata: Doc) -> None:
        assert node.gvr is not None
        metadata = {
            **metadata,
            "uid": node.uid,
            "resourceVersion": live["metadata"]["resourceVersion"],
        }
        await self.client.patch(node.gvr, node.name, {"metadata": metadata}, node.namespace or None)

    async def _foreground(self, node: _Node, live: Doc) -> None:
        """Wait for the dependents that block; without any, let go."""
        blocking = []
        for uid in node.dependents:
            dependent = self._graph.get(uid)
            if dependent is not None and any(
                o["uid"] == node.uid and o.get("blockOwnerDeletion") for o in dependent.owners
            ):
                blocking.append(dependent)
        if not blocking:
            await self._drop_finalizer(node, live, FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.deleting:
                self.queue.add(f"delete {dependent.uid}")

    async def _orphan(self, node: _Node) -> None:
        for uid in tuple(node.dependents):
            dependent = self._graph.get(uid)
            if dependent is None or dependent.virtual:
                continue
            live = await self._live(dependent)
            if live is None:
                continue
            owners = live["metadata"].get("ownerReferences") or []
            kept = [o for o in owners if o["uid"] != node.uid]
            if kept != owners:
                await self._set_owners(dependent, live, kept)
        live = await self._live(node)
        if live is not None:
            await self._drop_finalizer(node, live, ORPHAN)

    async def _drop_finalizer(self, node: _Node, live: Doc, finalizer: str) -> None:
        finalizers = live["metadata"].get("finalizers") or []
        if finalizer in finalizers:
            kept = [f for f in finalizers if f != finalizer]
            await self._patch(node, live, {"finalizers": kept or None})
