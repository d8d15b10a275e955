"""Down: everything of a loop goes — programs, deployments, cluster, registry, images.

It needs neither the files that declared it nor the process that made it: what there is was
written down, and everything in the container engine is labelled.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from cove.dev.artifacts import LABEL
from cove.dev.deploy import Deployer
from cove.dev.errors import DevError
from cove.dev.state import Facts, State
from cove.host.sweep import sweep
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.engines.cluster import ClusterOptions

__all__ = ["down"]

Say = Callable[[str, str], None]

# Seconds that a loop which is told to end has before it is killed.
GRACE = 30.0
# Seconds between two looks at images that are still in use.
LOOK = 0.25


async def down(name: str, *, say: Say) -> bool:
    """End what is called so; False if there was nothing.  Raises DevError for what stays."""
    state = State(name)
    facts = state.read()
    found = state.exists
    for what in ("watch", "run"):
        if await asyncio.to_thread(_end, state, what):
            say("cove", f"`cove dev {what}` has ended")
    if killed := await asyncio.to_thread(sweep, state.session):
        say("cove", f"{killed} programs ended that were left behind")
    if facts.engine == "existing":
        await _undeploy(facts, say)
    elif facts.engine == "k3s":
        await _end_k3s(name, facts)
        say("cove", f"cluster {name} is gone")
    elif await asyncio.to_thread(_end_embedded, name, found):
        found = True
        say("cove", f"cluster {name} is gone, and its registry with it")
    await _clean_engine(name, facts, say)
    await asyncio.to_thread(state.remove)
    return found


def _end(state: State, what: str) -> bool:
    """End a process of the loop; whether there was one."""
    if not state.held(what):
        return False
    pid = state.pid(what)
    if not pid:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while state.held(what) and time.monotonic() < until:
        # Somebody who waits for the lock cannot give up waiting; who looks can.
        time.sleep(0.05)
    if state.held(what):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        state.released(what)
    return True


def _end_embedded(name: str, known: bool) -> bool:
    from cove.engines.home import ClusterFolder
    from cove.engines.process import stop

    folder = ClusterFolder(name)
    if not folder.path.is_dir() or not known:
        return False
    stop(name)
    folder.remove()
    return True


async def _end_k3s(name: str, facts: Facts) -> None:
    from cove.engines.cluster import ClusterOptions
    from cove.engines.k3s import K3sCluster

    options = ClusterOptions(lifetime="persistent", container_engine=facts.container_engine or None)
    await K3sCluster(name, options, log=lambda text: None).destroy()


def _where(facts: Facts) -> ClusterOptions:
    """The context it was, whichever is current now; as it was where it is no longer described."""
    from cove.client import kubeconfig
    from cove.engines.cluster import ClusterOptions

    kept = State(facts.cluster).kubeconfig
    try:
        known = facts.context in kubeconfig.read()["contexts"]
    except CoveError:
        known = False
    if not known and kept.is_file():
        return ClusterOptions(kubeconfig=kept)
    return ClusterOptions(context=facts.context or None)


async def _undeploy(facts: Facts, say: Say) -> None:
    """Take away what was deployed into a cluster that stays."""
    from cove.engines.existing import ExistingCluster

    try:
        options = await asyncio.to_thread(_where, facts)
        async with ExistingCluster(facts.cluster, options, log=lambda t: say("cove", t)) as cluster:
            deployer = Deployer(cluster.client, cluster.kubeconfig_path, {}, say=say)
            for name, namespace in reversed(facts.releases):
                await deployer.uninstall(name, namespace)
            await deployer.delete(
                t for t in facts.things if t.kind not in ("Namespace", "CustomResourceDefinition")
            )
    except CoveError as e:
        raise DevError(
            f"what was deployed into the cluster of the context {facts.context or 'that is current'} "
            f"stays there: {e}"
        ) from e


async def _clean_engine(name: str, facts: Facts, say: Say) -> None:
    """Remove what is left in the container engine: containers of what is gone, images."""
    from cove.node.docker import EngineAddress, EngineError
    from cove.node.docker.engine import extra_installed

    if not facts.container_engine or not extra_installed():
        return
    from cove.node.docker.connection import DockerError, Engine, EngineDownError
    from cove.node.docker.reaper import reap

    try:
        async with Engine(EngineAddress(facts.container_engine, "the loop's notes")) as engine:
            await reap(engine)
            images = await engine.images({LABEL: name})
            left = images
            until = time.monotonic() + GRACE
            # Pods of a cluster that stays use theirs until they have ended.
            while left and time.monotonic() < until:
                for image in left:
                    for tag in (*(image.get("RepoTags") or ()), image["Id"]):
                        await engine.remove_image(image["Id"] if "<none>" in tag else tag)
                left = await engine.images({LABEL: name})
                if left:
                    await asyncio.sleep(LOOK)
            if gone := len(images) - len(left):
                say("cove", f"{gone} images removed from {engine.address.url}")
            if left:
                say("cove", f"{len(left)} images are in use and stay in {engine.address.url}")
    except (EngineError, EngineDownError, DockerError) as e:
        say("cove", f"images that were built stay in {facts.container_engine}: {e}")
