"""A stand-in for k3s' image: made of busybox, from this machine alone, nothing downloaded.

It honours what k3s promises cove: ``k3s server`` writes a kubeconfig for
``https://127.0.0.1:6443`` to ``$K3S_KUBECONFIG_OUTPUT`` and answers on port 6443, ``k3s
agent`` runs.  The kubeconfig is the one a test has put beside that file as ``given.yaml``
(it is waited for), and who answers is an embedded server on this machine, through a relay.

Where this machine's Docker may not give all privileges, the containers get those it has:
:func:`as_privileged_as_here`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers_world import docker, make_box

from cove.engines.credentials import authority_of, issue
from cove.engines.embedded import EmbeddedCluster
from cove.engines.home import Settings
from cove.node.docker.connection import DockerError, Engine

Doc = dict[str, Any]
IMAGE = "cove.dev/k3s-stand-in:2"

# Options of its own come as server arguments: --stand-in=HOST:PORT, --stand-in-dies=CODE.
K3S = r"""#!/bin/sh
# A stand-in for k3s.
role=$1
echo "stand-in $*"
env
cat /proc/self/mountinfo
if [ "$role" = ctr ]; then
    # "images import ARCHIVE": what it was given, where a test finds it.
    for archive; do :; done
    cp "$archive" /tmp/imported.tar
    exit $(cat /tmp/ctr-exits 2>/dev/null || echo 0)
fi
if [ "$role" = agent ]; then
    exec sleep 100000
fi
for argument in "$@"; do
    case $argument in
        --stand-in=*) target=${argument#--stand-in=} ;;
        --stand-in-dies=*)
            echo "level=fatal msg=\"the stand-in was told to die\""
            exit ${argument#--stand-in-dies=}
            ;;
    esac
done
# What k3s would deploy, for the test to deploy it; and what kubelets would be told.
mkdir -p "$(dirname "$K3S_KUBECONFIG_OUTPUT")/found"
for file in /var/lib/rancher/k3s/server/manifests/*.yaml /etc/cove-resolv.conf; do
    [ ! -e "$file" ] || cp "$file" "$(dirname "$K3S_KUBECONFIG_OUTPUT")/found/"
done
given=$(dirname "$K3S_KUBECONFIG_OUTPUT")/given.yaml
until [ -e "$given" ]; do sleep 0.05; done
# As k3s does: not at once, and not under another name first.
head -c 700 "$given" >"$K3S_KUBECONFIG_OUTPUT"
sleep 0.3
tail -c +701 "$given" >>"$K3S_KUBECONFIG_OUTPUT"
chmod "$K3S_KUBECONFIG_MODE" "$K3S_KUBECONFIG_OUTPUT"
printf '#!/bin/sh\nexec nc %s %s\n' "${target%:*}" "${target#*:}" >/tmp/relay
chmod 755 /tmp/relay
exec nc -ll -p 6443 -e /tmp/relay
"""


async def make_standin(engine: Engine) -> None:
    """Have the stand-in's image in the engine."""
    await make_box(engine, IMAGE, {"/bin/k3s": K3S}, "ENV PATH=/bin")


@dataclass
class Behind:
    """What answers behind the stand-in: an embedded server that knows the cluster's name."""

    cluster: EmbeddedCluster
    gateway: str
    port: int
    given: str = field(repr=False, default="")

    @property
    def options(self) -> dict[str, Any]:
        """What a k3s cluster with the stand-in is declared with."""
        return {
            "images": {"server": IMAGE},
            "extra_args": (f"--stand-in={self.gateway}:{self.port}",),
            "container_engine": "docker",
        }

    def place(self, folder: Path) -> None:
        """Have the stand-in write the kubeconfig now."""
        target = folder / "cluster" / "given.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".new")
        draft.write_text(self.given)
        draft.replace(target)


@asynccontextmanager
async def behind(name: str = "k8s", *, nodes: int = 1) -> AsyncIterator[Behind]:
    """An embedded server for a stand-in of the cluster ``name``."""
    settings = Settings(in_memory=True, nodes=nodes, container_engine="none")
    credentials = issue(authority_of(None), settings.service_subnet, [name])
    async with (
        docker() as engine,
        EmbeddedCluster(name, settings, credentials=credentials) as cluster,
        AsyncExitStack() as stack,
    ):
        bridges = {n["Name"]: n for n in await engine.networks()}
        gateway = bridges["bridge"]["IPAM"]["Config"][0]["Gateway"]
        port = await cluster.listen_at(gateway, stack)
        doc = yaml.safe_load(cluster.kubeconfig_for("https://127.0.0.1:6443", "default"))
        yield Behind(cluster, gateway, port, yaml.safe_dump(doc))


async def as_privileged_as_here(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether ``Privileged`` works on this machine; where not, have containers get what does.

    Only what the machine itself may not do is left out; all else is as cove says.
    """
    if await _privileged_works(engine):
        return True
    create = Engine.create
    missing = _missing()

    async def lowered(self: Engine, name: str, config: Mapping[str, Any]) -> str:
        host = dict(config["HostConfig"])
        if host.pop("Privileged", False):
            host["CapAdd"] = [c for c in _CAPABILITIES if c not in missing]
            host["SecurityOpt"] = ["seccomp=unconfined", "apparmor=unconfined"]
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
        return await create(self, name, {**config, "HostConfig": host})

    monkeypatch.setattr(Engine, "create", lowered)
    return False


async def _privileged_works(engine: Engine) -> bool:
    name = f"cove-test-privileged-{os.getpid()}"
    config = {"Image": IMAGE, "Entrypoint": ["/bin/true"], "HostConfig": {"Privileged": True}}
    id = await engine.create(name, config)
    try:
        await engine.start(id)
    except DockerError:
        return False
    finally:
        await engine.remove(id)
    return True


# In the order of their numbers, so far as busybox and the entrypoint may need them.
_NUMBERS = {"NET_ADMIN": 12, "NET_RAW": 13, "SYS_ADMIN": 21, "SYS_PTRACE": 19, "MKNOD": 27}
_CAPABILITIES = list(_NUMBERS)


def _missing() -> set[str]:
    """Capabilities that nobody on this machine has."""
    [line] = [
        each for each in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in each
    ]
    bounding = int(line.split()[1], 16)
    return {name for name, number in _NUMBERS.items() if not bounding >> number & 1}
