"""What keeps a directory from being mounted."""

from __future__ import annotations

from cove.kube.status import CoveError

__all__ = ["FuseMissingError", "MountError"]


class MountError(CoveError):
    """A directory cannot be mounted or unmounted; the text says why and what to do."""


class FuseMissingError(MountError):
    """This machine has no FUSE, or cove has no library for it."""
