"""Release: a chart, its values and where it goes, as declared; and what became of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cove.host.errors import AppError, ResourceError
from cove.host.helm import values as given
from cove.kube.names import is_dns1123_label

__all__ = ["Deployed", "HelmError", "Release"]

# pkg/chart/common/util.ValidateReleaseName
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 53


class HelmError(ResourceError):
    """A release could not be deployed: Helm's reason, then what the cluster says of it."""


@dataclass(frozen=True, slots=True)
class Release:
    """A Helm release to be.

    ``chart`` is a path (a folder or a ``.tgz``), the name of a chart in the repository
    ``repo`` (an address), or ``oci://…``; ``version`` None is the latest there is.  Values
    come from ``values_files`` in their order, then from ``values``, then from ``set``; of
    what is said twice the last counts, mappings are merged, lists replaced, None takes a
    chart's default away.  The keys of ``values`` are keys, whatever is in them; those of
    ``set`` are paths (``a.b``, ``a[0].b``, ``a\\.b`` for a dot, see
    :func:`cove.host.helm.values.parse_path`).  Files and charts are looked at when the
    release starts.  ``plain_http`` talks to a registry without TLS.  ``timeout`` in seconds, of Helm's own waiting (``wait``) and of each hook.

    Raises AppError for what is wrong whatever the files say.
    """

    name: str
    chart: str | Path
    namespace: str = "default"
    version: str | None = None
    repo: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    values_files: Sequence[str | Path] = ()
    set: Mapping[str, Any] = field(default_factory=dict, hash=False)
    timeout: float = 600.0
    wait: bool = True
    create_namespace: bool = True
    plain_http: bool = False

    def __post_init__(self) -> None:
        told = f'release "{self.name}"'
        if not _NAME.fullmatch(self.name) or len(self.name) > _LONGEST_NAME:
            raise AppError(
                f"{told}: a release's name is lower case letters, digits, '-' and '.', begins "
                f"and ends with a letter or digit, and has {_LONGEST_NAME} characters at most"
            )
        for problem in is_dns1123_label(self.namespace):
            raise AppError(f'{told}: namespace "{self.namespace}": {problem}')
        chart = os.fspath(self.chart)
        if not chart.strip() or chart.startswith("-"):
            raise AppError(f'{told}: "{chart}" is no chart: name a path, a chart or oci://…')
        if self.repo is not None and "://" not in self.repo:
            raise AppError(f'{told}: repo "{self.repo}" is no address: it begins with https://')
        if self.repo is not None and chart.startswith("oci://"):
            raise AppError(f"{told}: a chart of a registry ({chart}) has no repo")
        if self.version is not None and not self.version.strip():
            raise AppError(f"{told}: the version is blank: leave it out for the latest")
        if self.timeout <= 0:
            raise AppError(f"{told}: timeout is {self.timeout}: it is seconds, above 0")
        if isinstance(self.values_files, (str, Path)):
            raise AppError(f"{told}: values_files is a list of paths, not one")
        object.__setattr__(self, "values_files", tuple(self.values_files))
        try:
            given.exact(self.values, "values")
            given.assignments(self.set)
        except given.ValuesError as e:
            raise AppError(f"{told}: {e}") from e

    @property
    def local(self) -> Path | None:
        """The chart's path, None for one that has to be fetched."""
        chart = os.fspath(self.chart)
        return None if self.repo is not None or chart.startswith("oci://") else Path(chart)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A release as Helm keeps it; ``status`` is Helm's word: deployed, failed, …"""

    name: str
    chart: str
    namespace: str
    version: str
    app_version: str
    revision: int
    notes: str
    status: str
