"""What goes wrong with manifests: where, which field, and what was applied before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cove.host.errors import ResourceError

if TYPE_CHECKING:
    from cove.host.manifests._apply import AppliedObject
    from cove.host.manifests._sources import Document

__all__ = ["ManifestError"]


class ManifestError(ResourceError):
    """Manifests could not be read or applied.

    ``document`` is the one at fault, with its file, number and line (None where it is none
    of them), ``fields`` the paths in it that the server names, ``applied`` what is in the
    cluster already.
    """

    def __init__(
        self,
        message: str,
        *,
        document: Document | None = None,
        fields: Sequence[str] = (),
        applied: Sequence[AppliedObject] = (),
    ) -> None:
        super().__init__(message)
        self.document = document
        self.fields = tuple(fields)
        self.applied = tuple(applied)
