"""Server-side apply and field management.

``update_managed_fields`` after every write that is not an apply, ``apply`` for those
that are, ``keep_timestamps`` before storing.  Field sets (:mod:`.fieldset`) are the
FieldsV1 documents themselves.  Everything is a pure function of documents, a type
(:class:`~cove.kube.schema.Node`) and a :class:`Context`.
"""

from cove.kube.apply._context import Context
from cove.kube.apply._errors import ApplyConflictError, ApplyError
from cove.kube.apply._managed import Entry, Managed, ManagerId, decode_entries, encode_entries
from cove.kube.apply._manager import apply, keep_timestamps, update_managed_fields
from cove.kube.apply._scale import parent_entries, scale_entries
from cove.kube.apply._typed import extract, merge, remove, type_errors
from cove.kube.apply._walk import Walker, walker

__all__ = [
    "ApplyConflictError",
    "ApplyError",
    "Context",
    "Entry",
    "Managed",
    "ManagerId",
    "Walker",
    "apply",
    "decode_entries",
    "encode_entries",
    "extract",
    "keep_timestamps",
    "merge",
    "parent_entries",
    "remove",
    "scale_entries",
    "type_errors",
    "update_managed_fields",
    "walker",
]
