"""What a bridge has to do with packets between its own ports.

A pod that asks another one by a service's address is answered directly, within the bridge.
The answer has to be translated there too, or the asker does not know it: the kernel does that
for bridges whose packets it shows to the packet filter (the module br_netfilter).  It then
redirects within the bridge as well, and a pod that reaches itself needs its port to send a
packet back where it came from (hairpin mode).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Self

from cove.node.network._run import CommandError, Run, run

__all__ = ["BridgePorts"]

log = logging.getLogger("cove.node")

_GLOBAL = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_CLASS = Path("/sys/class/net")


class BridgePorts:
    """Has one bridge's packets filtered while it is entered.

    ``filtered`` False: this machine cannot, and pods have to be masqueraded instead.
    """

    def __init__(self, interface: str, *, command: Run = run) -> None:
        self.filtered = False
        self._bridge = _CLASS / interface
        self._own = self._bridge / "bridge" / "nf_call_iptables"
        self._before = ""
        self._run = command

    async def __aenter__(self) -> Self:
        if not _read(_GLOBAL):
            with suppress(CommandError, OSError):
                await self._run("modprobe", "br_netfilter")
        if _read(_GLOBAL) == "1" or _read(self._own) == "1":
            self.filtered = True
        elif _read(_GLOBAL):
            before = _read(self._own)
            if _write(self._own, "1"):
                self._before, self.filtered = before, True
        if not self.filtered:
            log.info(
                "packets within %s are not filtered: pods see each other's requests to services "
                "come from the bridge's address",
                self._bridge.name,
            )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._before:
            _write(self._own, self._before)

    def turn_back(self) -> None:
        """Let every port there is send packets back where they came from."""
        with suppress(OSError):
            for port in (self._bridge / "brif").iterdir():
                mode = port / "hairpin_mode"
                if _read(mode) == "0":
                    _write(mode, "1")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True
