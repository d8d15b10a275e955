"""What of a container engine stands in k3s' way, as far as the engine tells.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["advice", "obstacles"]

# From this version on kubelets refuse control groups of version 1, unless told otherwise.
_CGROUP_V2_FROM = (1, 35)
_LATER = "--kubelet-arg=fail-cgroup-v1=false"


def obstacles(
    info: Mapping[str, Any], kind: str, tag: str, extra_args: tuple[str, ...] = ()
) -> list[str]:
    """A sentence on each thing that may keep k3s of an image's ``tag`` from running.

    ``info`` is what the engine says of itself; ``kind`` docker or podman.
    """
    found = []
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
        podman = " (COVE_CONTAINER_ENGINE=unix:///run/podman/podman.sock is root's Podman)"
        found.append(
            f"{kind} runs rootless: k3s needs the controllers cpu, cpuset and memory delegated to "
            "this user, and cannot raise the machine's limits; with root it needs neither"
            + (podman if kind == "podman" else "")
        )
    version = re.match(r".*:v(\d+)\.(\d+)\.", tag)
    if (
        str(info.get("CgroupVersion") or "") == "1"
        and (version is None or (int(version[1]), int(version[2])) >= _CGROUP_V2_FROM)
        and not any("fail-cgroup-v1" in argument for argument in extra_args)
    ):
        found.append(
            "this machine has control groups of version 1, which Kubernetes 1.35 and later refuse: "
            f'extra_args=("{_LATER}",) has them accepted, or take an earlier version'
        )
    if info.get("OSType") not in (None, "", "linux"):
        found.append(f"{kind} runs containers of {info['OSType']}: k3s needs those of Linux")
    return found


def advice(why: str) -> str:
    """What to do about a container that the engine could not start, "" where that is not known."""
    if "operation not permitted" in why.lower() or "permission denied" in why.lower():
        return (
            "; k3s needs a privileged container, which this engine may not give: it runs rootless, "
            "or in a container that is not privileged itself"
        )
    if "no space left" in why.lower():
        return "; the engine's disk is full: `docker system df` says of what"
    if "cgroup" in why.lower():
        return "; the engine cannot hand on its control groups (`cove doctor`)"
    return ""
