"""What was: the versions of an object, and the whole cluster at a revision.

``GET /cove/history/PATH`` tells the versions of the object (or the writes of the
collection) at PATH; ``/revisions/N/PATH`` answers reading requests as they would have been
answered at revision N.  Both go as far back as the store's window.
"""

from cove.server.history._past import past, past_path
from cove.server.history._versions import history

__all__ = ["history", "past", "past_path"]
