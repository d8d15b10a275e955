"""References: what an image's name says, and the name under which it is pulled here.  Pure.

Source: https://pkg.go.dev/github.com/distribution/reference
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NAME", "Reference", "local_reference", "parse"]

# One name for the registry on the host and in pods; ports differ from cluster to cluster.
NAME = "registry.cove.localhost"
DOCKER_HUB = "docker.io"


class Reference(NamedTuple):
    """``docker.io``, ``library/nginx``, and ``:1.27`` or ``@sha256:…`` or both ("" for neither)."""

    host: str
    path: str
    suffix: str


def parse(image: str) -> Reference:
    """The parts of an image's name, with what Docker adds to short ones.

    ``nginx`` is ``docker.io/library/nginx``; a name's first part is a host if it has a dot
    or a port, or is ``localhost``.
    """
    name, at, digest = image.partition("@")
    head, slash, tail = name.rpartition("/")
    tail, colon, tag = tail.partition(":")
    name = head + slash + tail
    host, slash, path = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = DOCKER_HUB, name
    if host == "index.docker.io":
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Reference(host, path, colon + tag + at + digest)


def local_reference(image: str) -> str:
    """What the engine on this machine pulls for ``registry.cove.localhost:PORT/…``.

    Engines speak plain HTTP to ``localhost:PORT`` without being told to.  Other names are
    given back as they are.
    """
    host, slash, rest = image.partition("/")
    name, colon, port = host.partition(":")
    if name != NAME or not slash or not colon:
        return image
    return f"localhost:{port}/{rest}"
