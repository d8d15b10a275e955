"""The test that runs now: for helpers that have not been handed its fixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cove.testing.kubernetes import Kubernetes
    from cove.testing.world import World

__all__ = ["eventually", "put", "wait_for"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

_world: World | None = None


def put(world: World | None) -> None:
    """Say whose turn it is; for the plugin."""
    global _world
    _world = world


def _cluster() -> Kubernetes:
    if _world is None:
        raise LookupError("no test with a cluster runs: ask for the fixture k8s")
    found: Kubernetes = _world.attributes[_world.first.name]
    return found


def eventually(what: Callable[[], Any], timeout: float = 10.0, *, message: str = "") -> Any:
    """See :meth:`cove.testing.Kubernetes.eventually`; of the running test's first cluster."""
    return _cluster().eventually(what, timeout, message=message)


def wait_for(
    what: Any,
    condition: str | Callable[[Any], Any] = "condition=Ready",
    *,
    namespace: str | None = None,
    timeout: float = 30.0,
) -> Any:
    """See :meth:`cove.testing.Kubernetes.wait_for`; of the running test's first cluster."""
    return _cluster().wait_for(what, condition, namespace=namespace, timeout=timeout)
