"""Settings of an operator: how it runs, wherever they are said.

Source of the defaults: the reference SDK's, where it has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cove.operator.errors import EntityError

__all__ = ["Leadership", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """Leader election by a Lease; times are seconds.

    Who does not renew for ``lease`` has lost it to others; who cannot renew for ``renew``
    knows that and stops.  ``retry`` is how often it is tried.  ``name`` and ``namespace`` None
    are the operator's, and the pod's own namespace.
    """

    lease: float = 30.0
    renew: float = 20.0
    retry: float = 5.0
    name: str | None = None
    namespace: str | None = None

    def __post_init__(self) -> None:
        if not self.lease > self.renew > self.retry > 0:
            raise EntityError(
                f"leadership: lease {self.lease:g} > renew {self.renew:g} > retry {self.retry:g} > 0 "
                "does not hold"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an operator runs.

    ``namespaces`` empty: all of them; ``namespaced`` True: the pod's own.  ``leadership``
    None: whoever runs works.  ``shards`` > 1 shares the objects among so many replicas.
    ``health_port`` and ``metrics_port`` 0 serve nothing, the same number serves both.
    ``webhook_port`` is where webhooks listen, 0 any free port; ``base_url`` is where the API
    server reaches them when they run outside of the cluster.  ``health_path``, ``ready_path``
    and ``metrics_path`` are where they are asked.  ``grace`` is how many seconds
    handlers have to end.  ``watch_timeout`` is how many seconds a watch lasts at least, and
    half of what it lasts at most; one that is silent for longer is opened again.
    """

    namespaces: tuple[str, ...] = ()
    namespaced: bool = False
    leadership: Leadership | None = None
    shards: int = 1
    health_port: int = 8081
    metrics_port: int = 8080
    webhook_port: int = 9443
    host: str = "0.0.0.0"
    base_url: str | None = None
    health_path: str = "/healthz"
    ready_path: str = "/readyz"
    metrics_path: str = "/metrics"
    grace: float = 30.0
    watch_timeout: float = 300.0
