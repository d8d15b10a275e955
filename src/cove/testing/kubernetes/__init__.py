"""The cluster as tests use it: calls, waiting, programs, history."""

from cove.testing.kubernetes._facade import Kubernetes
from cove.testing.kubernetes._past import Difference
from cove.testing.kubernetes._programs import Done

__all__ = ["Difference", "Done", "Kubernetes"]
