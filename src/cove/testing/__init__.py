"""Tests on clusters of their own, with pytest and without.

::

    from cove.testing import environment, expect

    @environment
    class Shop:
        k8s = cove.cluster()

        def setup(self) -> None:
            self.k8s.apply(Path("deploy.yaml"))

    def test_ready(k8s):
        expect(k8s.core.read_namespaced_pod("web").status.phase) == "Running"

What is used is imported when it is first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cove.testing.controls import Clock, Fault, Faults
    from cove.testing.current import eventually, wait_for
    from cove.testing.declarations import (
        DeclarationError,
        cluster,
        container,
        environment,
        fake,
        image,
        operator,
        process,
    )
    from cove.testing.kubernetes import Difference, Done, Kubernetes
    from cove.testing.operators import OperatorWorld, operating, operator_fixture
    from cove.testing.timeline import Timeline
    from cove.testing.values import expect, unwrap

__all__ = [
    "Clock",
    "DeclarationError",
    "Difference",
    "Done",
    "Fault",
    "Faults",
    "Kubernetes",
    "OperatorWorld",
    "Timeline",
    "cluster",
    "container",
    "environment",
    "eventually",
    "expect",
    "fake",
    "image",
    "operating",
    "operator",
    "operator_fixture",
    "process",
    "unwrap",
    "wait_for",
]

_HOMES = {
    "controls": ("Clock", "Fault", "Faults"),
    "current": ("eventually", "wait_for"),
    "declarations": (
        *("DeclarationError", "cluster", "container", "environment", "fake", "image", "operator"),
        "process",
    ),
    "kubernetes": ("Difference", "Done", "Kubernetes"),
    "operators": ("OperatorWorld", "operating", "operator_fixture"),
    "timeline": ("Timeline",),
    "values": ("expect", "unwrap"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cove.testing' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"cove.testing.{_HOME[name]}"), name)
    globals()[name] = value
    return value
