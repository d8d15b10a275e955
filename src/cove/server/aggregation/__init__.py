"""Aggregation: groups and versions that other API servers serve, behind this one's address.

An APIService with ``spec.service`` says which; requests below its path go there as a
front proxy sends them.  Whether the server answers is looked after in the background
(:class:`Availability`), and what it serves is part of this one's discovery.

Source: https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
and ``kube-aggregator``.
"""

from cove.server.aggregation._authentication import publish
from cove.server.aggregation._availability import Availability
from cove.server.aggregation._discovery import extended
from cove.server.aggregation._proxy import proxy
from cove.server.aggregation._remote import Remote, Remotes

__all__ = ["Availability", "Remote", "Remotes", "extended", "proxy", "publish"]
