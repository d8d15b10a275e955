"""Pod Security Standards: what the levels baseline and restricted forbid of a pod.

Pure: the admission plugin asks :func:`evaluate` with the namespace's :func:`policy`.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from cove.kube.podsecurity._levels import PREFIX, LevelVersion, Policy, policy, stricter
from cove.kube.podsecurity._standards import evaluate
from cove.kube.podsecurity._violation import Violation

__all__ = ["PREFIX", "LevelVersion", "Policy", "Violation", "evaluate", "policy", "stricter"]
