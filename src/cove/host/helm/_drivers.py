"""Drivers: the ways to have Helm do something, and which of them is taken."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from cove.host.helm._release import HelmError
from cove.kube.status import CoveError
from cove.node.child import program

__all__ = ["Driver", "Order", "RefusedError", "find"]


class RefusedError(CoveError):
    """Helm said no; the text is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What Helm is to do, ready to be handed over: nothing in it is looked up any more.

    ``install`` and ``upgrade`` have a chart and all of its values; ``uninstall`` has not.
    ``timeout`` in seconds.
    """

    action: Literal["install", "upgrade", "uninstall"]
    name: str
    namespace: str
    kubeconfig: Path
    chart: str = ""
    repo: str | None = None
    version: str | None = None
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    timeout: float = 600.0
    wait: bool = True
    create_namespace: bool = True
    plain_http: bool = False

    @property
    def local(self) -> Path | None:
        """The chart's path, None for one that has to be fetched."""
        return None if self.repo is not None or "://" in self.chart else Path(self.chart)


class Driver(Protocol):
    """Has Helm do something; whoever is cancelled meanwhile leaves nothing running."""

    async def run(self, order: Order) -> None:
        """Return when it is done; raises :class:`RefusedError` with Helm's reason."""


def find(name: str) -> Driver:
    """The driver called ``sdk``, ``cli`` or ``auto`` (the first of them that is there).

    Raises HelmError saying what to install.
    """
    from cove.host.helm._cli import CommandHelm
    from cove.host.helm._sdk import SdkHelm

    if name not in ("auto", "sdk", "cli"):
        raise HelmError(f'there is no Helm driver "{name}": say auto, sdk or cli')
    if name != "cli":
        if importlib.util.find_spec("helm_python") is not None:
            return SdkHelm()
        if name == "sdk":
            raise HelmError("Helm's SDK is not installed: pip install 'cove[helm]'")
    found = program("helm")
    if found is None:
        raise HelmError(
            "there is no helm on the PATH; install Helm, or its SDK: pip install 'cove[helm]'"
            if name == "cli"
            else "Helm is not installed: pip install 'cove[helm]' (or put helm on the PATH)"
        )
    return CommandHelm(Path(os.path.abspath(found)))
