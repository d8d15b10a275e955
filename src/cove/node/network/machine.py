"""What a machine must have for addresses of pods and services to work on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cove.kube.status import CoveError

__all__ = ["MachineLacksError", "missing"]

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class MachineLacksError(CoveError):
    """Services cannot work on this machine; ``reasons`` says why, and what to do."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("services have no addresses on this machine: " + " ".join(reasons))
        self.reasons = tuple(reasons)


def missing() -> list[str]:
    """What this machine lacks, a sentence each with the next step; empty if nothing."""
    found = []
    if not _FORWARDING.exists():
        return ["This is not Linux: services need its packet filter; run cove in a Linux VM."]
    if os.geteuid() != 0:
        found.append("Changing routes and packet filters needs root: run cove with sudo.")
    if not shutil.which("iptables-restore") or not shutil.which("iptables-save"):
        found.append("iptables-restore is missing: install the package iptables.")
    if not shutil.which("ip"):
        found.append("The command ip is missing: install the package iproute2.")
    if _FORWARDING.read_text().strip() != "1":
        found.append("The kernel forwards no packets: run sysctl -w net.ipv4.ip_forward=1.")
    return found
