"""Records: what Helm keeps of a release in the cluster, read without Helm.

Every revision is a Secret ``sh.helm.release.v1.NAME.vREVISION`` whose ``release`` is
gzipped JSON; its labels say name, status and revision.  Every driver is told to keep them
there, so that progress, results and the traces of a crash are found in one way.

Source: https://helm.sh/docs/topics/advanced/#storage-backends
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

from cove.client import Client
from cove.host import _yaml
from cove.kube.gvk import GVR

__all__ = ["PENDING", "Record", "latest", "mark_failed"]

Doc = dict[str, Any]

SECRETS = GVR("", "v1", "secrets")
PENDING = frozenset(("pending-install", "pending-upgrade", "pending-rollback"))


@dataclass(frozen=True, slots=True)
class Record:
    """One revision of a release; ``document`` is Helm's own form of it."""

    secret: Doc = field(repr=False)
    revision: int
    status: str
    document: Doc = field(repr=False)

    @property
    def chart(self) -> Doc:
        """The metadata of the chart: name, version, appVersion."""
        return (self.document.get("chart") or {}).get("metadata") or {}

    @property
    def info(self) -> Doc:
        """Helm's status of it: description, notes, times."""
        return self.document.get("info") or {}

    def manifests(self, *, hooks: bool = True) -> list[Doc]:
        """The objects of the release, and of its hooks."""
        texts = [str(self.document.get("manifest") or "")]
        if hooks:
            texts += [str(h.get("manifest") or "") for h in self.document.get("hooks") or ()]
        documents: list[Doc] = []
        for text in texts:
            for document in _yaml.split(text):
                try:
                    doc, _ = _yaml.load(document.text)
                except _yaml.YamlError:
                    continue  # Helm has refused it, or is about to
                if isinstance(doc, dict):
                    documents.append(doc)
        return documents


async def latest(client: Client, namespace: str, name: str, *, after: int = 0) -> Record | None:
    """The last revision of a release above ``after``, None if there is none."""
    listed = await client.list(
        SECRETS, namespace, label_selector=f"owner=helm,name={name}", metadata_only=True
    )
    revisions = [(_revision(obj), obj["metadata"]["name"]) for obj in listed.items]
    revision, secret = max(revisions, default=(0, ""))
    if revision <= after:
        return None
    return _record(await client.get(SECRETS, secret, namespace))


def _revision(secret: Doc) -> int:
    text = str((secret["metadata"].get("labels") or {}).get("version", ""))
    return int(text) if text.isdigit() else 0


def _record(secret: Doc) -> Record:
    packed = base64.b64decode((secret.get("data") or {}).get("release", ""))
    try:
        document = json.loads(gzip.decompress(base64.b64decode(packed)))
    except (OSError, EOFError, ValueError, binascii.Error):
        document = {}
    status = str((secret["metadata"].get("labels") or {}).get("status", ""))
    return Record(secret, _revision(secret), status, document)


async def mark_failed(client: Client, record: Record, why: str) -> None:
    """Write down that a revision has failed; 409 if somebody has just written it."""
    document = {**record.document, "info": {**record.info, "status": "failed", "description": why}}
    packed = base64.b64encode(gzip.compress(json.dumps(document).encode(), mtime=0))
    secret = {**record.secret, "data": {"release": base64.b64encode(packed).decode()}}
    metadata = dict(secret["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), "status": "failed"}
    await client.update(SECRETS, {**secret, "metadata": metadata})
