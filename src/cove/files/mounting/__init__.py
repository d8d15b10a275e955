"""Mounts: a tree as a directory of this machine, in this process or in one of its own."""

from __future__ import annotations

from cove.files.mounting.errors import FuseMissingError, MountError
from cove.files.mounting.mounted import Mounted, mount

__all__ = ["FuseMissingError", "MountError", "Mounted", "mount"]
