"""What clusters have left in an engine that nobody will come back for.

A cluster in memory ends with its process, a cluster in a folder with its folder.  What
others use is never touched.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cove.node.docker.connection import DockerError, Engine
from cove.node.docker.labels import CLUSTER, HOME, PID

__all__ = ["reap"]

log = logging.getLogger("cove.node")


def _left(labels: Mapping[str, Any]) -> bool:
    """Whether nobody can want it any more."""
    home = labels.get(HOME)
    if home is None:
        return False
    if home:
        return not Path(home).is_dir()
    pid = str(labels.get(PID) or "")
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


async def reap(engine: Engine) -> int:
    """Remove containers, volumes and networks that were left; how many containers."""
    found = [e for e in await engine.containers({CLUSTER: ""}) if _left(e["Labels"])]
    for entry in found:
        await engine.remove(entry["Id"])
    gone = {e["Labels"][CLUSTER] for e in found}
    for network in await engine.networks({CLUSTER: ""}):
        if _left(network.get("Labels") or {}):
            gone.add(network["Labels"][CLUSTER])
            try:
                await engine.remove_network(network["Name"])
            except DockerError as e:
                log.warning("the network %s is left: %s", network["Name"], e)
    for cluster in gone:
        await engine.remove_volumes({CLUSTER: cluster})
    if found:
        log.info("%d containers of clusters that are gone were removed", len(found))
    return len(found)
