"""metrics: what an operator counts and traces, for those who watch it.

Numbers need prometheus-client (``pip install 'cove[operator]'``), traces opentelemetry-api
(``cove[tracing]``) and a tracer provider that the program has set up.
"""

from __future__ import annotations

from cove.operator.metrics.numbers import Metrics, MetricsError
from cove.operator.metrics.requests import metered
from cove.operator.metrics.tracing import Tracing, traced

__all__ = ["Metrics", "MetricsError", "Tracing", "metered", "traced"]
