"""EndpointSlices brought to a wanted state with as few writes as possible.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#distribution-of-endpointslices
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from cove.client import Client
from cove.controllers._resources import ENDPOINT_SLICES
from cove.kube.status import StatusError

__all__ = ["MANAGED_BY", "SERVICE_NAME", "Group", "reconcile"]

Doc = dict[str, Any]

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CAPACITY = 100


class Group:
    """Endpoints of one address family that share their ports."""

    __slots__ = ("endpoints", "family", "ports")

    def __init__(self, family: str, ports: list[Doc] | None) -> None:
        self.family = family
        self.ports = ports
        self.endpoints: list[Doc] = []

    @property
    def key(self) -> bytes:
        """What slices are told apart by."""
        ports = sorted(self.ports or (), key=lambda p: (p.get("name", ""), p.get("port") or 0))
        return orjson.dumps((self.family, ports), option=orjson.OPT_SORT_KEYS)


def _key_of(piece: Doc) -> bytes:
    group = Group(piece["addressType"], piece.get("ports"))
    return group.key


def _identity(endpoint: Doc) -> tuple[Any, ...]:
    """Which endpoint it is: the same identity in another state is an update."""
    return (
        (endpoint.get("targetRef") or {}).get("uid", ""),
        *sorted(endpoint.get("addresses") or ()),
    )


async def reconcile(
    client: Client,
    existing: Iterable[Doc],
    groups: Iterable[Group],
    *,
    owner: Doc,
    namespace: str,
    name: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    keep_family: str = "",
) -> None:
    """Write what differs.

    ``owner`` is the owner reference, ``name`` the service's; ``labels`` and
    ``annotations`` are whole.  With ``keep_family`` a slice without endpoints stands for
    a service without any.
    """
    writer = _Writer(client, owner, namespace, name, dict(labels), dict(annotations))
    by_key: dict[bytes, list[Doc]] = {}
    for piece in existing:
        if "deletionTimestamp" not in piece["metadata"]:
            by_key.setdefault(_key_of(piece), []).append(piece)
    wanted: dict[bytes, Group] = {}
    for group in groups:
        known = wanted.setdefault(group.key, group)
        if known is not group:
            known.endpoints += group.endpoints
    filled = {key: group for key, group in wanted.items() if group.endpoints}
    if not filled and keep_family:
        await writer.placeholder([p for ps in by_key.values() for p in ps], keep_family)
        return
    for key, group in filled.items():
        await writer.spread(by_key.pop(key, []), group)
    for pieces in by_key.values():
        for piece in pieces:
            await writer.delete(piece)


class _Writer:
    def __init__(
        self,
        client: Client,
        owner: Doc,
        namespace: str,
        name: str,
        labels: dict[str, str],
        annotations: dict[str, str],
    ) -> None:
        self.client = client
        self.owner = owner
        self.namespace = namespace
        self.name = name
        self.labels = labels
        self.annotations = annotations

    async def spread(self, pieces: list[Doc], group: Group) -> None:
        """Endpoints stay in the slices they are in; new ones fill what is free."""
        left = {_identity(e): e for e in group.endpoints}
        contents: list[tuple[Doc, list[Doc]]] = []
        for piece in pieces:
            content = []
            for endpoint in piece.get("endpoints") or ():
                found = left.pop(_identity(endpoint), None)
                if found is not None:
                    content.append(found)
            contents.append((piece, content))
        new = list(left.values())
        for _, content in sorted(contents, key=lambda c: -len(c[1])):
            while new and len(content) < CAPACITY:
                content.append(new.pop(0))
        for piece, content in contents:
            if content:
                await self.update(piece, content)
            else:
                await self.delete(piece)
        while new:
            await self.create(group.family, group.ports, new[:CAPACITY])
            del new[:CAPACITY]

    async def placeholder(self, pieces: list[Doc], family: str) -> None:
        if not pieces:
            await self.create(family, None, [])
            return
        first, *rest = pieces
        if first["addressType"] == family and first.get("ports") is None:
            await self.update(first, [])
        else:
            await self.delete(first)
            await self.create(family, None, [])
        for piece in rest:
            await self.delete(piece)

    async def create(self, family: str, ports: list[Doc] | None, endpoints: list[Doc]) -> None:
        doc: Doc = {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "generateName": f"{self.name}-",
                "namespace": self.namespace,
                "labels": self.labels,
                "ownerReferences": [self.owner],
            },
            "addressType": family,
            "endpoints": endpoints,
            "ports": ports,
        }
        if self.annotations:
            doc["metadata"]["annotations"] = self.annotations
        try:
            await self.client.create(ENDPOINT_SLICES, doc)
        except StatusError as e:
            if e.code not in (403, 404):
                raise

    async def update(self, piece: Doc, endpoints: list[Doc]) -> None:
        metadata = piece["metadata"]
        same = (piece.get("endpoints") or []) == endpoints
        if same and (metadata.get("labels") or {}) == self.labels:
            return
        metadata = {**metadata, "labels": self.labels}
        if self.annotations:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), **self.annotations}
        await self.client.update(
            ENDPOINT_SLICES, {**piece, "metadata": metadata, "endpoints": endpoints}
        )

    async def delete(self, piece: Doc) -> None:
        metadata = piece["metadata"]
        try:
            await self.client.delete(
                ENDPOINT_SLICES, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise
