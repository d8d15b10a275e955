"""Commands on clusters of other engines than the embedded one; see cove.engines.attached."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cove.cli._common import option
from cove.cli._output import note

if TYPE_CHECKING:
    from cove.engines.attached import Attached
    from cove.engines.cluster import EngineName

__all__ = ["describe", "down", "find", "refuse", "reset", "up"]


def find(name: str) -> Attached | None:
    """The cluster of that name, if it is one of these."""
    from cove.engines.attached import attached

    return attached(name)


def up(name: str, engine: EngineName, given: dict[str, Any], merge: Path | None) -> None:
    """Have the cluster run; ``merge`` is a kubeconfig to add it to."""
    from cove.engines.attached import Given, attached, start

    begun = time.monotonic()
    ran = asyncio.run(start(name, engine, Given(**given), note))
    found = attached(name)
    assert found is not None, "it was noted down"
    took = time.monotonic() - begun
    how = "was there already" if ran else f"is up in {took:.2f} s"
    note(f"cluster {name} ({engine}) {how}: {found.server}")
    for what, address in found.addresses.items():
        note(f"{what}: {address}")
    if merge is not None:
        from cove.engines.kubeconfig import merge as merge_into

        merge_into(merge, found.kubeconfig, name)
        note(f"context {name} is the current one in {merge}")
    note(f'use it: eval "$(cove env{option(name)})"')


def down(found: Attached) -> None:
    """Stop it."""
    from cove.engines.attached import stop

    ran = asyncio.run(stop(found))
    if found.engine == "existing":
        note(f"{found.name} is forgotten; the cluster itself is as it was: {found.server or ''}")
    else:
        note(f"cluster {found.name} {'is down' if ran else 'was not running'}")


def reset(found: Attached) -> None:
    """Remove it."""
    from cove.engines.attached import reset as remove

    asyncio.run(remove(found))
    note(f"cluster {found.name} is gone")


def describe(found: Attached) -> dict[str, Any]:
    """Its row of `cove status`."""
    from cove.engines.attached import state

    how, why = asyncio.run(state(found))
    running = how == "running"
    return {
        "name": found.name,
        "engine": found.engine,
        "state": f"{how} ({why})" if why else how,
        "server": found.server if running else "",
        "nodes": "",
        "pods": "",
        "pid": None,
        "addresses": found.addresses if running else {},
        "kubeconfig": str(found.kubeconfig),
        "log": "",
    }


def refuse(given: dict[str, Any], engine: str) -> None:
    """Options that only the embedded engine has."""
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise typer.BadParameter(f"only the embedded engine has it, not {engine}", param_hint=names)
