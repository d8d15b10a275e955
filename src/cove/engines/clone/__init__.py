"""Clones: the objects of a live cluster, copied into an embedded one.

The source is only read, page by page; what has been copied is noted, so that a clone that was
interrupted goes on where it was.  Certificates, keys, volumes and logs are not part of one.
"""

from __future__ import annotations

from cove.engines.clone._options import CloneError, CloneOptions, Progress, Summary
from cove.engines.clone._run import clone

__all__ = ["CloneError", "CloneOptions", "Progress", "Summary", "clone"]
