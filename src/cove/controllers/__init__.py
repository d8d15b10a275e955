"""What kube-controller-manager and kube-scheduler do, one controller per file.

Controllers know the API through a client and informers only, so that they run in the
server's process and against any other server alike.
"""

from __future__ import annotations

from cove.controllers.manager import CONTROLLERS, Manager

__all__ = ["CONTROLLERS", "Manager"]
