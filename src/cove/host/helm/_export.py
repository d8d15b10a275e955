"""Export: a release's values as a file that Helm reads back as they are."""

from __future__ import annotations

from cove.host import _yaml
from cove.host.helm import values
from cove.host.helm._release import HelmError, Release

__all__ = ["export", "values_of"]


def values_of(release: Release) -> values.Values:
    """All values of a release as one mapping; its files are read now.

    Raises HelmError naming release, file and line.
    """
    try:
        return values.merged(release.values_files, release.values, release.set)
    except values.ValuesError as e:
        raise HelmError(f'release "{release.name}": {e}') from e


def export(release: Release) -> str:
    """The merged values of a release as YAML, for ``helm upgrade --values`` elsewhere.

    Raises HelmError naming release, file and line.
    """
    return _yaml.dump(values_of(release))
