"""ControllerRevisions: what a StatefulSet's or DaemonSet's template was, revision by revision.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from cove.client import Client
from cove.controllers._hash import fnv32a, safe_encode
from cove.controllers._pods import Owner
from cove.controllers._resources import CONTROLLER_REVISIONS
from cove.kube.status import StatusError

__all__ = ["data_of", "sync_revision", "truncate"]

Doc = dict[str, Any]

HASH = "controller.kubernetes.io/hash"


def data_of(obj: Doc) -> Doc:
    """What a revision keeps: the template, as a patch that puts it back."""
    return {"spec": {"template": {**obj["spec"]["template"], "$patch": "replace"}}}


def _digest(data: Doc, collisions: int) -> str:
    raw = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    if collisions:
        raw += collisions.to_bytes(8, "little")
    return safe_encode(str(fnv32a(raw)))


async def sync_revision(
    client: Client, owner: Owner, revisions: list[Doc], labels: dict[str, str], collisions: int
) -> tuple[Doc, list[Doc], int]:
    """(the revision of the present template, all revisions, collisions); makes it if need be."""
    data = data_of(owner.obj)
    known = sorted(revisions, key=lambda r: (r["revision"], r["metadata"]["name"]))
    number = known[-1]["revision"] + 1 if known else 1
    for revision in reversed(known):
        if revision.get("data") != data:
            continue
        if revision is not known[-1]:
            # Back to an earlier template: it becomes the latest revision again.
            updated = await client.update(CONTROLLER_REVISIONS, {**revision, "revision": number})
            known = [r for r in known if r is not revision] + [updated]
            revision = updated
        return revision, known, collisions
    metadata = owner.obj["metadata"]
    while True:
        digest = _digest(data, collisions)
        doc: Doc = {
            "kind": "ControllerRevision",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": f"{metadata['name']}-{digest}",
                "namespace": metadata["namespace"],
                "labels": {**labels, HASH: digest},
                "ownerReferences": [owner.reference],
            },
            "data": data,
            "revision": number,
        }
        annotations = dict(metadata.get("annotations") or {})
        annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
        if annotations:
            doc["metadata"]["annotations"] = annotations
        try:
            created = await client.create(CONTROLLER_REVISIONS, doc)
        except StatusError as e:
            if e.reason != "AlreadyExists":
                raise
            found = await client.get(
                CONTROLLER_REVISIONS, doc["metadata"]["name"], metadata["namespace"]
            )
            owners = found["metadata"].get("ownerReferences", ())
            if found.get("data") == data and any(o["uid"] == metadata["uid"] for o in owners):
                return found, [*known, found], collisions
            collisions += 1
            continue
        return created, [*known, created], collisions


async def truncate(client: Client, revisions: list[Doc], live: Collection[str], limit: int) -> None:
    """Delete the oldest revisions that nothing uses, beyond the limit."""
    idle = [r for r in revisions if r["metadata"]["name"] not in live]
    idle.sort(key=lambda r: r["revision"])
    for revision in idle[: max(len(idle) - limit, 0)]:
        metadata = revision["metadata"]
        try:
            await client.delete(CONTROLLER_REVISIONS, metadata["name"], metadata["namespace"])
        except StatusError as e:
            if e.code != 404:
                raise
