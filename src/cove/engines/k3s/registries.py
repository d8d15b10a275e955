"""``registries.yaml``: where nodes fetch images from, and whom they believe.  Pure.

It is read when k3s starts, so it is mounted before; there is none where there is nothing to
say.

Source: https://docs.k3s.io/installation/private-registry
"""

from __future__ import annotations

import json

from cove.engines.cluster import ClusterOptions

__all__ = ["REGISTRY", "alias", "registries", "upstream"]

# The port of the in-cluster registry, on the server's node.
REGISTRY = 5000
# Whose API is not where images are named after.
_UPSTREAMS = {"docker.io": "https://registry-1.docker.io"}


def alias(name: str) -> str:
    """What a cluster's registry is called in its network, on its nodes and in its pods."""
    return f"{name}.internal"


def upstream(host: str) -> str:
    """Where images of a registry are without any mirror."""
    return _UPSTREAMS.get(host, f"https://{host}")


def registries(name: str, options: ClusterOptions) -> str:
    """The file's content, "" for none.

    The upstream is each mirror's second endpoint: a mirror that is cold, or gone, slows a pull
    down and never breaks it.  The in-cluster registry speaks plain HTTP; what was pushed to it
    as ``localhost:PORT``, a port that was chosen, is found there, too.
    """
    mirrors = {
        host: {"endpoint": list(dict.fromkeys((url, upstream(host))))}
        for host, url in options.mirrors.items()
    }
    if options.k3s.registry:
        own = f"{alias(name)}:{REGISTRY}"
        names = [own]
        if options.k3s.ports.get(REGISTRY):
            names.append(f"localhost:{options.k3s.ports[REGISTRY]}")
        for each in names:
            mirrors[each] = {"endpoint": [f"http://{own}"]}
    if not mirrors:
        return ""
    return json.dumps({"mirrors": mirrors}, indent=1) + "\n"  # JSON is YAML
