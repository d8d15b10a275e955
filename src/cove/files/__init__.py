"""files: a cluster as a read-only file system.

::

    async with Client.connect(kubeconfig.load()) as client, Tree(client) as tree:
        print(await tree.read("/namespaces/default/pods/web/manifest.yaml"))

:class:`Tree` needs no FUSE; :func:`mount` makes a directory of it where there is one.
"""

from __future__ import annotations

from cove.files.errors import FileError
from cove.files.mounting import FuseMissingError, Mounted, MountError, mount
from cove.files.tree import Tree
from cove.files.values import Attributes, Listed, OpenFile

__all__ = [
    "Attributes",
    "FileError",
    "FuseMissingError",
    "Listed",
    "MountError",
    "Mounted",
    "OpenFile",
    "Tree",
    "mount",
]
