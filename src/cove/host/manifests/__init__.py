"""manifests: documents from files, directories and kustomizations, applied on the server's side.

::

    applied = await apply("deploy/overlays/dev", client=client, log=print)
"""

from __future__ import annotations

from cove.host.manifests._apply import Applied, AppliedObject, apply, wait_ready
from cove.host.manifests._errors import ManifestError
from cove.host.manifests._export import export
from cove.host.manifests._sources import Document, Source, read
from cove.host.manifests._watch import changes

__all__ = [
    "Applied",
    "AppliedObject",
    "Document",
    "ManifestError",
    "Source",
    "apply",
    "changes",
    "export",
    "read",
    "wait_ready",
]
