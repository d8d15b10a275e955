"""Back-offs of containers and images: 10 s, doubled up to 5 minutes, forgotten after 10 good ones.

Source: ``k8s.io/client-go/util/flowcontrol`` as the kubelet uses it.
"""

from __future__ import annotations

from cove.client import Clock

__all__ = ["BackOff"]

INITIAL = 10.0
LIMIT = 300.0


class BackOff:
    """One container's: the first failure is tried again at once, the next waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.delay = 0.0
        self._last = 0.0

    def remaining(self, failed: float) -> float:
        """Seconds until the next try, for a failure at ``failed`` (monotonic); 0 is now."""
        if self.delay and failed - self._last > 2 * LIMIT:
            self.delay = 0.0
        return max(0.0, failed + self.delay - self._clock.monotonic())

    def next(self) -> None:
        """It is tried now: should it fail again, it waits longer."""
        self.delay = min(self.delay * 2, LIMIT) if self.delay else INITIAL
        self._last = self._clock.monotonic()
