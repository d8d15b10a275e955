"""Faults on demand: what a client must survive, told when and to whom it happens::

with cluster.faults.error(429, retry_after=1, verbs="create", resources="pods", count=3):
    ...
cut = cluster.faults.reset(after=True, resources="deployments.apps", rate=0.1)
...
assert cut.hits
cut.lift()
"""

from cove.server.faults._fault import CutError, Fault
from cove.server.faults._faults import Faults
from cove.server.faults._match import EVERYBODY, Match

__all__ = ["EVERYBODY", "CutError", "Fault", "Faults", "Match"]
