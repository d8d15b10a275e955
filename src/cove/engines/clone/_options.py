"""What a clone is asked, and what it tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cove.kube.status import CoveError

__all__ = ["PAGE", "CloneError", "CloneOptions", "Progress", "Summary"]

# Objects a request asks for: as kubectl does.
PAGE = 500


class CloneError(CoveError):
    """A clone that cannot be made, or that could not go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloneOptions:
    """What is copied, and where to.

    ``context`` None is the current one of ``kubeconfig`` (None: KUBECONFIG, ~/.kube/config).
    ``name`` None makes the cluster's name of the context's.  ``namespaces`` () means all of
    them and what is in none; others limit the clone to what is in them, definitions of kinds
    besides.  ``include`` and ``exclude`` are kinds by any name kubectl takes.  ``secrets``
    copies the content of Secrets, which is redacted otherwise.  ``webhooks`` copies the
    configurations of admission webhooks, ``controllers`` runs controllers over the clone.
    ``page`` is how many objects a request asks for.
    """

    context: str | None = None
    kubeconfig: Path | None = None
    name: str | None = None
    namespaces: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    secrets: bool = False
    webhooks: bool = False
    controllers: bool = False
    page: int = PAGE

    @property
    def what(self) -> dict[str, Any]:
        """What decides which objects are copied and how: the same when a clone goes on."""
        names = ("namespaces", "include", "exclude", "secrets", "webhooks")
        found = {name: getattr(self, name) for name in names}
        return {k: sorted(v) if isinstance(v, tuple) else v for k, v in found.items()}


class Progress(NamedTuple):
    """How far a clone is.  ``kind`` is what was just copied of, "deployments.apps".

    ``kinds`` are known once the source's definitions have been copied, 0 until then.
    ``done`` says that of this kind (and namespace) nothing more comes.
    """

    objects: int
    kinds_done: int
    kinds: int
    kind: str
    done: bool


@dataclass(kw_only=True, slots=True)
class Summary:
    """What a clone has done; ``objects`` counts those of earlier runs, too.

    ``kinds`` says how many of each, ``skipped`` what was left out and why, ``failed`` which
    objects could not be stored and why.
    """

    cluster: str
    context: str
    server: str
    objects: int = 0
    redacted: int = 0
    resumed: bool = False
    kinds: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For ``-o json``."""
        return asdict(self)
