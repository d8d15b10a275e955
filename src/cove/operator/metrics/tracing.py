"""Tracing: a span for every call of a handler, where OpenTelemetry is installed.

Source: https://opentelemetry.io/docs/specs/semconv/resource/k8s/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from cove._version import __version__
from cove.operator.runtime.meters import Meter, Meters, Unmetered
from cove.operator.runtime.results import RetryError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from cove.operator.runtime.stores import Stores

__all__ = ["Tracing", "traced"]


def traced(meters: Meters | None = None, *, provider: TracerProvider | None = None) -> Meters:
    """Meters that make spans, too; those that were given, where OpenTelemetry is not installed.

    ``provider`` None is the program's: without one set up, spans cost little and go nowhere.
    """
    inner = meters or Unmetered()
    try:
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        return inner
    return Tracing(inner, provider)


class Tracing:
    """Makes spans; what is counted is counted by other meters."""

    def __init__(self, inner: Meters, provider: TracerProvider | None = None) -> None:
        from opentelemetry import trace

        self._inner = inner
        self._tracer = trace.get_tracer("cove.operator", __version__, provider)

    def controller(self, name: str, workers: int) -> Meter:
        """Who counts for a controller."""
        return self._inner.controller(name, workers)

    def stores(self, stores: Stores) -> None:
        """What is followed."""
        self._inner.stores(stores)

    def span(self, controller: str, handler: str, key: str) -> AbstractContextManager[object]:
        """A span around a call; what the handler does in it are its children."""
        namespace, _, name = key.rpartition("/")
        attributes = {
            "cove.controller": controller,
            "cove.handler": handler,
            "k8s.object.name": name,
        }
        if namespace:
            attributes["k8s.namespace.name"] = namespace
        return self._span(f"{controller} {handler}", attributes)

    @contextmanager
    def _span(self, name: str, attributes: dict[str, str]) -> Iterator[Span]:
        from opentelemetry.trace import Status, StatusCode

        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except RetryError as e:
                # Not yet: nobody's fault.
                span.set_attribute("cove.retry_after", e.after)
                raise
            except asyncio.CancelledError:
                span.set_status(Status(StatusCode.ERROR, "cancelled"))
                raise
            except Exception as e:
                span.record_exception(e)
                span.set_status(Status(StatusCode.ERROR, f"{type(e).__name__}: {e}"))
                raise
