"""A registry of images beside the cluster: push from the machine, pull on its nodes.

The registry is the reference one, distribution; mirrors of others are more of its
processes.
"""

from __future__ import annotations

from cove.node.registry.distribution import NoRegistryError, RegistryError
from cove.node.registry.hosting import hosting
from cove.node.registry.images import Image, ImageNotFoundError
from cove.node.registry.references import NAME, Reference, local_reference, parse
from cove.node.registry.registry import PORT, Registry

__all__ = [
    "NAME",
    "PORT",
    "Image",
    "ImageNotFoundError",
    "NoRegistryError",
    "Reference",
    "Registry",
    "RegistryError",
    "hosting",
    "local_reference",
    "parse",
]
