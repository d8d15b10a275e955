"""ApplySet: what belongs together, written into the cluster, so that the rest can be pruned.

A parent Secret names the kinds and namespaces that its members may be found in; every
member has a label with the parent's id.  kubectl keeps the same books; each tool leaves
the sets of others alone.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

from cove.client import Client, Resource
from cove.host.manifests._errors import ManifestError
from cove.kube.gvk import GVR
from cove.kube.names import is_dns1123_subdomain
from cove.kube.status import StatusError

__all__ = ["ApplySet", "Member", "set_id"]

Member = tuple[str, str, str]

SECRETS = GVR("", "v1", "secrets")
PREFIX = "applyset.kubernetes.io/"
ID = f"{PREFIX}id"
PART_OF = f"{PREFIX}part-of"
TOOLING = f"{PREFIX}tooling"
KINDS = f"{PREFIX}contains-group-kinds"
NAMESPACES = f"{PREFIX}additional-namespaces"
# The tool's name and the version of how it keeps a set, which is its own.
TOOL = "cove/v1"
PAGE = 500
# The last to go, so that what is in them goes by itself.
LAST = ("CustomResourceDefinition", "Namespace")


def set_id(name: str, namespace: str, kind: str = "Secret", group: str = "") -> str:
    """The id of the set whose parent this is."""
    digest = hashlib.sha256(f"{name}.{namespace}.{kind}.{group}".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


class ApplySet:
    """One application of a set: :meth:`begin`, apply with :attr:`label`, :meth:`finish`."""

    def __init__(self, client: Client, name: str, namespace: str, *, manager: str) -> None:
        for problem in is_dns1123_subdomain(name):
            raise ManifestError(f'the name of the ApplySet "{name}": {problem}')
        self.id = set_id(name, namespace)
        self._client = client
        self._name = name
        self._namespace = namespace
        self._manager = f"{manager}-applyset"
        self._kinds: set[tuple[str, str]] = set()
        self._namespaces: set[str] = set()

    @property
    def label(self) -> dict[str, str]:
        """What every member carries."""
        return {PART_OF: self.id}

    async def begin(self, members: Iterable[Member]) -> None:
        """Write down that these will be members, besides what was: a crash loses nothing.

        Raises ManifestError if the parent is another's.
        """
        parent: dict[str, Any] = {}
        try:
            parent = await self._client.get(SECRETS, self._name, self._namespace)
        except StatusError as e:
            if e.code != 404:
                raise
        if parent:
            self._read(parent)
        kinds, namespaces = _scope(members, self._namespace)
        self._kinds |= kinds
        self._namespaces |= namespaces
        await self._write(self._kinds, self._namespaces)

    async def finish(self, applied: set[str], members: Iterable[Member]) -> list[str]:
        """Delete the members whose uid was not applied; ``kind/name`` of each."""
        pruned = await self._prune(applied)
        kinds, namespaces = _scope(members, self._namespace)
        await self._write(kinds, namespaces)
        return pruned

    def _read(self, parent: dict[str, Any]) -> None:
        metadata = parent["metadata"]
        labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        told = f'secret "{self._name}" in namespace {self._namespace}'
        if labels.get(ID, self.id) != self.id or (ID not in labels and TOOLING not in notes):
            raise ManifestError(
                f"{told} is there already and is not the parent of this ApplySet: choose another "
                "name to prune by"
            )
        tool = str(notes.get(TOOLING, TOOL))
        if tool.partition("/")[0] != TOOL.partition("/")[0]:
            raise ManifestError(
                f"{told} is an ApplySet that {tool} manages: prune with that, or choose another name"
            )
        for text in filter(None, str(notes.get(KINDS, "")).split(",")):
            kind, _, group = text.strip().partition(".")
            self._kinds.add((group, kind))
        self._namespaces.update(filter(None, str(notes.get(NAMESPACES, "")).split(",")))

    async def _write(self, kinds: set[tuple[str, str]], namespaces: set[str]) -> None:
        texts = sorted(f"{kind}.{group}" if group else kind for group, kind in kinds)
        await self._client.apply(
            SECRETS,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": self._name,
                    "namespace": self._namespace,
                    "labels": {ID: self.id},
                    "annotations": {
                        TOOLING: TOOL,
                        KINDS: ",".join(texts),
                        NAMESPACES: ",".join(sorted(namespaces - {self._namespace})),
                    },
                },
            },
            field_manager=self._manager,
            force=True,
        )

    async def _prune(self, applied: set[str]) -> list[str]:
        resources = [r for r in await self._client.discovery.preferred() if "list" in r.verbs]
        pruned: list[str] = []
        of_kinds = [r for r in resources if (r.gvr.group, r.kind) in self._kinds]
        for resource in sorted(
            of_kinds, key=lambda r: (LAST.index(r.kind) + 1) if r.kind in LAST else 0
        ):
            places: Iterable[str | None] = [None]
            if resource.namespaced:
                places = sorted(self._namespaces | {self._namespace})
            for place in places:
                pruned += await self._prune_in(resource, place, applied)
        return pruned

    async def _prune_in(
        self, resource: Resource, place: str | None, applied: set[str]
    ) -> list[str]:
        found = await self._client.list(
            resource.gvr,
            place,
            label_selector=f"{PART_OF}={self.id}",
            page_size=PAGE,
            metadata_only=True,
        )
        pruned: list[str] = []
        for obj in found.items:
            metadata = obj["metadata"]
            if metadata["uid"] in applied or metadata.get("deletionTimestamp"):
                continue
            try:
                await self._client.delete(
                    resource.gvr,
                    metadata["name"],
                    place,
                    propagation="Background",
                    uid=metadata["uid"],
                )
            except StatusError as e:
                if e.code != 404:
                    raise
                continue
            pruned.append(f"{resource.kind.lower()}/{metadata['name']}")
        return pruned


def _scope(members: Iterable[Member], home: str) -> tuple[set[tuple[str, str]], set[str]]:
    kinds: set[tuple[str, str]] = set()
    namespaces: set[str] = set()
    for group, kind, namespace in members:
        kinds.add((group, kind))
        if namespace and namespace != home:
            namespaces.add(namespace)
    return kinds, namespaces
