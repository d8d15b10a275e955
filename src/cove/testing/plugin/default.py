"""The environment of tests that declare none."""

from __future__ import annotations

from cove.testing.declarations import cluster, environment_of

__all__ = ["DEFAULT", "Default"]


class Default:
    """One empty cluster."""

    k8s = cluster()


DEFAULT = environment_of(Default)
