"""metrics.k8s.io: what nodes and containers use, as metrics-server tells it.

It is served, and part of discovery, while nodes run containers (:attr:`Api.kubelet
<cove.server.api.Api.kubelet>` is set) and no extension server is registered for it.
:func:`publish_metrics` makes the objects that go with it.

Source: https://kubernetes.io/docs/reference/external-api/metrics.v1beta1/ and metrics-server.
"""

from cove.server.metrics._answer import GROUP, answer, with_metrics
from cove.server.metrics._publish import publish_metrics

__all__ = ["GROUP", "answer", "publish_metrics", "with_metrics"]
