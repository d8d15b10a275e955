"""Which engine gives the cluster: what somebody said, in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from cove.engines.cluster import Cluster, ClusterOptions, EngineName, OptionError

if TYPE_CHECKING:
    from cove.client import Clock

__all__ = ["ENGINES", "VARIABLE", "chosen", "open_cluster"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
VARIABLE = "COVE_ENGINE"


def chosen(engine: str | None = None, default: str = "embedded") -> EngineName:
    """``engine``, else what ``COVE_ENGINE`` says, else ``default``.

    Raises OptionError naming who said what there is not.
    """
    said = [
        (engine, "the option engine"),
        (os.environ.get(VARIABLE), f"the variable {VARIABLE}"),
        (default, "the application"),
    ]
    name, source = next((n, s) for n, s in said if n)
    if name not in ENGINES:
        raise OptionError(
            f'{source} says "{name}", which is no engine: there are {", ".join(ENGINES)}'
        )
    return name


def open_cluster(
    name: str,
    options: ClusterOptions,
    *,
    engine: str | None = None,
    default: str = "embedded",
    log: Callable[[str], None],
    clock: Clock | None = None,
) -> Cluster:
    """A cluster of the engine that was chosen (see :func:`chosen`), not entered yet.

    ``log`` is told what a person should know: what is being waited for, which options a
    cluster that runs already does not have.  ``clock`` None is the machine's.  Raises
    OptionError for options that the engine cannot do, InvalidNameError for the name.
    """
    which = chosen(engine, default)
    if which == "embedded":
        from cove.engines.local import local_cluster

        return local_cluster(name, options, log=log)
    if which == "k3s" and options.k3s.native:
        from cove.engines.k3s.native import NativeK3s

        return NativeK3s(name, options, log=log, clock=clock)
    if which == "k3s":
        from cove.engines.k3s import K3sCluster

        return K3sCluster(name, options, log=log, clock=clock)
    from cove.engines.existing import ExistingCluster

    return ExistingCluster(name, options, log=log)
